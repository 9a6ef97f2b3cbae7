"""Training and validation of the first images, before a run begins.

Pipelines, heads, schedules and test settings that do not fit each other fail
here, in one sentence, rather than at the first validation, hours later.
"""
import torch
from mmcv.runner import BaseRunner, LrUpdaterHook
from mmcv.runner.hooks.momentum_updater import MomentumUpdaterHook
from torch import nn

from mbos.datasets.loader import collate_samples
from mbos.faults import blamed_on
from mbos.inference.test_sets import first_sample, predict_first

DRAWS = 3
"""int: Samples of an image, as transforms draw whether to do anything."""


def rehearse(runner: BaseRunner, train_set, items: int, val_set=None) -> None:
    """Let the first image of each dataset go the way of all others.

    Weights, buffers and gradients are afterwards what they were. ``items`` is
    how many items of the training data make a batch.

    Raises:
        InvalidConfigError: On the first step that fails.
    """
    for hook in runner.hooks:
        if isinstance(hook, (LrUpdaterHook, MomentumUpdaterHook)):
            with blamed_on(f'{type(hook).__name__} gives no value',
                           'Correct lr_config or momentum_config.'):
                hook.before_run(runner)
                hook.before_train_iter(runner)
    for dataset in train_set.datasets:
        for draw in range(DRAWS):
            first_sample(dataset, 'data.train', draw)
    _train_once(runner.model, train_set, items)
    sets = () if val_set is None else val_set.datasets
    predict_first(runner.model, sets, 'data.val', score=True)
    runner.model.train()


def _train_once(model: nn.Module, train_set, items: int) -> None:
    with blamed_on(
            'data.train: the samples of its datasets do not make a batch',
            'Let each training pipeline end with FormatPlanes.'):
        batch = collate_samples([train_set[i] for i in range(items)])
    buffers = {name: b.clone() for name, b in model.named_buffers()}
    model.train()
    with blamed_on(
            'The network cannot be trained on the first images as the config '
            'has it', 'Make backbone, heads and losses fit each other: '
            'in_channels, in_index, number of tasks, size of the images.'):
        model.train_step(batch, None, backward=torch.Tensor.backward)
    model.load_state_dict(buffers, strict=False)
    model.zero_grad(set_to_none=True)
