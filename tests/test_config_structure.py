"""What a config must be made of is said when it is read, by every command."""
import pytest

from mbos.config import load_config
from mbos.faults import InvalidConfigError
from tests.tiny_runs import config_of, write_config

TWO = ('vessel', 'lesion')
HEAD = dict(type='UPerHead', in_channels=[12, 24], channels=16)


def put(path, value):
    """Change of a config at a place with dots."""

    def change(cfg):
        *before, last = path.split('.')
        part = cfg
        for key in before:
            part = part[int(key) if isinstance(part, list) else key]
        part[int(last) if isinstance(part, list) else last] = value

    return change


def rules(**given):
    """Rules of postprocessing."""
    return put('prediction', dict(postprocessing=given))


@pytest.mark.parametrize('change, words', [
    (put('model', 3), ['model is 3', 'dict']),
    (put('model', None), ['model is missing']),
    (put('model.decode_head.head.in_index',
         [0, 1., 2, 3]), ['decode_head.head.in_index']),
    (put('data.train', dict(type='RepeatDataset', dataset={})),
     ['data.train.type', 'RepeatDataset', 'JointDataset']),
    (put('model.tasks', ['vessel', 'vein']), ['model.tasks', "'vein'"]),
    (put('model.tasks', [5]), ['model.tasks']),
    (put('model.type', 'EncoderDecoder'), ['MultiTaskSegmentor']),
    (put('model.decode_head', HEAD), ['MultiTaskHead', 'UPerHead']),
    (put('model.decode_head', [HEAD]), ['model.decode_head', 'one dict']),
    (put('model.auxiliary_head', [HEAD]), ['model.auxiliary_head']),
    (put('model.backbone', 'ResNet'), ['model.backbone', "'ResNet'"]),
    (put('model.pretrained', 5), ['model.pretrained', '5']),
    (put('model.backbone.init_cfg', dict(
        type='Pretrained', checkpoint=[1])), ['init_cfg.checkpoint']),
    (put('data_root', 5), ['data_root', '5']),
    *((put('data.test_workers', value), ['data.test_workers', 'whole number'])
      for value in (-1, 10**6, 1.5, 'x', True)),
    (put('work_dir', ['w']), ['work_dir']),
    (put('data.val', dict(type='RepeatDataset', dataset={})),
     ['data.val.type', 'RepeatDataset', 'list']),
    (put('data.val',
         dict(datasets=[])), ['data.val has', 'PartialLabelDataset']),
    (put('data.train', dict(datasets=[])), ['data.train has', 'JointDataset']),
    (put('data.val', dict(name='c0')), ['data.val', 'PartialLabelDataset']),
    (put('data.train.datasets.0', 'c0'), ['data.train', "'c0'"]),
    (put('data.train.datasets.0.pipeline', None), ["'c0'", 'pipeline']),
    (put('data.train.datasets.0.pipeline', [['x']]), ["'c0'", 'pipeline']),
    (put('data.train.datasets.0.img_dir', 3), ["'c0'", 'img_dir']),
    (put('data.train.datasets.0.ann_dirs', 'vessel'), ["'c0'", 'ann_dirs']),
    (put('data.train.datasets.0.pseudo_dirs', dict(lesion=4)), ['pseudo_dirs'
                                                                ]),
    (put('data.train.datasets.0.weights', dict(vessel='1')), ['weights']),
    (put('data.train.datasets.0.img_suffix', 4), ['img_suffix']),
    (put('data.test.pipeline',
         [dict(type='MultiScaleFlipAug', transforms=3)]), ['pipeline', '3']),
    (put('data.test', 'c7'), ["'c7'"]),
    (put('test_sets', ['c0']), ['test_sets']),
    (put('test_sets.c0', 'c1'), ['test_sets.c0']),
    (put('prediction', 'fov'), ['prediction']),
    (put('prediction', dict(thresholds=0.5)), ['prediction.thresholds']),
    (put('prediction', dict(thresholds=dict(vein=0.5))), ['.vein ']),
    (put('prediction',
         dict(thresholds=dict(lesion=dict(EX=0.5, XX=0.5)))), ['lesion.XX']),
    (put('prediction', dict(threshold=0.5)), ['prediction.threshold ']),
    (put('prediction', dict(postprocessing=4)), ['postprocessing']),
    (rules(rims=0.1), ['postprocessing.rims']),
    (rules(rim='wide'), ['rim']),
    (rules(one_object=['disc']), ['.disc ']),
    (rules(specks=1e-5), ['specks']),
    (rules(specks=dict(lesion=dict(XX=1e-5))), ['lesion.XX']),
])
def test_refused(tmp_path, change, words):
    cfg = config_of(tmp_path, TWO)
    change(cfg)
    with pytest.raises(ValueError) as caught:
        load_config(write_config(tmp_path / 'wrong.py', cfg))
    for word in words:
        assert word in str(caught.value)
    if isinstance(caught.value, InvalidConfigError):
        assert 'wrong.py' in str(caught.value)


@pytest.mark.parametrize('change', [
    put('prediction', dict(thresholds=dict(lesion=dict(EX=0.3), vessel=0.4))),
    rules(rim=0, one_object=['vessel'], specks=dict(lesion=dict(EX=1e-5))),
    put('model.auxiliary_head', None),
    put('data.train.datasets.0.img_suffix', ('.jpg', '.png')),
    put('data.train.datasets.0.ann_dirs',
        dict(lesion=dict(path='a', classes=['EX']))),
    put('data.val', None),
])
def test_taken(tmp_path, change):
    cfg = config_of(tmp_path, TWO)
    change(cfg)
    load_config(write_config(tmp_path / 'right.py', cfg))
