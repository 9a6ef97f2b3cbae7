"""A network with parts of the user's own, wherever its config is given."""
import sys

import pytest

from tests.tiny_runs import TWO, config_of, write_config, write_data

PARTS = '''
from mmseg.models.builder import BACKBONES, LOSSES
from torch import nn
from mbos.models.losses import BinaryLoss


@BACKBONES.register_module(force=True)
class FourConvs(nn.Module):
    """Maps of 1/4 to 1/32 of the image."""

    def __init__(self, channels=(12, 24, 48, 96)):
        super().__init__()
        self.stages = nn.ModuleList(
            nn.Conv2d(a, b, side, side) for a, b, side in zip(
                (3, *channels), channels, (4, 2, 2, 2)))

    def init_weights(self):
        pass

    def forward(self, image):
        maps = []
        for stage in self.stages:
            image = stage(image).relu()
            maps.append(image)
        return tuple(maps)


@LOSSES.register_module(force=True)
class LossOfMine(BinaryLoss):
    pass
'''

OWN = dict(
    custom_imports=dict(imports=['parts_of_mine'], allow_failed_imports=False),
    model__backbone=dict(type='FourConvs'),
    model__decode_head__loss_decode__type='LossOfMine')


@pytest.fixture(scope='module')
def root(tmp_path_factory):
    root = tmp_path_factory.mktemp('own_parts')
    write_data(root / 'data', TWO)
    (root / 'parts_of_mine.py').write_text(PARTS)
    for stage2 in (False, True):
        cfg = config_of(root / 'data', TWO, stage2, **OWN)
        write_config(root / f'stage{1 + stage2}.py', cfg)
    write_config(root / 'without.py', config_of(root / 'data', TWO, True))
    return root


@pytest.fixture
def ran(root, tool, monkeypatch):
    """The folder with a stage-1 checkpoint of such a network."""
    monkeypatch.setattr(sys, 'path', [str(root), *sys.path])
    monkeypatch.chdir(root)
    if not (root / 'w1/iter_4.pth').exists():
        assert tool('train.py', 'stage1.py', '--work-dir', 'w1') is None
    return root


@pytest.mark.parametrize('command', [
    'test.py stage1.py {} --eval mIoU --work-dir eval --bootstrap 0',
    'predict.py stage1.py {} data/c0_test/images --out o',
    'generate_pseudo_labels.py stage2.py {} --overwrite',
    'train.py stage2.py --work-dir w2 --load-from {} --no-validate',
    'publish_model.py {} published',
    'export_onnx.py {} o.onnx --config stage1.py',
])
def test_every_command_takes_its_config(ran, tool, command):
    if 'onnx' in command:
        pytest.importorskip('onnxruntime')
    assert not tool(*command.format('w1/iter_4.pth').split())


@pytest.mark.parametrize('command', [
    'predict.py {} data/c0_test/images --out p',
    'export_onnx.py {} p.onnx',
    'generate_pseudo_labels.py without.py {}',
])
def test_where_it_cannot_be_known_the_remedy_is_said(ran, tool, command):
    said = tool(*command.format('w1/iter_4.pth').split())
    assert 'FourConvs' in said and 'custom_imports' in said
    assert 'config that it was trained with' in said
