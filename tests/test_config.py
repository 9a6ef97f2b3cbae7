"""Configs: found, read, overridden, checked, completed."""
import gc
import os
import sys
import warnings

import pytest
from mmcv.runner.hooks import Hook
from mmseg.datasets import build_dataset

from mbos.apis import (build_checked, find_config, load_config,
                       member_datasets, stage1_model_cfg)
from mbos.config_rules import check_overrides
from mbos.faults import InvalidConfigError
from tests.test_golden import STAGE1_CONFIG, STAGE2_CONFIG
from tests.tiny_runs import ROOT, config_of, write_config

TASKS = ['vessel', dict(name='fovea', classes=('fovea', ))]


def put(path, value):
    """Change of a config at a place with dots."""

    def change(cfg):
        part, (*before, last) = cfg, path.split('.')
        for key in before:
            part = part[int(key) if isinstance(part, list) else key]
        part[int(last) if isinstance(part, list) else last] = value

    return change


def load(tmp_path, change=lambda cfg: None, options=None, tasks=TASKS):
    """Load a tiny config that was changed."""
    cfg = config_of('some/data', tasks)
    change(cfg)
    return load_config(write_config(tmp_path / 'mine.py', cfg), options)


def test_datasets_are_completed(tmp_path):
    cfg = load(
        tmp_path,
        put('test_sets.c1',
            dict(config_of('', TASKS)['test_sets']['c1'], data_root='other')))
    sets = [
        *member_datasets(cfg.data.train), *member_datasets(cfg.data.val),
        cfg.data.test, cfg.test_sets.c0
    ]
    assert len(sets) == 2 + 2 + 1 + 1
    for dataset in sets:
        assert dataset.data_root == 'some/data'
        assert dataset.tasks == cfg.model.tasks
    assert cfg.test_sets.c1.data_root == 'other', 'what it says itself'
    assert cfg.data.val.type == 'EvaluationSets'
    assert cfg.work_dir == os.path.join('work_dirs', 'mine')


def test_datasets_that_take_turns_are_completed(tmp_path):
    first, *others = config_of('', TASKS)['data']['train']['datasets']
    cfg = load(tmp_path, put('data.train.datasets', [first, others]))
    members = member_datasets(cfg.data.train)
    assert len(members) == 1 + len(others)
    assert {m.data_root for m in members} == {'some/data'}


def test_options_come_first(tmp_path):
    cfg = load(tmp_path, options={'data_root': 'new', 'data.test': 'c1'})
    assert cfg.data.train.datasets[0].data_root == 'new'
    assert cfg.data.test == cfg.test_sets.c1
    with pytest.raises(ValueError, match="no test set 'c9': it has c0, c1"):
        load(tmp_path, options={'data.test': 'c9'})
    with pytest.raises(ValueError, match="'workers_per_gpu'"):
        load(tmp_path, options={'data.worker_per_gpu': 2})


@pytest.mark.parametrize('text, words', [
    ('a = (', 'SyntaxError'),
    ('a = 1 / 0', 'ZeroDivisionError'),
    (f"_base_ = './base.py'\nmine = dict(img_dir='{'x' * 400}')",
     "of type <class 'str'> in base config"),
])
def test_nothing_is_left_of_a_config_that_cannot_be_read(
        tmp_path, monkeypatch, text, words):
    """mmcv's open copy would raise where the garbage collector finds it."""
    raised = []
    monkeypatch.setattr(sys, 'unraisablehook', raised.append)
    (tmp_path / 'base.py').write_text("mine = 'a folder'\n")
    (tmp_path / 'wrong.py').write_text(text)
    with pytest.raises(InvalidConfigError, match='wrong.py') as caught:
        load_config(str(tmp_path / 'wrong.py'))
    assert words in str(caught.value)
    gc.collect()
    assert not raised


def test_configs_are_found_from_any_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    name = os.path.basename(STAGE1_CONFIG)
    for given in (STAGE1_CONFIG, STAGE1_CONFIG.removeprefix('configs/'), name,
                  name.removesuffix('.py')):
        assert find_config(given) == str(ROOT / STAGE1_CONFIG)
    (tmp_path / name).touch()
    assert find_config(name) == name, "one's own comes first"


@pytest.mark.parametrize('given, words', [
    ('no.py', "'no.py' not found"),
    ('elsewhere/fundus_stage1.py', 'There is _base_/.*fundus_stage1.py'),
    ('fundus_stag1', 'There is .*fundus_stage1.py'),
])
def test_missing_configs_name_similar_ones(given, words):
    with pytest.raises(FileNotFoundError, match=words):
        find_config(given)


def test_stage_1_network_of_stage_2():
    """It is the network of the published stage-1 config."""
    ours = stage1_model_cfg(load_config(STAGE2_CONFIG).model)
    assert ours == load_config(STAGE1_CONFIG).model


@pytest.mark.parametrize('cfg, words', [
    (dict(type='Nonsense'), 'Nonsense is not in the dataset registry.*type'),
    (dict(type='JointDataset', datasets=[], colour=1), 'Joint.*colour'),
    (dict(type='PartialLabelDataset', name='a'), 'missing 3 required'),
])
def test_parts_that_cannot_be_built(cfg, words):
    with pytest.raises(InvalidConfigError, match=words):
        build_checked(build_dataset, cfg)


def test_errors_of_the_users_own_code_are_left_alone():

    def fail(error):
        raise error

    for error in (KeyError('a'), TypeError('b'), RuntimeError('c')):
        with pytest.raises(type(error)):
            build_checked(fail, error)
    assert isinstance(build_checked(Hook), Hook)


# ---- overrides of keys that a config does not have

CONFIG = dict(
    data=dict(samples_per_gpu=1, train=dict(type='A', datasets=[])),
    model=dict(type='B', train_cfg=dict(low_memory=False)),
    optimizer=dict(
        generator=dict(type='C', paramwise_cfg=dict(custom_keys=dict(a=1)))),
    data_root='data')


@pytest.mark.parametrize('key, meant', [
    ('data_rot', 'data_root'),
    ('data.samples_per_gp', 'samples_per_gpu'),
    ('data.trian.datasets', 'train'),
    ('model.train_cfg.image_per_pass', 'images_per_pass'),
    ('optimizer.generater.lr', 'generator'),
    ('tf-32', 'tf32'),
])
def test_mistyped_keys_are_refused(key, meant):
    with pytest.raises(ValueError, match=f'--cfg-options {key}: .*{meant!r}'):
        check_overrides(CONFIG, {key: 1})


@pytest.mark.parametrize('key', [
    'data_root', 'model.train_cfg', 'data.samples_per_gpu',
    'data.train.anything', 'data.train.datasets.3.name',
    'model.train_cfg.images_per_pass', 'seed', 'model.anything',
    'optimizer.generator.paramwise_cfg.custom_keys.b', 'data_root.deeper'
])
def test_keys_that_are_read_pass_in_silence(key):
    with warnings.catch_warnings():
        warnings.simplefilter('error')
        check_overrides(CONFIG, {key: 1})
        with pytest.raises(UserWarning, match="mine.x: .* had no 'mine'"):
            check_overrides(CONFIG, {'mine.x': 1})


# ---- what a config must be made of

TWO = ('vessel', 'lesion')
HEAD = dict(type='UPerHead', in_channels=[12, 24], channels=16)
REPEATED = dict(type='RepeatDataset', dataset={})


def rules(**given):
    """Rules of postprocessing."""
    return put('prediction', dict(postprocessing=given))


def member(key, value):
    """A setting of the first training set."""
    return put(f'data.train.datasets.0.{key}', value)


@pytest.mark.parametrize('change, words', [
    (put('model', 3), ['model is 3', 'dict']),
    (put('model', None), ['model is missing']),
    (put('model.decode_head.head.in_index',
         [0, 1., 2, 3]), ['decode_head.head.in_index']),
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
    (put('data.train', REPEATED), ['data.train', 'Repeat', 'JointDataset']),
    (put('data.train', dict(datasets=[])), ['data.train has', 'JointDataset']),
    (put('data.val', REPEATED), ['data.val has', 'Repeat', 'list']),
    (put('data.val', dict(name='c0')), ['data.val', 'PartialLabelDataset']),
    (put('data.train.datasets.0', 'c0'), ['data.train', "'c0'"]),
    (member('pipeline', None), ["'c0'", 'pipeline']),
    (member('pipeline', [['x']]), ["'c0'", 'pipeline']),
    (member('img_dir', 3), ["'c0'", 'img_dir']),
    (member('ann_dirs', 'vessel'), ["'c0'", 'ann_dirs']),
    (member('pseudo_dirs', dict(lesion=4)), ['pseudo_dirs']),
    (member('weights', dict(vessel='1')), ['weights']),
    (member('img_suffix', 4), ['img_suffix']),
    (put('data.test.pipeline',
         [dict(type='MultiScaleFlipAug', transforms=3)]), ['pipeline', '3']),
    (put('data.test', 'c7'), ["'c7'"]),
    (put('test_sets', ['c0']), ['test_sets']),
    (put('test_sets.c0', 'c1'), ['test_sets.c0']),
    (put('prediction', 'fov'), ['prediction']),
    (put('prediction', dict(thresholds=0.5)), ['prediction.thresholds']),
    (put('prediction', dict(thresholds=dict(vein=0.5))), ['thresholds.vein']),
    (put('prediction', dict(thresholds=dict(lesion=dict(EX=0.5, XX=0.5)))),
     ['lesion.XX']),
    (put('prediction', dict(threshold=0.5)), ['prediction.threshold ']),
    (put('prediction', dict(postprocessing=4)), ['postprocessing']),
    (rules(rims=0.1), ['postprocessing.rims']),
    (rules(rim='wide'), ['rim']),
    (rules(one_object=['disc']), ['one_object.disc']),
    (rules(specks=1e-5), ['specks']),
])  # yapf: disable
def test_refused(tmp_path, change, words):
    with pytest.raises(ValueError) as caught:
        load(tmp_path, change, tasks=TWO)
    for word in words:
        assert word in str(caught.value)
    if isinstance(caught.value, InvalidConfigError):
        assert 'mine.py' in str(caught.value)


@pytest.mark.parametrize('change', [
    put('prediction', dict(thresholds=dict(lesion=dict(EX=0.3), vessel=0.4))),
    rules(rim=0, one_object=['vessel'], specks=dict(lesion=dict(EX=1e-5))),
    put('model.auxiliary_head', None),
    member('img_suffix', ('.jpg', '.png')),
    member('ann_dirs', dict(lesion=dict(path='a', classes=['EX']))),
    put('data.val', None),
])
def test_taken(tmp_path, change):
    load(tmp_path, change, tasks=TWO)
