"""Configs with one or two mistakes, given to every command that reads one.

Whatever is asked for is done, or refused in a sentence before the first
iteration; nothing ends with a traceback.
"""
import copy
import logging
import sys
from functools import lru_cache, partial
from pathlib import Path
from unittest import mock

import torch
from mmseg.models import build_segmentor

from mbos.apis import EXPECTED_ERRORS
from mbos.checkpoints.loading import checkpoint_meta
from mbos.commands import predict, pseudo_labels, test, train
from mbos.config import build_checked, load_config, plain
from mbos.datasets import DataError
from mbos.engine.runner import CheckedIterRunner
from tests.tiny_runs import config_of, write_config, write_data
from .mutations import DAMAGE

TASKS = ('vessel', 'lesion')
LONGER = 6.0
"""float: How many times as long as a file a config may take."""
NAME = 'fuzzed.py'
ODD = (None, True, False, 0, 1, -1, 2, 3, 0.5, -0.5, 1e9, 10**30, 1e308,
       float('nan'), float('inf'), '', 'x', 'whole', 'auto', 'fov', [], {}, (),
       [[]], [None
              ], [0], [1, 2, 3], (3, ), (64, 64), [64, 64], 'a.b', '../..', {
                  'a': 1
              }, {
                  'type': 'x'
              }, {
                  'type': None
              }, [{}], [dict(type='x')], b'x', range(3), 'dict(type=1)')
TYPES = ('ResNetV1c', 'ResNet', 'MixVisionTransformer', 'UNet', 'HRNet',
         'SwinTransformer', 'BEiT', 'VisionTransformer', 'MobileNetV2',
         'UPerHead', 'FCNHead', 'PSPHead', 'ASPPHead', 'SegformerHead',
         'DAHead', 'OCRHead', 'PointHead', 'EncHead', 'SETRUPHead',
         'MultiTaskHead', 'CrossEntropyLoss', 'DiceLoss', 'FocalLoss',
         'BinaryLoss', 'CustomDataset', 'ConcatDataset', 'RepeatDataset',
         'JointDataset', 'EvaluationSets', 'PartialLabelDataset',
         'DRIVEDataset', 'LoadImageFromFile', 'LoadAnnotations', 'LoadPlanes',
         'Resize', 'RandomCrop', 'RandomFlip', 'Pad', 'PhotoMetricDistortion',
         'RandomRotate', 'CLAHE', 'Normalize', 'DefaultFormatBundle',
         'Collect', 'FormatPlanes', 'MultiScaleFlipAug', 'ImageToTensor',
         'EncoderDecoder', 'CascadeEncoderDecoder', 'MultiTaskSegmentor',
         'AdversarialSegmentor', 'EMAHook', 'EMAWeightsHook',
         'GradientStepHook', 'OptimizerHook', 'CheckpointHook', 'EvalHook',
         'SubfolderCheckpointHook', 'TensorboardLoggerHook', 'TextLoggerHook',
         'EpochBasedRunner', 'IterBasedRunner', 'SGD', 'Adam', 'LBFGS',
         'SparseAdam', 'Adadelta', 'StepLrUpdaterHook', 'BN', 'SyncBN', 'GN',
         'LN', 'IN', 'ReLU', 'GELU', 'FPN', 'NoSuchType')
WORDS = ('type', 'mode', 'interval', 'policy', 'in_channels', 'pipeline',
         'samples_per_gpu', 'by_epoch', 'split', 'init_cfg', 'pretrained',
         'loss_weight', 'classes', 'ignore_index', 'test_mode', 'num_classes',
         'crop_size', 'surplus')
TOP = dict(
    custom_hooks=[dict(type='EMAWeightsHook')],
    custom_imports=dict(imports=['mbos'], allow_failed_imports=False),
    momentum_config=dict(policy='cyclic'),
    prediction=dict(crop='fov', thresholds=dict(vessel=0.4)),
    precision='bf16',
    seed=0,
    tf32=True,
    aug_test=dict(scales=[1.0], flip=True),
    workflow=[('train', 1)],
    log_level='INFO',
    load_from=None,
    auto_resume=False,
    accelerate=True,
    cudnn_benchmark=False)
"""dict: Keys that a config may have at its top and the tiny one lacks."""


class Enough(BaseException):
    """The run has done two iterations, with all that follows them."""


def nodes(value, path=()):
    """Paths of all values below, and of the value itself."""
    yield path
    items = value.items() if isinstance(
        value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, one in items:
        yield from nodes(one, (*path, key))


def at(value, path):
    for key in path:
        value = value[key]
    return value


def changeable(value):
    """A copy that shares nothing with the original."""
    if isinstance(value, dict):
        return {key: changeable(one) for key, one in value.items()}
    if isinstance(value, (list, tuple)):
        return type(value)(changeable(one) for one in value)
    return value


def pick(rng, choices):
    return choices[int(rng.integers(len(choices)))]


def _other(rng, value):
    """Something like a value, or unlike it."""
    if isinstance(value, bool) or rng.random() < 0.4:
        return copy.deepcopy(pick(rng, ODD))
    if isinstance(value, (int, float)):
        return pick(rng, (-value, value * 3, value + 1, float(value),
                          str(value), [value], value * 0.5, (value, value)))
    if isinstance(value, str):
        return pick(rng, (value + 's', value[:-1], value.upper(), [value],
                          dict(type=value), value[::-1]))
    if isinstance(value, list):
        return pick(
            rng,
            (value[:-1], value + value[-1:], value[::-1],
             value[0] if value else None, [value], tuple(value), value * 2))
    if isinstance(value, tuple):
        return pick(rng, (value[:-1], value * 2, list(value), value[:1], 0,
                          tuple(-one if isinstance(one, (int, float)) else one
                                for one in value), [value], [list(value)]))
    return copy.deepcopy(pick(rng, ODD))


def mutate_config(rng, cfg):
    """Make a mistake in a config.

    Returns:
        list[str]: Words of which the refusal must have one.
    """
    top = pick(rng, sorted(k for k in cfg if k != '_base_'))
    path = (top, *pick(rng, list(nodes(cfg[top]))))
    *before, key = path
    holder = at(cfg, before)
    choice = rng.random()
    if key == 'type' and choice < 0.6:
        holder[key] = pick(rng, TYPES)
    elif choice < 0.15:
        del holder[key]
    elif choice < 0.25 and isinstance(key, str):
        holder[pick(rng, (key + 's', key[1:], key.upper()))] = holder.pop(key)
    elif choice < 0.4 and isinstance(holder, dict):
        key = pick(rng, WORDS)
        holder[key] = copy.deepcopy(pick(rng, ODD))
    else:
        holder[key] = _other(rng, holder[key])
    return [str(part) for part in path if isinstance(part, str)]


@lru_cache(maxsize=None)
def _prepared(adversarial):
    """Folder with data, and a whole config; made once by each process."""
    import tempfile
    folder = Path(tempfile.mkdtemp(prefix='fuzz_configs_'))
    write_data(folder / 'data', TASKS)
    cfg = config_of(folder / 'data', TASKS, adversarial)
    cfg['evaluation']['interval'] = 1
    cfg['checkpoint_config']['interval'] = 1
    cfg['log_config']['interval'] = 1
    path = write_config(folder / 'whole.py', cfg)
    loaded = load_config(path)
    network = build_checked(build_segmentor, loaded.model)
    torch.save(
        dict(
            meta=checkpoint_meta(network, plain(loaded.model)),
            state_dict=network.state_dict()), folder / 'whole.pth')
    return folder, cfg


def _steps(counted):
    """The runner's step, counted and ended after the second."""

    def train_step(self, *args, **kwargs):
        counted.append(self.iter)
        if len(counted) > 2:
            raise Enough
        return TRAIN(self, *args, **kwargs)

    return train_step


TRAIN = CheckedIterRunner.train


def _command(module, arguments, config):
    """Run a command as from a shell."""
    counted = []
    logging.getLogger('mmseg').handlers.clear()
    argv = ['mbos', *map(str, arguments)]
    with mock.patch.object(sys, 'argv', argv), \
            mock.patch('mbos.runtime.exits.run_tool', lambda run: run()), \
            mock.patch('mmcv.runner.iter_based_runner.time.sleep'), \
            mock.patch.object(CheckedIterRunner, 'train', _steps(counted)):
        try:
            status = module.main()
        except Enough:
            return
        except (MemoryError, torch.OutOfMemoryError) as error:
            raise ValueError(f'{config}: {error}') from error  # as run_tool
        except SystemExit as leaving:
            if isinstance(leaving.code, str):  # its sentence
                raise ValueError(leaving.code) from leaving
            raise AssertionError(f'left with {leaving.code!r}') from leaving
        except (FloatingPointError, DataError) as error:
            raise ValueError(f'{config}: {error}') from error
        except EXPECTED_ERRORS as error:
            assert not counted, f'refused after the first iteration: {error}'
            raise
    assert not status, f'status {status}'


def _kind(make_arguments, module, adversarial=False):

    def make(rng, folder):
        prepared, whole = _prepared(adversarial)
        cfg = changeable(whole)
        names = [NAME, str(prepared)]
        if DAMAGE['on']:
            for key in [k for k in TOP if rng.random() < 0.2]:
                cfg[key] = copy.deepcopy(TOP[key])
            for _ in range(1 if rng.random() < 0.8 else 2):
                names += mutate_config(rng, cfg)
        path = write_config(folder / NAME, cfg)
        arguments = make_arguments(path, prepared, folder)
        return names, partial(_command, module, arguments, NAME)

    return make


KINDS = dict(
    config_train=_kind(
        lambda path, prepared, folder: (path, '--work-dir', folder / 'w'),
        train),
    config_train_stage2=_kind(
        lambda path, prepared, folder: (path, '--work-dir', folder / 'w'),
        train, True),
    config_test=_kind(
        lambda path, prepared, folder:
        (path, prepared / 'whole.pth', '--eval', 'mIoU', '--bootstrap', 0,
         '--no-report', '--work-dir', folder / 'w'), test),
    config_vis=_kind(
        lambda path, prepared, folder:
        (path, prepared / 'whole.pth', '--vis', '--output_dir', folder / 'v'),
        test, True),
    config_predict=_kind(
        lambda path, prepared, folder:
        (path, prepared / 'whole.pth', prepared / 'data/c0_test/images',
         '--out', folder / 'o', '--workers', 1, '--no-gallery'), predict),
    config_pseudo_labels=_kind(
        lambda path, prepared, folder:
        (path, _stage1(prepared), '--overwrite'), pseudo_labels, True))


def _stage1(prepared):
    return _prepared(False)[0] / 'whole.pth'
