"""Checking that a checkpoint continues a run."""
from torch import nn

from mbos.core.optimizers import as_dict
from .checkpoint import fit_weights, read_checkpoint


def check_resumable(model: nn.Module, optimizer, path: str) -> None:
    """Check that a checkpoint continues a run of exactly this config.

    Args:
        model (nn.Module): The segmentor.
        optimizer (Optimizer | dict[str, Optimizer]): The run's.
        path (str): A checkpoint of ours.

    Raises:
        FileNotFoundError: If there is no such file.
        ValueError: If tasks, stage, weights or optimizers do not fit, or the
            checkpoint holds no training state.
    """
    content = read_checkpoint(path)
    if 'optimizer' not in content or 'iter' not in content['meta']:
        raise ValueError(
            f'{path} holds weights only, no optimizer and no iteration: use '
            'it with --load-from instead of --resume-from.')
    fit_weights(model, path, content)
    differing = sorted(set(model.state_dict()) ^ set(content['state_dict']))
    stage = content['meta'].get('mbos_stage')
    if differing or stage != model.stage:
        named = f' They differ in {", ".join(differing[:4])}.' if differing \
            else ''
        raise ValueError(
            f'{path} is of stage {stage!r}, the config is of stage '
            f'{model.stage!r}, and a run is continued with its own weights.'
            f'{named} Use the config it was trained with, or --load-from.')
    ours, theirs = sorted(as_dict(optimizer)), sorted(content['optimizer'])
    if ours != theirs:
        raise ValueError(
            f'{path} holds the optimizers {theirs}, the config has {ours}: '
            'use the config it was trained with, or --load-from.')
