"""Activations that are computed again rather than kept."""
from typing import Callable

import torch
from torch import nn
from torch.utils.checkpoint import checkpoint


def maybe_recomputed(recompute: bool, function: Callable, *args):
    """Call a function, and if wanted keep no more of it than its arguments.

    What the backward pass needs is then computed again when it comes to it,
    with the same random numbers.

    Args:
        recompute (bool): Whether to.
        function (callable): What to call.
        *args: Its arguments.

    Returns:
        object: What it returns.
    """
    if recompute and torch.is_grad_enabled():
        return checkpoint(function, *args, use_reentrant=False)
    return function(*args)


def recompute_backbone(backbone: nn.Module) -> None:
    """Make a backbone keep little of a forward pass.

    Args:
        backbone (nn.Module): With an attribute ``recompute``, or with parts
            that have mmseg's ``with_cp``.

    Raises:
        ValueError: If it has neither.
    """
    if hasattr(backbone, 'recompute'):
        backbone.recompute = True
        return
    parts = [m for m in backbone.modules() if hasattr(m, 'with_cp')]
    if not parts:
        raise ValueError(
            f'{type(backbone).__name__} cannot recompute activations: set '
            'train_cfg.low_memory=False, or use LeanSwinTransformer.')
    for part in parts:
        part.with_cp = True
