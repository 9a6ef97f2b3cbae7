"""Training and validation of the first images, before a run begins.

Pipelines, heads and test settings that do not fit each other fail at the
first image, or at the first validation, hours later. Here they fail at once,
and in one sentence.
"""
import torch
from mmcv.parallel import collate
from torch import nn

from mbos.datasets import DataError
from mbos.datasets.collate import collate_samples
from mbos.datasets.random_state import seeded
from mbos.faults import (InvalidConfigError, blamed_on, first_line,
                         place_in_own_code)

DRAWS = 3
"""int: Samples of an image, as transforms draw whether to do anything."""


def rehearse(model: nn.Module,
             train_set,
             items: int = 1,
             val_set=None) -> None:
    """Let the first image of each dataset go the way of all others.

    Weights, buffers and gradients are afterwards what they were.

    Raises:
        InvalidConfigError: On the first step that fails.
    """
    for dataset in train_set.datasets:
        for draw in range(DRAWS):
            _first_sample(dataset, 'data.train', draw)
    _train_once(model, train_set, items)
    seen = set()
    for dataset in getattr(val_set, 'datasets', ()):
        text = getattr(dataset, 'pipeline_text', id(dataset))
        if text not in seen:
            seen.add(text)
            _predict_once(model, dataset)
    model.train()


def _first_sample(dataset, where: str, draw: int = 0) -> dict:
    try:
        with seeded((draw, )):
            return dataset[0]
    except (DataError, OSError):
        raise
    except Exception as error:
        if place_in_own_code(error):
            raise
        raise InvalidConfigError(
            f'{where}: the pipeline of dataset {dataset.name!r} fails at '
            f'{_failing_transform(error)} ({first_line(error)}). Labels are '
            'planes of several tasks here, so transforms of mmseg that read '
            'or change gt_semantic_seg do not serve: take those of '
            'configs/_base_/datasets.') from error


def _failing_transform(error: BaseException) -> str:
    """Name of the transform that an error passed through last."""
    name, trace = 'its first step', error.__traceback__
    while trace is not None:
        transform = trace.tb_frame.f_locals.get('t')
        if trace.tb_frame.f_code.co_name == '__call__' and callable(transform):
            name = type(transform).__name__
        trace = trace.tb_next
    return name


def _train_once(model: nn.Module, train_set, items: int) -> None:
    with blamed_on(
            'data.train: the samples of its datasets do not make a batch',
            'Let each training pipeline end with FormatPlanes.'):
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


@torch.no_grad()
def _predict_once(model: nn.Module, dataset) -> None:
    batch = collate([_first_sample(dataset, 'data.val')], samples_per_gpu=1)
    model.eval()
    with blamed_on(
            f'data.val: the first image of dataset {dataset.name!r} cannot be '
            'predicted and scored as the config has it',
            'Correct its pipeline, or model.test_cfg.'):
        result = model(return_loss=False, **batch)[0]
        dataset.pre_eval([result], [0])
