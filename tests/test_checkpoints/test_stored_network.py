"""Networks that checkpoints describe, some of them to do harm."""
import copy

import pytest
import torch
from mmcv import Config
from mmseg.models.builder import MODELS

from mbos.checkpoints.loading import checkpoint_meta
from mbos.checkpoints.settings import PredictionSettings
from mbos.checkpoints.stored_network import stored_model_cfg
from mbos.config import imported_packages
from mbos.inference.predictor import load_model
from tests.tiny_runs import TEST
from tests.utils import tiny_model, tiny_model_cfg


@pytest.fixture
def content():
    model = tiny_model()
    meta = checkpoint_meta(model,
                           tiny_model_cfg().to_dict(),
                           PredictionSettings(TEST))
    return dict(meta=meta, state_dict=model.state_dict())


def test_network_is_told(content):
    said = content['meta']['mbos_model']
    assert stored_model_cfg('a.pth', content) == said
    assert stored_model_cfg('a.pth', content) is not said
    content['meta']['mbos_model'] = None
    assert stored_model_cfg('a.pth', content) is None


def test_weights_of_its_own_are_left_out(content):
    """They would be read, or downloaded, from where the file says."""
    said = content['meta']['mbos_model']
    said['pretrained'] = 'https://example.org/a.pth'
    said['backbone']['init_cfg'] = dict(type='Pretrained', checkpoint='b.pth')
    found = stored_model_cfg('a.pth', content)
    assert found['pretrained'] is None
    assert found['backbone']['init_cfg'] is None


@pytest.mark.parametrize('part, key, value', [
    ('backbone', 'type', 'TIMMBackbone'),
    ('backbone', 'type', 'os.system'),
    ('backbone', 'type', 'mmcls.ResNet'),
    ('backbone', 'type', 7),
    ('backbone', 'embed_dims', 10**6),
    ('backbone', 'depths', [1, 1, 10**9, 1]),
    ('backbone', 'drop_path_rate', float('nan')),
    ('decode_head', 'head', 'type'),
])
def test_what_is_not_built(tmp_path, content, part, key, value):
    content['meta']['mbos_model'][part][key] = value
    path = str(tmp_path / 'a.pth')
    torch.save(content, path)
    with pytest.raises(ValueError, match='a.pth: the network that it'):
        load_model(path, device='cpu')


@pytest.mark.parametrize('said', [7, [], {}, dict(type=dict()), 'x' * 10])
def test_what_is_no_config(content, said):
    content['meta']['mbos_model'] = said
    with pytest.raises(ValueError, match='a.pth: the network that it'):
        stored_model_cfg('a.pth', content)


def test_endless_nesting(content):
    deep = {}
    for _ in range(10000):
        deep = dict(type='SwinTransformer', a=deep)
    content['meta']['mbos_model'] = deep
    with pytest.raises(ValueError, match='nested too deeply'):
        stored_model_cfg('a.pth', content)


@pytest.mark.parametrize('change', [
    dict(pipeline=7),
    dict(pipeline=[]),
    dict(pipeline=[{}]),
    dict(crop='?'),
    dict(thresholds=dict(vessel='x')),
    dict(more=1)
])
def test_prediction_settings_that_are_damaged(tmp_path, content, change):
    content = copy.deepcopy(content)
    content['meta']['mbos_prediction'].update(change)
    path = str(tmp_path / 'a.pth')
    torch.save(content, path)
    with pytest.raises(ValueError, match='prediction settings'):
        load_model(path, device='cpu')


def test_parts_that_the_users_config_imports(content, monkeypatch):
    """A backbone of the user's, from a package of the user's."""
    own = type('OwnBackbone', (torch.nn.Module, ), {})
    own.__module__ = 'parts_of_mine.backbones'
    monkeypatch.setitem(MODELS.module_dict, 'OwnBackbone', own)
    content = copy.deepcopy(content)
    content['meta']['mbos_model']['backbone']['type'] = 'OwnBackbone'
    with pytest.raises(ValueError, match='custom_imports'):
        stored_model_cfg('a.pth', content)
    cfg = Config(
        dict(custom_imports=dict(imports=['mbos', 'parts_of_mine.losses'])))
    assert imported_packages(cfg) == {'mbos', 'parts_of_mine'}
    found = stored_model_cfg('a.pth', content, imported_packages(cfg))
    assert found['backbone']['type'] == 'OwnBackbone'
