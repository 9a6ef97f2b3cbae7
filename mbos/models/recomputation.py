"""Activations that are computed again rather than kept."""
from collections.abc import Callable
from types import MethodType

import torch
from torch import nn
from torch.utils.checkpoint import checkpoint


def maybe_recomputed(recompute: bool, function: Callable, *args):
    """Call a function, and if wanted keep no more of it than its arguments:
    the backward pass computes it again, with the same random numbers.
    """
    if recompute and torch.is_grad_enabled():
        return checkpoint(function, *args, use_reentrant=False)
    return function(*args)


def recompute_backbone(backbone: nn.Module) -> None:
    """Make a backbone keep little of a forward pass.

    It has a method ``recompute_activations``, or parts with mmseg's setting
    ``with_cp``. These are checkpointed from outside: mmseg's own way warns,
    and does not allow gradients of chosen inputs.
    """
    if hasattr(backbone, 'recompute_activations'):
        backbone.recompute_activations()
        return
    # a backbone such as mmseg's ResNet hands the setting on to its parts
    parts = [
        module for module in backbone.modules()
        if hasattr(module, 'with_cp') and not any(
            hasattr(m, 'with_cp') for m in list(module.modules())[1:])
    ]
    if not parts:
        raise ValueError(
            f'{type(backbone).__name__} cannot recompute activations: set '
            'train_cfg.low_memory=False, or use SwinTransformer.')
    for part in parts:
        part.forward = MethodType(_recomputed, part)


def _recomputed(module: nn.Module, *args):
    # the class is looked up late: mbos.accelerate may have exchanged it
    return maybe_recomputed(True, type(module).forward.__get__(module), *args)
