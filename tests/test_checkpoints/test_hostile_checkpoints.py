"""A file that would run code, or build what it likes, does neither."""
import os
import pickle

import pytest
import torch
from mmcv import Config
from mmseg.models.builder import MODELS

from mbos.checkpoints.loading import checkpoint_meta, read_checkpoint
from mbos.checkpoints.network import stored_model_cfg
from mbos.checkpoints.settings import PredictionSettings
from mbos.config import imported_packages
from mbos.inference.predictor import load_model
from tests.tiny_runs import TEST
from tests.utils import tiny_model, tiny_model_cfg


class Payload:
    """Makes a folder when it is unpickled."""

    def __init__(self, target):
        self.target = str(target)

    def __reduce__(self):
        return os.mkdir, (self.target, )


PLACES = dict(
    meta=lambda content, load: content['meta'].update(palette=load),
    optimizer=lambda content, load: content.update(optimizer=load),
    weights=lambda content, load: content['state_dict'].update(x=load))


@pytest.fixture
def hostile(runs, tmp_path):
    """Function that writes a whole checkpoint with a payload in a place."""

    def write(place):
        content = torch.load(runs.checkpoint1, weights_only=True)
        PLACES[place](content, Payload(tmp_path / 'run'))
        torch.save(content, tmp_path / 'hostile.pth')
        return str(tmp_path / 'hostile.pth')

    return write


@pytest.mark.parametrize('place', PLACES)
def test_reading(hostile, tmp_path, place):
    path = hostile(place)
    with pytest.raises(ValueError, match='hostile.pth.*plain values'):
        read_checkpoint(path)
    assert not (tmp_path / 'run').exists()
    torch.load(path, weights_only=False)  # it would have worked
    assert (tmp_path / 'run').is_dir()
    os.rmdir(tmp_path / 'run')
    with open(path, 'wb') as file:  # of no archive
        pickle.dump(Payload(tmp_path / 'run'), file)
    with pytest.raises(ValueError, match='plain values'):
        read_checkpoint(path)
    assert not (tmp_path / 'run').exists()


@pytest.mark.parametrize('name, arguments', [
    ('test.py', ('CONFIG', 'FILE', '--eval', 'mIoU')),
    ('train.py', ('CONFIG', '--load-from', 'FILE')),
    ('train.py', ('CONFIG', '--resume-from', 'FILE')),
    ('train.py', ('CONFIG', '--cfg-options', 'model.pretrained=FILE')),
    ('generate_pseudo_labels.py', ('STAGE2', 'FILE')),
    ('publish_model.py', ('FILE', 'out/model')),
    ('convert_pssnet_checkpoint.py', ('FILE', 'out.pth', '--to-release')),
    ('convert_swin_checkpoint.py', ('FILE', 'out.pth')),
])
def test_tools(runs, tool, hostile, tmp_path, capfd, name, arguments):
    path = hostile('meta')
    places = dict(CONFIG=runs.config1, STAGE2=runs.config2)
    status = tool(name,
                  *(places.get(a, a).replace('FILE', path) for a in arguments))
    captured = capfd.readouterr()
    message = captured.out + captured.err + str(status)
    assert status not in (None, 0)
    assert path in message and 'Traceback' not in message
    assert os.listdir(tmp_path) == ['hostile.pth']


@pytest.fixture
def content():
    """A checkpoint that describes its network and how to predict."""
    model = tiny_model()
    meta = checkpoint_meta(model,
                           tiny_model_cfg().to_dict(),
                           PredictionSettings(TEST))
    return dict(meta=meta, state_dict=model.state_dict())


def test_network_is_read_without_weights_of_its_own(content):
    """They would be read, or downloaded, from where the file says."""
    stored = content['meta']['mbos_model']
    assert stored_model_cfg('a.pth', content) == stored
    stored['pretrained'] = 'https://example.org/a.pth'
    stored['backbone']['init_cfg'] = dict(type='Pretrained', checkpoint='b')
    found = stored_model_cfg('a.pth', content)
    assert found['pretrained'] is found['backbone']['init_cfg'] is None
    content['meta']['mbos_model'] = None
    assert stored_model_cfg('a.pth', content) is None


@pytest.mark.parametrize('part, key, value', [
    ('backbone', 'type', 'TIMMBackbone'),
    ('backbone', 'type', 'mmcls.ResNet'),
    ('backbone', 'type', 7),
    ('backbone', 'depths', [1, 1, 10**9, 1]),
    ('backbone', 'drop_path_rate', float('nan')),
    ('decode_head', 'head', 'type'),
])
def test_what_is_not_built(tmp_path, content, part, key, value):
    content['meta']['mbos_model'][part][key] = value
    torch.save(content, tmp_path / 'a.pth')
    with pytest.raises(ValueError, match='a.pth: '):
        load_model(str(tmp_path / 'a.pth'), device='cpu')


def nested(depth):
    """A config in a config in a config."""
    config = dict(type='SwinTransformer')
    for _ in range(depth):
        config = dict(type='SwinTransformer', a=config)
    return config


@pytest.mark.parametrize('stored', [7, {}, dict(type=dict()), nested(10000)])
def test_what_is_no_config(content, stored):
    content['meta']['mbos_model'] = stored
    with pytest.raises(ValueError, match='a.pth: the network that it'):
        stored_model_cfg('a.pth', content)


@pytest.mark.parametrize('change', [
    dict(pipeline=7),
    dict(pipeline=[{}]),
    dict(crop='?'),
    dict(thresholds=dict(vessel='x')),
    dict(more=1)
])
def test_prediction_settings_that_are_damaged(tmp_path, content, change):
    content['meta']['mbos_prediction'].update(change)
    torch.save(content, tmp_path / 'a.pth')
    with pytest.raises(ValueError, match='prediction settings'):
        load_model(str(tmp_path / 'a.pth'), device='cpu')


def test_parts_that_the_users_config_imports(content, monkeypatch):
    """A backbone of the user's, from a package of the user's."""
    own = type('OwnBackbone', (torch.nn.Module, ), {})
    own.__module__ = 'parts_of_mine.backbones'
    monkeypatch.setitem(MODELS.module_dict, 'OwnBackbone', own)
    content['meta']['mbos_model']['backbone']['type'] = 'OwnBackbone'
    with pytest.raises(ValueError, match='custom_imports'):
        stored_model_cfg('a.pth', content)
    cfg = Config(
        dict(custom_imports=dict(imports=['mbos', 'parts_of_mine.losses'])))
    found = stored_model_cfg('a.pth', content, imported_packages(cfg))
    assert found['backbone']['type'] == 'OwnBackbone'
