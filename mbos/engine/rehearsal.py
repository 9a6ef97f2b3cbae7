"""Training and validation of the first images, before a run begins.

Pipelines, heads and test settings that do not fit each other fail at the
first image, or at the first validation, hours later. Here they fail at once,
and in one sentence.
"""
import copy
import os
from types import SimpleNamespace

import torch
from mmcv.parallel import DataContainer
from mmcv.runner import BaseRunner
from mmcv.runner.hooks import LrUpdaterHook
from mmcv.runner.hooks.momentum_updater import MomentumUpdaterHook
from torch import nn

from mbos.datasets.loader import collate_samples
from mbos.faults import InvalidConfigError, blamed_on
from mbos.inference.test_sets import first_sample, predict_first

DRAWS = 3
"""int: Samples of an image, as transforms draw whether to do anything."""


def rehearse(model: nn.Module,
             train_set,
             items: int = 1,
             val_set=None) -> None:
    """Let the first image of each dataset go the way of all others.

    Weights, buffers and gradients are afterwards what they were. ``items`` is
    how many items of the training data make a batch.

    Raises:
        InvalidConfigError: On the first step that fails.
    """
    for dataset in train_set.datasets:
        for draw in range(DRAWS):
            first_sample(dataset, 'data.train', draw)
    _train_once(model, train_set, items)
    predict_first(
        model, getattr(val_set, 'datasets', ()), 'data.val', score=True)
    model.train()


def rehearse_schedules(runner: BaseRunner) -> None:
    """Ask the schedules for values at the start, within and at the end.

    Raises:
        InvalidConfigError: If one gives none.
    """
    last = runner.max_iters - 1
    for hook in runner.hooks:
        if not isinstance(hook, (LrUpdaterHook, MomentumUpdaterHook)):
            continue
        weights = [nn.Parameter(torch.zeros(1))]
        stand_in = SimpleNamespace(
            optimizer=torch.optim.SGD(weights, lr=0.1, momentum=0.9),
            epoch=0,
            max_epochs=1,
            max_iters=runner.max_iters,
            data_loader=range(runner.max_iters))
        schedule = copy.deepcopy(hook)
        with blamed_on(
                f'{type(hook).__name__} gives no value as the config has it',
                'Correct lr_config or momentum_config.'):
            schedule.before_run(stand_in)
            for stand_in.iter in sorted({0, min(1, last), last // 2, last}):
                schedule.before_train_iter(stand_in)


def _check_memory(sample: object, items: int) -> None:
    """Refuse batches that no memory of this machine holds.

    Raises:
        InvalidConfigError: If they are larger than all of it.
    """
    if not hasattr(os, 'sysconf'):
        return  # the system does not say how much it has
    memory = os.sysconf('SC_PAGE_SIZE') * os.sysconf('SC_PHYS_PAGES')
    size = items * _bytes_of(sample)
    if size > memory:
        raise InvalidConfigError(
            f'data.samples_per_gpu is {items}: the images of a step would '
            f'take {size / 1e9:.0f} GB, this machine has '
            f'{memory / 1e9:.0f} GB. Lower it.')


def _bytes_of(sample: object) -> int:
    if isinstance(sample, DataContainer):
        return _bytes_of(sample.data)
    if isinstance(sample, dict):
        return sum(map(_bytes_of, sample.values()))
    if isinstance(sample, (list, tuple)):
        return sum(map(_bytes_of, sample))
    return sample.nbytes if hasattr(sample, 'nbytes') else 0


def _train_once(model: nn.Module, train_set, items: int) -> None:
    with blamed_on(
            'data.train: the samples of its datasets do not make a batch',
            'Let each training pipeline end with FormatPlanes.'):
        _check_memory(train_set[0], items)
        batch = collate_samples([train_set[i] for i in range(items)])
    buffers = [(b, b.clone()) for b in model.buffers()]
    model.train()
    with blamed_on(
            'The network cannot be trained on the first images as the config '
            'has it', 'Make backbone, heads and losses fit each other: '
            'in_channels, in_index, number of tasks, size of the images.'):
        model.train_step(batch, None, backward=lambda loss: loss.backward())
    with torch.no_grad():
        for buffer, before in buffers:
            buffer.copy_(before)
    for parameter in model.parameters():
        parameter.grad = None
