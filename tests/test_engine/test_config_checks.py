"""What a config asks for is done, or refused in one sentence before a run."""
import logging
from pathlib import Path

import pytest

from mbos.config import load_config
from mbos.engine.config_checks import check_training, complete_training
from mbos.faults import InvalidConfigError
from tests.tiny_runs import config_of, write_config, write_data

TWO = ('vessel', 'lesion')
EMA = dict(type='EMAHook')


@pytest.fixture(scope='module')
def data(tmp_path_factory):
    root = tmp_path_factory.mktemp('checked')
    write_data(root, TWO)
    return root


def checked(path, cfg, **options):
    """Problems of a config, '' if there are none."""
    try:
        cfg = load_config(write_config(path / 'checked.py', cfg), options)
        complete_training(cfg)
        cfg.setdefault('seed', 0)
        check_training(cfg, logging.getLogger('test'))
    except InvalidConfigError as error:
        return str(error)
    return ''


@pytest.mark.parametrize('adversarial', [False, True])
def test_a_good_config_passes(tmp_path, data, adversarial):
    assert checked(tmp_path, config_of(data, TWO, adversarial)) == ''


@pytest.mark.parametrize('changes, words', [
    (dict(fp16=dict(loss_scale=512.)), ["precision='fp16'"]),
    (dict(total_iters=10), ['total_iters', 'runner.max_iters']),
    (dict(data__train_dataloader=dict(samples_per_gpu=3)),
     ['data.train_dataloader', 'data.samples_per_gpu']),
    (dict(data__val_dataloader={}), ['data.val_dataloader', 'one image']),
    (dict(data__samples_per_gpus=2), ['did you mean', "'samples_per_gpu'"]),
    (dict(data__samples_per_gpu=0), ['data.samples_per_gpu', '0']),
    (dict(workflow=[('train', 1), ('val', 1)]), ['workflow', 'evaluation']),
    (dict(runner=dict(type='EpochBasedRunner', max_epochs=3)),
     ['CheckedIterRunner', 'runner.max_epochs']),
    (dict(runner__type='IterBasedRunner'), ['CheckedIterRunner']),
    (dict(runner__max_iters='many'), ['runner.max_iters', "'many'"]),
    (dict(optimizer=dict(lr=1e-3)), ['optimizer', 'type']),
    (dict(optimizer=dict(generator=dict(type='AdamW', lr=1e-3))),
     ['NamedOptimizersConstructor']),
    (dict(optimizer__type='AdamV'), ['AdamV', 'did you mean']),
    (dict(optimizer__paramwise_cfg=dict(norm_decay=0)), ['norm_decay_mult']),
    (dict(optimizer__paramwise_cfg=dict(custom_keys=dict(norm=dict(decay=0)))),
     ['decay_mult']),
    (dict(
        optimizer_config=dict(
            type='GradientCumulativeOptimizerHook', cumulative_iters=4)),
     ['GradientStepHook', 'accumulate=4']),
    (dict(optimizer_config=dict(type='Fp16OptimizerHook', loss_scale=512.)),
     ['GradientStepHook', "precision='fp16'"]),
    (dict(optimizer_config=[1]), ['optimizer_config', 'dict']),
    (dict(lr_config=dict(policy='polly')), ['polly', 'poly']),
    (dict(lr_config__by_epoch=True), ['lr_config.by_epoch']),
    (dict(checkpoint_config__type='CheckpointHook'),
     ['SubfolderCheckpointHook']),
    (dict(checkpoint_config__filename_tmpl='a{}.pth'), ['filename_tmpl']),
    (dict(evaluation__metric='mAP'), ['mAP', 'mIoU']),
    (dict(evaluation__intervall=3), ["'interval'"]),
    (dict(log_config=dict(interval=1, hooks=[dict(kind='x')])),
     ['log_config.hooks']),
    (dict(custom_hooks=[dict(type='OptimizerHook')]), ['optimizer_config']),
    (dict(model__test_cfg=dict(mode='whole', strid=3)), ["'stride'"]),
    (dict(seed=-1), ['seed', '-1']),
    (dict(seed=2**64), ['seed', '18446744073709551615']),
    (dict(data__workers_per_gpu=10**6), ['data.workers_per_gpu', '1000000']),
    (dict(data__test_workers=10**6), ['data.test_workers', '1000000']),
    (dict(optimizer__type='LBFGS'), ['LBFGS', 'AdamW']),
    (dict(optimizer__type='SparseAdam'), ['SparseAdam']),
    (dict(compile='a.b'), ['compile', 'True or False']),
    (dict(cudnn_benchmark=[1]), ['cudnn_benchmark']),
    (dict(precision='fp8'), ['precision', "'bf16'"]),
    (dict(load_from=5), ['load_from', '5']),
    (dict(checkpoint_config__max_keep_ckpts='3'), ['max_keep_ckpts']),
    (dict(checkpoint_config__save_last='x'), ['save_last']),
    (dict(checkpoint_config__meta=5), ['checkpoint_config.meta']),
    (dict(checkpoint_config__subfolder=[]), ['subfolder']),
    (dict(evaluation__tmpdir=3), ['evaluation.tmpdir']),
    (dict(custom_hooks=[EMA, dict(type='EMAWeightsHook')]), ['keep one']),
    (dict(custom_hooks=[dict(type='PolyLrUpdaterHook')]), ['lr_config']),
    (dict(model__train_cfg=dict(sampler=dict(type='OHEMPixelSampler'))),
     ['model.train_cfg.sampler']),
])
def test_refused(tmp_path, data, changes, words):
    cfg = config_of(data, TWO, **changes)
    found = checked(tmp_path, cfg)
    assert found, 'nothing was said'
    assert str(tmp_path / 'checked.py') in found
    for word in words:
        assert word in found, found


def test_all_is_said_at_once(tmp_path, data):
    found = checked(
        tmp_path,
        config_of(
            data,
            TWO,
            fp16=dict(loss_scale=512.),
            data__train_dataloader={},
            total_iters=3))
    assert '3 things' in found
    assert all(k in found for k in ('fp16', 'train_dataloader', 'total_iters'))


def test_what_may_stay_is_named(tmp_path, data, caplog):
    cfg = config_of(data, TWO, find_unused_parameters=True,
                    optimiser=dict(type='SGD'))  # yapf: disable
    with caplog.at_level('WARNING'):
        assert checked(tmp_path, cfg) == ''
    assert 'find_unused_parameters is not read' in caplog.text
    assert 'did you mean optimizer' in caplog.text


def test_types_that_may_be_left_out(tmp_path, data):
    cfg = config_of(data, TWO)
    for key in ('runner', 'optimizer_config', 'checkpoint_config'):
        cfg[key].pop('type')
    assert checked(tmp_path, cfg) == ''


# ---- refused where the parts are built, or by the rehearsal


def pipeline_with(step):
    """Change of the training pipelines that puts in a step of mmseg's."""

    def change(cfg):
        for member in cfg['data']['train']['datasets']:
            member['pipeline'].insert(2, step)

    return change


def head(**changes):

    def change(cfg):
        cfg['model']['decode_head']['head'].update(changes)

    return change


def heads_of_segformer(cfg):
    cfg['model']['decode_head']['head'] = dict(
        type='SegformerHead', in_channels=[12, 24, 48, 96],
        in_index=[0, 1, 2, 3], channels=16)  # yapf: disable


@pytest.mark.parametrize('change, words', [
    (pipeline_with(
        dict(type='RandomCrop', crop_size=(32, 32), cat_max_ratio=0.75)),
     ['data.train', 'RandomCrop', 'gt_semantic_seg']),
    (pipeline_with(dict(type='LoadAnnotations')), ['LoadAnnotations']),
    (pipeline_with(dict(type='NoSuchTransform')), ['NoSuchTransform']),
    (head(in_channels=[12, 24, 48, 90]), ['in_channels']),
    (head(surplus=1), ['surplus']),
    (heads_of_segformer, ['SegformerHead']),
    (lambda cfg: cfg['data'].pop('train'), ['data.train']),
    (lambda cfg: cfg['model']['backbone'].update(type='NoBackbone'),
     ['NoBackbone', 'custom_imports']),
    (lambda cfg: cfg['model'].update(
        test_cfg=dict(mode='slide', crop_size=32, stride=48)),
     ['stride', 'larger']),
    (lambda cfg: cfg['data']['val'][0]['pipeline'].insert(
        1, dict(type='LoadAnnotations')), ['data.val', 'LoadAnnotations']),
    (lambda cfg: cfg['data'].update(samples_per_gpu=10**9),
     ['data.samples_per_gpu is 1000000000', 'GB']),
    (lambda cfg: cfg.update(load_from='https://a.b/c.pth'),
     ['load_from is the address', 'download']),
    (lambda cfg: cfg['log_config'].update(
        hooks=[dict(type='NeptuneLoggerHook')]), ['neptune', 'pip install']),
    (lambda cfg: cfg.update(custom_hooks=[dict(type='NoSuchHook')]),
     ['NoSuchHook', 'custom_imports']),
    (lambda cfg: cfg['optimizer_config'].update(grad_clip=1.0),
     ['grad_clip is 1.0', 'dict(max_norm=']),
])
def test_refused_before_anything_is_written(tmp_path, tool, data, change,
                                            words):
    cfg = config_of(data, TWO)
    for member in cfg['data']['train']['datasets']:
        member['pipeline'] = list(member['pipeline'])
    cfg['data']['val'] = [
        dict(one, pipeline=list(one['pipeline'])) for one in cfg['data']['val']
    ]
    change(cfg)
    config = write_config(tmp_path / 'wrong.py', cfg)
    said = tool('train.py', config, '--work-dir', 'w')
    assert isinstance(said, str) and 'Error: ' in said
    for word in words:
        assert word in said, said
    assert not (tmp_path / 'w').exists()


def test_a_work_dir_that_cannot_be_made(tmp_path, tool, data):
    config = write_config(tmp_path / 'c.py', config_of(data, TWO))
    said = tool('train.py', config, '--work-dir', 'c.py/w')
    assert "the folder 'c.py/w' cannot be made" in said and 'Errno' not in said


def test_windows_without_sizes_and_a_dataset_alone(tmp_path, tool, data):
    """As in prediction: windows of 512 pixels; a list or one dataset."""
    cfg = config_of(data, TWO, model__test_cfg=dict(mode='slide'))
    cfg['data']['train'] = cfg['data']['train']['datasets'][0]
    cfg['runner']['max_iters'] = 1
    cfg['evaluation']['interval'] = 1
    config = write_config(tmp_path / 'alone.py', cfg)
    assert tool('train.py', config, '--work-dir', 'w') is None


def test_values_of_numpy_and_paths_are_plain_ones(tmp_path, data):
    path = Path(write_config(tmp_path / 'plain.py', config_of(data, TWO)))
    path.write_text('import numpy as np\nimport torch\n'
                    f'from pathlib import Path\n{path.read_text()}'
                    "optimizer['lr'] = np.float32(0.5)\n"
                    'data_root = Path(data_root)\n'
                    "model['extra'] = np.zeros(2)\n")
    cfg = load_config(str(path))
    assert type(cfg.optimizer.lr) is float and cfg.model.extra == [0., 0.]
    assert isinstance(cfg.data_root, str) and 'Path' not in cfg
    path.write_text(f'{path.read_text()}'
                    "model['backbone']['type'] = torch.nn.GELU\n")
    with pytest.raises(InvalidConfigError, match='model.backbone.type'):
        load_config(str(path))


@pytest.mark.parametrize('text, word', [
    ('model = dict(', 'syntax'),
    ('model = undefined', 'undefined'),
    ("_base_ = ['gone.py']", 'gone.py'),
    ("custom_imports = dict(imports=['no_such_module'])", 'PYTHONPATH'),
])
def test_files_that_are_no_configs(tmp_path, text, word):
    (tmp_path / 'bad.py').write_text(text)
    with pytest.raises(InvalidConfigError) as caught:
        load_config(str(tmp_path / 'bad.py'))
    assert word in str(caught.value) and 'bad.py' in str(caught.value)


@pytest.mark.parametrize('option', ['runner.max_iters', '=3'])
def test_options_without_a_value_are_wrong_usage(tool, option, tmp_path,
                                                 capsys):
    assert tool('train.py', 'c.py', '--cfg-options', option) == 2
    assert 'KEY=VALUE' in capsys.readouterr().err
