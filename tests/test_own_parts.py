"""A network with parts of the user's own, wherever its config is given."""
import sys

import pytest

from tests.tiny_runs import config_of, write_config, write_data

TWO = ('vessel', 'lesion')
PARTS = '''
from mmseg.models.builder import BACKBONES, LOSSES
from torch import nn
from mbos.models.losses import BinaryLoss


@BACKBONES.register_module(force=True)
class FourConvs(nn.Module):
    """Maps of 1/4 to 1/32 of the image."""

    def __init__(self, channels=(12, 24, 48, 96)):
        super().__init__()
        sides = [3, *channels]
        self.stages = nn.ModuleList(
            nn.Conv2d(a, b, 4 if i == 0 else 2, 4 if i == 0 else 2)
            for i, (a, b) in enumerate(zip(sides, channels)))

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
IMPORTS = dict(imports=['parts_of_mine'], allow_failed_imports=False)


def own(cfg):
    cfg['model']['backbone'] = dict(type='FourConvs')
    cfg['model']['decode_head']['loss_decode']['type'] = 'LossOfMine'
    return dict(cfg, custom_imports=IMPORTS)


@pytest.fixture(scope='module')
def root(tmp_path_factory):
    root = tmp_path_factory.mktemp('own_parts')
    write_data(root / 'data', TWO)
    (root / 'parts_of_mine.py').write_text(PARTS)
    for name, stage2 in (('stage1', False), ('stage2', True)):
        write_config(root / f'{name}.py',
                     own(config_of(root / 'data', TWO, stage2)))
    without = config_of(root / 'data', TWO, True)
    write_config(root / 'without.py', without)
    return root


@pytest.fixture
def ran(root, tool, monkeypatch):
    """The folder with a stage-1 checkpoint of such a network."""
    monkeypatch.setattr(sys, 'path', [str(root), *sys.path])
    monkeypatch.chdir(root)
    if not (root / 'w1/iter_4.pth').exists():
        assert tool('train.py', 'stage1.py', '--work-dir', 'w1') is None
    return root


def test_every_command_takes_its_config(ran, tool, capsys):
    checkpoint, images = 'w1/iter_4.pth', 'data/c0_test/images'
    assert tool('test.py', 'stage1.py', checkpoint, '--eval', 'mIoU',
                '--work-dir', 'eval', '--bootstrap', 0) is None
    assert tool('predict.py', 'stage1.py', checkpoint, images, '--out',
                'o') in (None, 0)
    assert tool('generate_pseudo_labels.py', 'stage2.py', checkpoint,
                '--overwrite') is None
    assert tool('train.py', 'stage2.py', '--work-dir', 'w2', '--load-from',
                checkpoint, '--no-validate') is None
    assert tool('publish_model.py', checkpoint, 'published') is None
    pytest.importorskip('onnxruntime')
    assert tool('export_onnx.py', checkpoint, 'o.onnx', '--config',
                'stage1.py') is None


@pytest.mark.parametrize('arguments', [
    ('predict.py', 'w1/iter_4.pth', 'data/c0_test/images', '--out', 'p'),
    ('export_onnx.py', 'w1/iter_4.pth', 'p.onnx'),
    ('generate_pseudo_labels.py', 'without.py', 'w1/iter_4.pth'),
])
def test_where_it_cannot_be_known_the_remedy_is_said(ran, tool, arguments):
    said = tool(*arguments)
    assert 'FourConvs' in said and 'custom_imports' in said
    assert 'config that it was trained with' in said
