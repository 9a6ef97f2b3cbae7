"""Published files: weights and what describes them, nothing else."""
import json

import pytest
import safetensors.torch
import torch

from mbos.apis import load_weights
from mbos.checkpoints.loading import checkpoint_meta, read_checkpoint
from mbos.checkpoints.settings import Postprocessing, settings_from_meta
from mbos.io.files import file_sha256
from tests.evaluations import make_evaluation
from tests.tiny_runs import config_of, write_config
from tests.utils import TASKS, tiny_model, tiny_model_cfg

NAME = 'publish_model.py'
FIGURES = {'odoc.Dice.disc': 0.91234, 'odoc.mDice': None, 'odoc.AP.disc': 0.5}


@pytest.fixture
def trained(tool):
    """A network of stage 2; its checkpoint, a.pth, has all that training
    leaves in one."""
    model = tiny_model(window=8, adversarial=True)
    cfg = tiny_model_cfg(window=8, adversarial=True)
    meta = checkpoint_meta(model, json.loads(json.dumps(cfg)))
    meta.update(iter=12, config="data_root = '/home/somebody/data'")
    optimizer = dict(generator=dict(state={}, param_groups=[]))
    torch.save(
        dict(state_dict=model.state_dict(), meta=meta, optimizer=optimizer),
        'a.pth')
    return model


def own_weights(model):
    return {n: value for n, value in model.state_dict().items()
            if 'discriminators' not in n}  # yapf: disable


def test_published_file(trained, tool, tmp_path, capsys):
    evaluation = make_evaluation(
        'refuge', figures=FIGURES, checkpoint_sha256=file_sha256('a.pth'))
    (tmp_path / 'eval.json').write_text(json.dumps(evaluation))
    assert tool(NAME, 'a.pth', 'out/fundus', '--eval', 'eval.json', '--notes',
                'REFUGE, 400 photographs.') is None
    card, weights = sorted((tmp_path / 'out').iterdir())
    digest = file_sha256(weights)
    assert weights.name == f'fundus-{digest[:8]}.pth'
    assert b'somebody' not in weights.read_bytes()
    content = torch.load(weights, weights_only=True)
    assert set(content) == {'state_dict', 'meta'}
    own = own_weights(trained)
    assert content['state_dict'].keys() == own.keys()
    assert all(
        torch.equal(own[n], v) for n, v in content['state_dict'].items())
    text = card.read_text()
    assert 'not a medical device' in text and digest in text
    assert '| refuge | odoc.Dice.disc | 0.9123 |' in text
    assert '| refuge | odoc.mDice | - |' in text
    assert 'AP.disc' not in text and 'REFUGE, 400 photographs.' in text
    assert '- **odoc**: nested classes disc, cup' in text
    said = capsys.readouterr().out
    assert 'left out: optimizer' in said and 'discriminators left out' in said


def test_half_precision_safetensors_with_settings_of_a_config(
        trained, tool, tmp_path):
    """Anybody's reader finds the weights, and MBOS all that it needs."""
    text = config_of(tmp_path, TASKS)
    rules = dict(rim=0.01, one_object=['odoc'], specks=dict(lesion=1e-4))
    text['prediction'] = dict(
        thresholds=dict(lesion=dict(EX=0.25)), postprocessing=rules)
    config = write_config(tmp_path / 'config.py', text)
    tool(NAME, 'a.pth', 'm', '--half', '--safetensors', '--config', config)
    written, = tmp_path.glob('m-*.safetensors')
    assert written.name == f'm-{file_sha256(written)[:8]}.safetensors'
    other = tiny_model(window=8, adversarial=True)
    load_weights(other, str(written))
    own, found = own_weights(trained), other.state_dict()
    for name, value in safetensors.torch.load_file(written).items():
        if value.is_floating_point():
            assert value.dtype == torch.float16
            assert torch.equal(value, own[name].half())
            assert torch.equal(found[name], own[name].half())
    meta = read_checkpoint(str(written))['meta']
    assert meta['iter'] == 12 and meta['mbos_model']['type']
    settings = settings_from_meta(meta)
    assert settings.thresholds == dict(
        vessel=0.5, lesion=dict(EX=0.25), odoc=0.5)
    assert settings.postprocessing == Postprocessing(**rules)
    text = written.with_suffix('.md').read_text()
    assert 'None were given' in text and 'Ask before relying' in text


def test_what_cannot_be_published(trained, tool, tmp_path):
    for content, said in (([], 'eval.json: not an evaluation'),
                          (make_evaluation(checkpoint='b.pth'),
                           'another checkpoint, b.pth')):
        (tmp_path / 'eval.json').write_text(json.dumps(content))
        assert said in tool(NAME, 'a.pth', 'm', '--eval', 'eval.json')
    state = trained.state_dict()
    torch.save(dict(state_dict=state), 'bare.pth')
    assert 'convert_pssnet_checkpoint' in tool(NAME, 'bare.pth', 'm')
    state['backbone.norm3.weight'][0] = 70000.
    torch.save(dict(read_checkpoint('a.pth'), state_dict=state), 'large.pth')
    assert 'backbone.norm3.weight has values that 16 bits' in tool(
        NAME, 'large.pth', 'm', '--half')
    assert not list(tmp_path.glob('m-*'))
