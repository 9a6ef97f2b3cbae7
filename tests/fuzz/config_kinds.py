"""Configs with one or two mistakes, given to every command that reads one.

Whatever is asked for is done, or refused in a sentence before the first
iteration; nothing ends with a traceback.
"""
import logging
import sys
import tempfile
from copy import deepcopy
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
from .damage import DAMAGE, mutate_nested, pick

TASKS = ('vessel', 'lesion')
NAME = 'fuzzed.py'
TYPES = '''ResNetV1c MixVisionTransformer UNet HRNet SwinTransformer BEiT
    UPerHead FCNHead PSPHead SegformerHead OCRHead PointHead SETRUPHead
    MultiTaskHead CrossEntropyLoss DiceLoss BinaryLoss CustomDataset
    ConcatDataset RepeatDataset JointDataset PartialLabelDataset DRIVEDataset
    LoadImageFromFile LoadAnnotations LoadPlanes Resize RandomCrop Pad CLAHE
    PhotoMetricDistortion Normalize DefaultFormatBundle Collect FormatPlanes
    MultiScaleFlipAug EncoderDecoder MultiTaskSegmentor AdversarialSegmentor
    EMAHook EMAWeightsHook GradientStepHook OptimizerHook CheckpointHook
    EvalHook TextLoggerHook EpochBasedRunner IterBasedRunner SGD LBFGS
    SparseAdam StepLrUpdaterHook BN SyncBN GN ReLU FPN NoSuchType'''.split()
KEYS = '''type mode interval policy in_channels pipeline samples_per_gpu
    by_epoch split init_cfg pretrained loss_weight classes ignore_index
    test_mode num_classes crop_size surplus'''.split()
MORE = dict(
    custom_hooks=[dict(type='EMAWeightsHook')], momentum_config=None, seed=0,
    custom_imports=dict(imports=['mbos'], allow_failed_imports=False),
    prediction=dict(crop='fov', thresholds=dict(vessel=0.4)), precision='bf16',
    workflow=[('train', 1)], log_level='INFO', accelerate=True,
    evaluation__interval=1, checkpoint_config__interval=1,
    log_config__interval=1)  # yapf: disable
"""dict: Keys that a config may have and the tiny one lacks."""
TRAIN = CheckedIterRunner.train


class Enough(BaseException):
    """The run has done two iterations, with all that follows them."""


def mutate_config(rng, cfg):
    """Make a mistake; returns words of which the refusal must have one."""
    top = pick(rng, sorted(key for key in cfg if key != '_base_'))
    if rng.random() < 0.1:
        cfg[pick(rng, (top + 's', top.upper(), *KEYS))] = cfg.pop(top)
        return [top]
    cfg[top], path = mutate_nested(rng, cfg[top], TYPES, KEYS)
    return [top, *(part for part in path if isinstance(part, str))]


@lru_cache(maxsize=None)
def _prepared(adversarial):
    """Folder with data, and a whole config; made once by each process."""
    folder = Path(tempfile.mkdtemp(prefix='fuzz_configs_'))
    write_data(folder / 'data', TASKS)
    cfg = config_of(folder / 'data', TASKS, adversarial, **MORE)
    loaded = load_config(write_config(folder / 'whole.py', cfg))
    network = build_checked(build_segmentor, loaded.model)
    content = dict(meta=checkpoint_meta(network, plain(loaded.model)),
                   state_dict=network.state_dict())  # yapf: disable
    torch.save(content, folder / 'whole.pth')
    return folder, cfg


def _command(module, arguments, config):
    """Run a command as from a shell, training for two iterations."""
    counted = []

    def train_step(runner, *args, **kwargs):
        counted.append(runner.iter)
        if len(counted) > 2:
            raise Enough
        return TRAIN(runner, *args, **kwargs)

    logging.getLogger('mmseg').handlers.clear()
    with mock.patch.object(sys, 'argv', ['mbos', *arguments]), \
            mock.patch('mbos.runtime.exits.run_tool', lambda run: run()), \
            mock.patch('mmcv.runner.iter_based_runner.time.sleep'), \
            mock.patch.object(CheckedIterRunner, 'train', train_step):
        try:
            status = module.main()
        except Enough:
            return
        except SystemExit as leaving:
            assert isinstance(leaving.code, str), f'left with {leaving.code!r}'
            raise ValueError(leaving.code) from leaving  # its sentence
        except (MemoryError, torch.OutOfMemoryError, FloatingPointError,
                DataError) as error:
            raise ValueError(f'{config}: {error}') from error  # as run_tool
        except EXPECTED_ERRORS as error:
            assert not counted, f'refused after the first iteration: {error}'
            raise
    assert not status, f'status {status}'


def _kind(module, adversarial, arguments):
    """Cases of a command; its arguments are a template."""

    def make(rng, folder):
        prepared, whole = _prepared(adversarial)
        cfg = deepcopy(whole)
        names = [NAME, str(prepared)]
        if DAMAGE['on']:
            for _ in range(1 if rng.random() < 0.8 else 2):
                names += mutate_config(rng, cfg)
        path = write_config(folder / NAME, cfg)
        stage1 = _prepared(False)[0] if module is pseudo_labels else ''
        given = arguments.format(
            prepared=prepared, folder=folder, stage1=stage1).split()
        return names, partial(_command, module, [path, *given], NAME)

    return make


KINDS = dict(
    config_train=_kind(train, False, '--work-dir {folder}/w'),
    config_train_stage2=_kind(train, True, '--work-dir {folder}/w'),
    config_test=_kind(
        test, False, '{prepared}/whole.pth --eval mIoU --bootstrap 0 '
        '--no-report --work-dir {folder}/w'),
    config_vis=_kind(test, True,
                     '{prepared}/whole.pth --vis --output_dir {folder}/v'),
    config_predict=_kind(
        predict, False, '{prepared}/whole.pth {prepared}/data/c0_test/images '
        '--out {folder}/o --workers 1 --no-gallery'),
    config_pseudo_labels=_kind(pseudo_labels, True,
                               '{stage1}/whole.pth --overwrite'))
