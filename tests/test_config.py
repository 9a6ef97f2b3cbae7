"""Configs: found, read, overridden, checked, completed."""
import gc
import os
import sys

import pytest
from mmcv.runner.hooks import Hook

from mbos.apis import (build_checked, find_config, load_config,
                       member_datasets, stage1_model_cfg)
from mbos.checkpoints.settings import settings_of
from mbos.config_rules import check_overrides, check_training
from mbos.faults import InvalidConfigError
from tests.test_golden import STAGE1_CONFIG, STAGE2_CONFIG
from tests.tiny_runs import (FORMAT, LOAD, ROOT, TWO, config_of, write_config,
                             write_data)

FIRST = 'data__train__datasets__0__'


def load(tmp_path, options=None, **changes):
    """Load a tiny config that was changed."""
    cfg = config_of('some/data', TWO, **changes)
    return load_config(write_config(tmp_path / 'mine.py', cfg), options)


def test_datasets_are_completed(tmp_path):
    other = dict(config_of('', TWO)['test_sets']['c1'], data_root='other')
    first, *others = config_of('', TWO)['data']['train']['datasets']
    turns = [first, others]
    cfg = load(tmp_path, test_sets__c1=other, data__train__datasets=turns)
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


def test_options_come_first(tmp_path):
    cfg = load(tmp_path, {'data_root': 'new', 'data.test': 'c1'})
    assert cfg.data.train.datasets[0].data_root == 'new'
    assert cfg.data.test == cfg.test_sets.c1
    with pytest.raises(ValueError, match="set 'c9': it has c0, c1"):
        load(tmp_path, {'data.test': 'c9'})


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
    for given, words in (('no.py', "'no.py' not found"),
                         ('elsewhere/fundus_stage1.py', '_base_/.*_stage1.py'),
                         ('fundus_stag1', 'There is .*fundus_stage1.py')):
        with pytest.raises(FileNotFoundError, match=words):
            find_config(given)


@pytest.mark.parametrize(
    'base', ['light/light_stage1.py', 'configs/light/light_stage1.py'])
def test_bases_of_mbos_by_their_path_in_configs(tmp_path, base):
    (tmp_path / 'mine.py'
     ).write_text(f"_base_ = '{base}'\nmine = {{{{_base_.train_pipeline}}}}\n")
    cfg = load_config(str(tmp_path / 'mine.py'))
    assert cfg.mine and cfg.model == load_config('light_stage1').model


def test_stage_1_network_of_stage_2():
    """It is the network of the published stage-1 config."""
    ours = stage1_model_cfg(load_config(STAGE2_CONFIG).model)
    assert ours == load_config(STAGE1_CONFIG).model


def test_errors_of_the_users_own_code_are_left_alone():

    def fail(error):
        raise error

    for error in (KeyError('a'), TypeError('b'), RuntimeError('c')):
        with pytest.raises(type(error)):
            build_checked(fail, error)
    assert isinstance(build_checked(Hook), Hook)


# ---- overrides of keys that a config does not have

CONFIG = config_of('data', TWO, True)


@pytest.mark.parametrize('key, meant', [
    ('data_rot', 'data_root'),
    ('data.trian.datasets', 'train'),
    ('model.train_cfg.image_per_pass', 'images_per_pass'),
    ('optimizer.generater.lr', 'generator'),
])
def test_mistyped_keys_are_refused(key, meant):
    with pytest.raises(ValueError, match=f'--cfg-options {key}: .*{meant!r}'):
        check_overrides(CONFIG, {key: 1})


@pytest.mark.filterwarnings('error')
def test_keys_that_are_read_pass_in_silence():
    check_overrides(CONFIG, [
        'data_root', 'model.train_cfg', 'data.samples_per_gpu',
        'data.train.anything', 'data.train.datasets.3.name',
        'model.train_cfg.images_per_pass', 'seed', 'model.anything',
        'optimizer.generator.paramwise_cfg.custom_keys.b', 'data_root.deeper'
    ])
    with pytest.raises(UserWarning, match="mine.x: .* had no 'mine'"):
        check_overrides(CONFIG, {'mine.x': 1})


# ---- what a config must be made of

UPER = dict(type='UPerHead', in_channels=[12, 24], channels=16)
REPEATED = dict(type='RepeatDataset', dataset={})
NO_STEPS = [dict(type='MultiScaleFlipAug', transforms=3)]


@pytest.mark.parametrize('changes, words', [
    (dict(model=3), 'model is 3, expected dict'),
    (dict(model=None), 'model is missing'),
    (dict(model__tasks=['vessel', 'vein']), "model.tasks: .*'vein'"),
    (dict(model__tasks=[5]), 'model.tasks'),
    (dict(model__decode_head=UPER), 'MultiTaskHead.*UPerHead'),
    (dict(model__auxiliary_head=[UPER]), 'model.auxiliary_head .*one dict'),
    (dict(model__backbone='ResNet'), "model.backbone is 'ResNet'"),
    (dict(model__backbone__init_cfg=dict(checkpoint=[1])), 'init_cfg.check'),
    *((dict(data__test_workers=value), 'data.test_workers .*whole number')
      for value in (-1, 10**6, 1.5, 'x', True)),
    (dict(data__train=REPEATED), 'data.train .*Repeat.*JointDataset'),
    (dict(data__val=REPEATED), 'data.val .*Repeat.*list'),
    (dict(data__train__datasets=['c0']), "data.train has 'c0'"),
    ({
        FIRST + 'pipeline': None
    }, "'c0': pipeline is missing"),
    ({
        FIRST + 'pipeline': [['x']]
    }, "'c0': pipeline is .*x"),
    ({
        FIRST + 'img_dir': 3
    }, "'c0': img_dir is 3"),
    ({
        FIRST + 'ann_dirs': 'vessel'
    }, 'ann_dirs'),
    (dict(data__test__pipeline=NO_STEPS), 'pipeline is .*3'),
    (dict(test_sets__c0='c1'), 'test_sets.c0'),
])
def test_refused_when_it_is_read(tmp_path, changes, words):
    with pytest.raises(InvalidConfigError, match=f'(?s)mine.py.*{words}'):
        load(tmp_path, **changes)


@pytest.mark.parametrize('given, words', [
    (dict(thresholds=0.5), 'prediction'),
    (dict(thresholds=dict(vein=0.5)), "'vein'"),
    (dict(thresholds=dict(lesion=dict(EX=0.5, XX=0.5))), "'XX'"),
    (dict(threshold=0.5), "'threshold'"),
    (dict(crop='square'), "'square'"),
    (dict(postprocessing=dict(rims=0.1)), "'rims'"),
    (dict(postprocessing=dict(specks=dict(lesion=dict(cup=0.1)))), "'cup'"),
    (dict(postprocessing=dict(one_object=['disc'])), "'disc'"),
])
def test_refused_before_it_is_predicted_with(tmp_path, given, words):
    cfg = load(tmp_path, prediction=given)
    with pytest.raises(InvalidConfigError, match=words):
        settings_of(cfg)


def test_taken(tmp_path):
    rules = dict(
        rim=0, one_object=['vessel'], specks=dict(lesion=dict(EX=1e-5)))
    limits = dict(lesion=dict(EX=0.3), vessel=0.4)
    some = dict(lesion=dict(path='a', classes=['EX']))
    changes = {
        FIRST + 'img_suffix': ('.jpg', '.png'),
        FIRST + 'ann_dirs': some
    }
    prediction = dict(thresholds=limits, postprocessing=rules)
    settings_of(
        load(
            tmp_path,
            prediction=prediction,
            model__auxiliary_head=None,
            data__val=None,
            **changes))


# ---- what training would not do


def checked(tmp_path, **changes):
    """What is said of a config before it is trained with."""
    cfg = load(tmp_path, **changes)
    cfg.setdefault('seed', 0)
    return check_training(cfg)


def test_what_may_be_left_out_or_stay(tmp_path):
    assert not checked(
        tmp_path,
        runner=dict(max_iters=4),
        optimizer_config={},
        checkpoint_config=dict(interval=2),
        gpu_ids=[0])
    assert checked(
        tmp_path, optimiser=dict(type='SGD')) == [
            "optimiser is not read: did you mean 'optimizer'?"
        ]


@pytest.mark.parametrize('changes, words', [
    (dict(fp16={}, total_iters=3), "precision='fp16'.*runner.max_iters"),
    (dict(data__train_dataloader={}), 'data.train_dataloader .*samples_per'),
    (dict(data__samples_per_gpus=2), "did you mean 'samples_per_gpu'"),
    (dict(data__train=None), 'data.train is missing'),
    (dict(workflow=[('train', 1), ('val', 1)]), 'workflow.*evaluation'),
    (dict(runner=dict(type='EpochBasedRunner', max_epochs=3)),
     'runner.max_epochs.*CheckedIterRunner'),
    (dict(runner__max_iters='many'), "runner.max_iters is 'many'"),
    (dict(optimizer__type='LBFGS'), 'LBFGS.*AdamW'),
    (dict(optimizer_config=dict(type='Fp16OptimizerHook')),
     "GradientStepHook.*accumulate=N.*precision='fp16'"),
    (dict(optimizer_config=[1]), 'optimizer_config.*dict'),
    (dict(optimizer_config__grad_clip=1.0), 'grad_clip is 1.0.*dict'),
    (dict(lr_config__by_epoch=True), 'lr_config.by_epoch'),
    (dict(checkpoint_config__type='CheckpointHook'), 'SubfolderCheckpointH'),
    (dict(checkpoint_config__filename_tmpl='a{}.pth'), 'filename_tmpl'),
    (dict(evaluation__intervall=3), "'interval'"),
    (dict(log_config=dict(hooks=[dict(kind='x')])), 'log_config.hooks'),
    (dict(custom_hooks=[dict(type='OptimizerHook')]), 'optimizer_config'),
    (dict(model__test_cfg=dict(mode='whole', strid=3)), "'stride'"),
    (dict(model__train_cfg=dict(sampler={})), 'model.train_cfg.sampler'),
    (dict(seed=2**64), 'seed .*18446744073709551615'),
    (dict(compile='a.b'), 'compile.*bool'),
    (dict(precision='fp8'), "precision.*'bf16'"),
])
def test_refused_before_training(tmp_path, changes, words):
    with pytest.raises(InvalidConfigError, match=f'(?s)mine.py.*{words}'):
        checked(tmp_path, **changes)


# ---- refused where the parts are built, or by the rehearsal

CROP = dict(type='RandomCrop', crop_size=(32, 32), cat_max_ratio=0.75)
SEGFORMER = dict(
    type='SegformerHead',
    in_channels=[12, 24, 48, 96],
    in_index=[0, 1, 2, 3],
    channels=16)
BETWEEN = dict(mode='slide', crop_size=32, stride=48)


@pytest.mark.parametrize(
    'changes, words',
    [
        ({
            FIRST + 'pipeline': [*LOAD, CROP, *FORMAT]
        }, ['data.train', 'RandomCrop', 'gt_semantic_seg']),
        ({
            FIRST + 'img_sufix': '.jpg'
        }, ["'img_suffix'?"]),
        # which mmseg's own dataset has
        ({
            FIRST + 'ann_dir': 'x'
        }, ["'ann_dirs'?"]),
        (dict(model__decode_head__head__in_channels=[12, 24, 48, 90]),
         ['in_channels']),
        (dict(model__decode_head__head=SEGFORMER),
         ['SegformerHead does not serve']),
        (dict(model__decode_head__loss_decode=dict(type='CrossEntropyLoss')),
         ['CrossEntropyLoss', 'BinaryLoss']),
        (dict(model__backbone=dict(type='NoBackbone')),
         ['NoBackbone', 'custom_imports']),
        (dict(model__decode_head__head__chanels=12), ["mean 'channels'?"]),
        (dict(optimizer__weight_decy=1), ["Did you mean 'weight_decay'?"]),
        (dict(model__test_cfg=BETWEEN), ['stride', 'left out']),
        (dict(optimizer_config__grad_clip=dict(max_norm='x')), ["'x'"]),
        (dict(lr_config__min_lr=(1, )), ['PolyLrUpdaterHook', "'tuple'"]),
        (dict(log_config__hooks=[dict(type='NeptuneLoggerHook')]),
         ['neptune', 'pip install']),
        (dict(load_from='https://a.b/c.pth'),
         ['load_from', 'https://a.b/c.pth', 'not found']),
        # expects a loader with a sampler of mmcv's
        (dict(custom_hooks=[dict(type='DistSamplerSeedHook')]),
         ['DistSamplerSeedHook fails as the config has it']),
    ])
def test_refused_before_anything_is_written(tmp_path, tool, changes, words):
    write_data(tmp_path / 'data', TWO)
    cfg = config_of(tmp_path / 'data', TWO, **changes)
    said = tool('train.py', write_config(tmp_path / 'wrong.py', cfg),
                '--work-dir', 'w')
    assert isinstance(said, str) and 'Error: ' in said
    for word in words:
        assert word in said, said
    if 'DistSampler' not in said:  # which only a run asks
        assert not (tmp_path / 'w').exists()


def test_windows_without_sizes_and_a_dataset_alone(tmp_path, tool):
    """As in prediction: windows of 512 pixels; a list or one dataset."""
    write_data(tmp_path / 'data', TWO)
    cfg = config_of(
        tmp_path / 'data',
        TWO,
        runner__max_iters=1,
        evaluation__interval=1,
        model__test_cfg=dict(mode='slide'))
    cfg['data']['train'] = cfg['data']['train']['datasets'][0]
    config = write_config(tmp_path / 'alone.py', cfg)
    said = tool('train.py', config, '--work-dir', 'alone.py/w')
    assert 'alone.py/w' in said and 'Errno' not in said
    assert tool('train.py', config, '--work-dir', 'w') is None
