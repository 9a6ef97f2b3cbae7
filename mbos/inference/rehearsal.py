"""The first image of a dataset, before the many.

A pipeline or a ``test_cfg`` that does not fit fails at the first image: with
a traceback of a worker process, in the midst of a run. Here it fails at once,
and in one sentence.
"""
from collections.abc import Iterable

import torch
from mmcv.parallel import collate
from torch import nn

from mbos.datasets import DataError
from mbos.datasets.random_state import seeded
from mbos.faults import (InvalidConfigError, blamed_on, first_line,
                         place_in_own_code)


def first_sample(dataset, where: str, draw: int = 0) -> dict:
    """The first sample of a dataset.

    Args:
        dataset (Dataset): With at least one image.
        where (str): Where the config has it, for errors.
        draw (int): Seeds what transforms draw. Default: 0.

    Raises:
        InvalidConfigError: If its pipeline fails, naming the transform.
    """
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


@torch.no_grad()
def predict_first(model: nn.Module,
                  datasets: Iterable,
                  where: str,
                  score: bool = False) -> None:
    """Predict the first image of each dataset that has its own pipeline.

    Args:
        model (nn.Module): The wrapped network; in evaluation mode afterwards.
        datasets (Iterable[Dataset]): In test mode.
        where (str): Where the config has them, for errors.
        score (bool): Whether to score it too. Default: False.

    Raises:
        InvalidConfigError: On the first step that fails.
    """
    model.eval()
    seen = set()
    for dataset in datasets:
        text = getattr(dataset, 'pipeline_text', id(dataset))
        if text in seen or not len(dataset):
            continue
        seen.add(text)
        sample = first_sample(dataset, where)
        with blamed_on(
                f'{where}: the first image of dataset {dataset.name!r} cannot '
                f'be predicted{" and scored" if score else ""} as the config '
                'has it', 'Correct its pipeline, or model.test_cfg.'):
            batch = collate([sample], samples_per_gpu=1)
            result = model(return_loss=False, **batch)[0]
            if score:
                dataset.pre_eval([result], [0])
