"""A file that would run code, or build what it likes, does neither."""
import os

import pytest
import torch
from mmcv import Config
from mmseg.models.builder import MODELS

from mbos.checkpoints.loading import checkpoint_meta
from mbos.checkpoints.network import stored_model_cfg
from mbos.checkpoints.settings import PredictionSettings
from mbos.config import imported_packages
from mbos.inference.predictor import load_model
from tests.tiny_runs import TEST
from tests.utils import tiny_model, tiny_model_cfg


class Payload:
    """Makes a folder when it is unpickled."""

    def __reduce__(self):
        return os.mkdir, ('run', )


@pytest.mark.parametrize('name, arguments', [
    ('train.py', ('CONFIG', '--resume-from', 'a.pth')),
    ('publish_model.py', ('a.pth', 'out/model')),
    ('convert_swin_checkpoint.py', ('a.pth', 'out.pth')),
])
def test_tools(runs, tool, tmp_path, capfd, name, arguments):
    content = torch.load(runs.checkpoint1, weights_only=True)
    content['meta']['palette'] = Payload()
    torch.save(content, 'a.pth')
    status = tool(name, *(runs.config1 if a == 'CONFIG' else a
                          for a in arguments))  # yapf: disable
    captured = capfd.readouterr()
    message = captured.out + captured.err + str(status)
    assert status not in (None, 0)
    assert 'a.pth' in message and 'Traceback' not in message
    assert os.listdir(tmp_path) == ['a.pth']
    torch.load('a.pth', weights_only=False)  # it would have worked
    assert os.path.isdir('run')


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


NESTED = dict(type='SwinTransformer')
for _ in range(10000):
    NESTED = dict(type='SwinTransformer', a=NESTED)


@pytest.mark.parametrize('value', [
    7,
    dict(type=dict()),
    NESTED,
    dict(type='TIMMBackbone'),
    dict(type='mmcls.ResNet'),
    dict(type='SwinTransformer', depths=[1, 1, 10**9, 1]),
    dict(type='SwinTransformer', drop_path_rate=float('nan')),
])
def test_what_is_not_built(content, value):
    content['meta']['mbos_model'] = value
    with pytest.raises(ValueError, match='a.pth: the network that it'):
        stored_model_cfg('a.pth', content)


@pytest.mark.parametrize(
    'change', [dict(pipeline=[{}]),
               dict(thresholds=dict(vessel='x'))])
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
    cfg = Config(dict(custom_imports=dict(imports=['parts_of_mine.losses'])))
    found = stored_model_cfg('a.pth', content, imported_packages(cfg))
    assert found['backbone']['type'] == 'OwnBackbone'
