"""Published files: weights and what describes them, nothing else."""
import hashlib
import json

import pytest
import safetensors.torch
import torch

from mbos.apis import load_weights
from mbos.checkpoints import publishing
from mbos.checkpoints.loading import checkpoint_meta, read_checkpoint
from mbos.checkpoints.settings import Postprocessing, settings_from_meta
from mbos.engine.runner import save_atomically
from tests.tiny_runs import config_of, write_config
from tests.utils import TASKS, tiny_model, tiny_model_cfg


@pytest.fixture
def trained(tmp_path):
    """A stage-2 checkpoint with all that training leaves in one."""
    model = tiny_model(window=8, adversarial=True)
    cfg = tiny_model_cfg(window=8, adversarial=True)
    meta = dict(
        checkpoint_meta(model, json.loads(json.dumps(cfg))),
        iter=12,
        seed=3,
        mbos_version='0.1.0',
        CLASSES=('vessel', ),
        config="data_root = '/home/somebody/data'",
        exp_name='run',
        mbos_run=dict(data_root='/home/somebody/data'),
        hook_msgs=dict(last_ckpt='/home/somebody/work_dirs/iter_12.pth'))
    path = tmp_path / 'iter_12.pth'
    save_atomically(
        dict(
            state_dict=model.state_dict(),
            meta=meta,
            optimizer=dict(generator=dict(state={}, param_groups=[]))),
        str(path))
    return model, path


def test_published_file(trained, tool, tmp_path, capsys):
    model, path = trained
    figures = tmp_path / 'eval_refuge.json'
    figures.write_text(
        json.dumps(
            dict(
                dataset='refuge',
                figures={
                    'odoc.Dice.disc': 0.91234,
                    'odoc.mDice': None,
                    'odoc.AP.disc': 0.5
                })))
    assert tool('publish_model.py', path, 'out/fundus', '--eval', figures,
                '--notes', 'REFUGE, 400 photographs.') is None
    weights, = (tmp_path / 'out').glob('*.pth')
    card, = (tmp_path / 'out').glob('*.md')
    assert len(list((tmp_path / 'out').iterdir())) == 2

    digest = hashlib.sha256(weights.read_bytes()).hexdigest()
    assert weights.name == f'fundus-{digest[:8]}.pth'
    assert b'somebody' not in weights.read_bytes()
    content = torch.load(weights, weights_only=True)
    assert set(content) == {'state_dict', 'meta'}
    assert content['meta']['iter'] == 12
    assert not {'config', 'hook_msgs', 'exp_name', 'mbos_run'} & set(
        content['meta'])

    other = tiny_model(window=8, adversarial=True)
    load_weights(other, str(weights))
    for name, value in model.state_dict().items():
        if 'discriminators' in name:
            assert name not in content['state_dict']
        else:
            assert torch.equal(other.state_dict()[name], value)

    text = card.read_text()
    assert 'not a medical device' in text and digest in text
    assert '| refuge | odoc.Dice.disc | 0.9123 |' in text
    assert '| refuge | odoc.mDice | - |' in text
    assert 'AP.disc' not in text and 'REFUGE, 400 photographs.' in text
    assert '- **odoc**: nested classes disc, cup' in text
    said = capsys.readouterr().out
    assert 'left out: optimizer' in said and 'discriminators left out' in said


def test_half_precision_safetensors(trained, tool, tmp_path):
    """Anybody's reader finds the weights, and MBOS all that it needs."""
    model, path = trained
    tool('publish_model.py', path, 'm', '--half', '--safetensors')
    written, = tmp_path.glob('m-*.safetensors')
    digest = hashlib.sha256(written.read_bytes()).hexdigest()
    assert written.name == f'm-{digest[:8]}.safetensors'
    other = tiny_model(window=8, adversarial=True)
    load_weights(other, str(written))
    own = {
        k: v
        for k, v in model.state_dict().items()
        if v.dtype.is_floating_point and 'discriminators' not in k
    }
    for name, value in safetensors.torch.load_file(written).items():
        if name in own:
            assert value.dtype == torch.float16
            assert torch.equal(value, own[name].half())
            assert torch.equal(other.state_dict()[name], own[name].half())
    meta = read_checkpoint(str(written))['meta']
    assert meta['iter'] == 12 and meta['mbos_model']['type']


def test_settings_of_a_config(trained, tool, tmp_path):
    """Thresholds that were chosen after training."""
    text = config_of(tmp_path, TASKS)
    rules = dict(rim=0.01, one_object=['odoc'], specks=dict(lesion=1e-4))
    text['prediction'] = dict(
        thresholds=dict(lesion=dict(EX=0.25)), postprocessing=rules)
    config = write_config(tmp_path / 'config.py', text)
    tool('publish_model.py', trained[1], 'm', '--config', config)
    path, = tmp_path.glob('m-*.pth')
    found = settings_from_meta(read_checkpoint(str(path))['meta'])
    assert found.thresholds == dict(vessel=0.5, lesion=dict(EX=0.25), odoc=0.5)
    assert found.postprocessing == Postprocessing(**rules)


def test_discriminators_can_be_kept(trained, tool, tmp_path):
    """And the same weights have the same name."""
    for folder in 'ab':
        tool('publish_model.py', trained[1], f'{folder}/m',
             '--keep-discriminators')
    one, two = sorted(tmp_path.glob('[ab]/*.pth'))
    assert one.name == two.name
    names = torch.load(one, weights_only=True)['state_dict']
    assert set(names) == set(trained[0].state_dict())


OTHER = dict(
    dataset='a', figures={}, checkpoint='b.pth', checkpoint_sha256='0' * 64)


def test_bad_input(trained, tool, tmp_path):
    model, path = trained
    for content, said in (([], 'not a file of metrics'),
                          (OTHER, 'another checkpoint, b.pth')):
        (tmp_path / 'eval.json').write_text(json.dumps(content))
        assert said in tool('publish_model.py', path, 'm', '--eval',
                            'eval.json')
    state = model.state_dict()
    torch.save(dict(state_dict=state), 'bare.pth')
    assert 'convert_pssnet_checkpoint' in tool('publish_model.py', 'bare.pth',
                                               'm')
    state['backbone.norm3.weight'][0] = 70000.
    content = torch.load(path, weights_only=True)
    torch.save(dict(content, state_dict=state), 'large.pth')
    assert 'backbone.norm3.weight has values that 16 bits' in tool(
        'publish_model.py', 'large.pth', 'm', '--half')
    assert not list(tmp_path.glob('m-*'))


def test_card_without_figures(trained):
    path = trained[1]
    content, _ = publishing.published_content(
        torch.load(path, weights_only=True))
    text = publishing.model_card(str(path), content)
    assert 'None were given' in text and 'Ask before relying' in text
