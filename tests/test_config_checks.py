"""What a config asks for is done, or refused in one sentence before a run."""
import pytest

from mbos.config import load_config
from mbos.config_rules import check_training
from mbos.faults import InvalidConfigError
from tests.tiny_runs import TWO, config_of, write_config, write_data


@pytest.fixture(scope='module')
def data(tmp_path_factory):
    root = tmp_path_factory.mktemp('checked')
    write_data(root, TWO)
    return root


def checked(path, cfg):
    """What a check finds wrong with a config, or says of it."""
    try:
        cfg = load_config(write_config(path / 'checked.py', cfg))
        cfg.setdefault('seed', 0)
        return '\n'.join(check_training(cfg))
    except InvalidConfigError as error:
        return str(error)


@pytest.mark.parametrize('adversarial', [False, True])
def test_a_good_config_passes(tmp_path, data, adversarial):
    assert checked(tmp_path, config_of(data, TWO, adversarial)) == ''


@pytest.mark.parametrize('changes, words', [
    (dict(fp16=dict(loss_scale=512.), total_iters=3),
     ["precision='fp16'", 'runner.max_iters']),
    (dict(data__train_dataloader=dict(samples_per_gpu=3)),
     ['data.train_dataloader', 'data.samples_per_gpu']),
    (dict(data__val_dataloader={}), ['data.val_dataloader', 'one image']),
    (dict(data__samples_per_gpus=2), ['did you mean', "'samples_per_gpu'"]),
    (dict(data__samples_per_gpu=0), ['data.samples_per_gpu', '0']),
    (dict(workflow=[('train', 1), ('val', 1)]), ['workflow', 'evaluation']),
    (dict(runner=dict(type='EpochBasedRunner', max_epochs=3)),
     ['CheckedIterRunner', 'runner.max_epochs']),
    (dict(runner__max_iters='many'), ['runner.max_iters', "'many'"]),
    (dict(runner=dict(type='CheckedIterRunner')), ['runner.max_iters']),
    (dict(optimizer__type='LBFGS'), ['LBFGS', 'AdamW']),
    (dict(optimizer_config=dict(type='Fp16OptimizerHook', loss_scale=512.)),
     ['GradientStepHook', 'accumulate=N', "precision='fp16'"]),
    (dict(optimizer_config=[1]), ['optimizer_config', 'dict']),
    (dict(optimizer_config__grad_clip=1.0), ['grad_clip', 'max_norm']),
    (dict(lr_config__by_epoch=True), ['lr_config.by_epoch']),
    (dict(checkpoint_config__type='CheckpointHook'),
     ['SubfolderCheckpointHook']),
    (dict(checkpoint_config__filename_tmpl='a{}.pth'), ['filename_tmpl']),
    (dict(checkpoint_config__max_keep_ckpts='3'), ['max_keep_ckpts']),
    (dict(evaluation__intervall=3), ["'interval'"]),
    (dict(log_config=dict(interval=1, hooks=[dict(kind='x')])),
     ['log_config.hooks']),
    (dict(custom_hooks=[dict(type='OptimizerHook')]), ['optimizer_config']),
    (dict(custom_hooks=[dict(type='PolyLrUpdaterHook')]), ['lr_config']),
    (dict(model__test_cfg=dict(mode='whole', strid=3)), ["'stride'"]),
    (dict(model__train_cfg=dict(sampler=dict(type='OHEMPixelSampler'))),
     ['model.train_cfg.sampler']),
    (dict(seed=2**64), ['seed', '18446744073709551615']),
    (dict(compile='a.b'), ['compile', 'True or False']),
    (dict(precision='fp8'), ['precision', "'bf16'"]),
    (dict(load_from=5), ['load_from', '5']),
])  # yapf: disable
def test_refused(tmp_path, data, changes, words):
    found = checked(tmp_path, config_of(data, TWO, **changes))
    assert str(tmp_path / 'checked.py') in found
    for word in words:
        assert word in found, found


def test_mistyped_parts_are_named(tmp_path, data):
    cfg = config_of(data, TWO, gpu_ids=[0], optimiser=dict(type='SGD'))
    assert checked(tmp_path,
                   cfg) == "optimiser is not read: did you mean 'optimizer'?"


def test_types_that_may_be_left_out(tmp_path, data):
    cfg = config_of(data, TWO)
    for key in ('runner', 'optimizer_config', 'checkpoint_config'):
        cfg[key].pop('type')
    assert checked(tmp_path, cfg) == ''


# ---- refused where the parts are built, or by the rehearsal


def training_step(**step):
    """Change of the training pipelines that puts in a step of mmseg's."""

    def change(cfg):
        for member in cfg['data']['train']['datasets']:
            member['pipeline'] = [
                *member['pipeline'][:2], step, *member['pipeline'][2:]
            ]

    return change


def part(path, **changes):
    """Change of some keys of a part, whose old ones go without a type."""

    def change(cfg):
        holder, *names = cfg, *path.split('.')
        for name in names[:-1]:
            holder = holder[name]
        old = {} if 'type' in changes else holder[names[-1]]
        holder[names[-1]] = {**old, **changes}

    return change


HEAD, LOSS = 'model.decode_head.head', 'model.decode_head.loss_decode'
SEGFORMER = dict(
    type='SegformerHead',
    in_channels=[12, 24, 48, 96],
    in_index=[0, 1, 2, 3],
    channels=16)


@pytest.mark.parametrize('change, words', [
    (training_step(type='RandomCrop', crop_size=(32, 32), cat_max_ratio=0.75),
     ['data.train', 'RandomCrop', 'gt_semantic_seg']),
    (training_step(type='NoSuchTransform'), ['NoSuchTransform']),
    (part(HEAD, in_channels=[12, 24, 48, 90]), ['in_channels']),
    (part(HEAD, surplus=1), ['surplus']),
    (part(HEAD, **SEGFORMER), ['SegformerHead does not serve']),
    (part(LOSS, type='CrossEntropyLoss'), ['CrossEntropyLoss', 'BinaryLoss']),
    (lambda cfg: cfg['data'].pop('train'), ['data.train']),
    (part('model.backbone', type='NoBackbone'),
     ['NoBackbone', 'custom_imports']),
    (part('model.backbone', type='mmnone.ConvNeXt'), ['custom_imports']),
    (part('model', test_cfg=dict(mode='slide', crop_size=32, stride=48)),
     ['stride', 'larger']),
    (part('optimizer', type='AdamV'), ['AdamV']),
    (part('optimizer_config', grad_clip=dict(max_norm='x')), ["'x'"]),
    (part('lr_config', policy='polly'), ['Polly']),
    (part('lr_config', min_lr=(1, )), ['PolyLrUpdaterHook', 'lr_config']),
    (part('log_config', hooks=[dict(type='NeptuneLoggerHook')]),
     ['neptune', 'pip install']),
    (lambda cfg: cfg.update(load_from='https://a.b/c.pth'),
     ['load_from', 'https://a.b/c.pth', 'nothing is downloaded']),
    (lambda cfg: cfg.update(custom_hooks=[dict(type='NoSuchHook')]),
     ['NoSuchHook', 'custom_imports']),
])  # yapf: disable
def test_refused_before_anything_is_written(tmp_path, tool, data, change,
                                            words):
    cfg = config_of(data, TWO)
    change(cfg)
    config = write_config(tmp_path / 'wrong.py', cfg)
    said = tool('train.py', config, '--work-dir', 'w')
    assert isinstance(said, str) and 'Error: ' in said
    for word in words:
        assert word in said, said
    assert not (tmp_path / 'w').exists()


def test_hooks_of_libraries_fail_in_a_sentence(tmp_path, tool, data):
    """This one expects a loader with a sampler of mmcv's."""
    hooks = [dict(type='DistSamplerSeedHook')]
    config = write_config(tmp_path / 'a.py',
                          config_of(data, TWO, custom_hooks=hooks))
    said = tool('train.py', config, '--no-validate')
    assert 'DistSamplerSeedHook fails as the config has it' in said


def test_a_work_dir_that_cannot_be_made(tmp_path, tool, data):
    config = write_config(tmp_path / 'c.py', config_of(data, TWO))
    said = tool('train.py', config, '--work-dir', 'c.py/w')
    assert "the folder 'c.py/w' cannot be made" in said and 'Errno' not in said


def test_windows_without_sizes_and_a_dataset_alone(tmp_path, tool, data):
    """As in prediction: windows of 512 pixels; a list or one dataset."""
    cfg = config_of(
        data,
        TWO,
        model__test_cfg=dict(mode='slide'),
        runner__max_iters=1,
        evaluation__interval=1)
    cfg['data']['train'] = cfg['data']['train']['datasets'][0]
    config = write_config(tmp_path / 'alone.py', cfg)
    assert tool('train.py', config, '--work-dir', 'w') is None
