"""CPU kernels behind one door: the same results in less time and memory.

``accelerate(model)`` exchanges the classes of a network's parts for subclasses
that compute the same; weights, their names and the config stay. The tools call
it on CPU unless the config says ``accelerate = False``.
"""
from collections.abc import Collection, Mapping

import torch
from mmcv.cnn.bricks.transformer import FFN
from mmseg.models.backbones.swin import WindowMSA
from mmseg.models.decode_heads import UPerHead
from torch import nn

from mbos.models.cross_task_attention import CrossTaskBlock
from mbos.runtime.allocator import keep_freed_memory
from . import decoder, transformer

ACCELERATORS: dict[str, dict[type, type]] = dict(
    attention={
        WindowMSA: transformer.CachedWindowMSA,
        CrossTaskBlock: transformer.CachedCrossTaskBlock
    },
    decoder={UPerHead: decoder.LateEnlargingUPerHead},
    feed_forward={FFN: transformer.CachedFFN})
"""dict[str, dict[type, type]]: By accelerator, the class that stands in for
each class of mmcv, mmseg or this library. It is a subclass without attributes
of its own, so that the class of a module can be exchanged in place."""


def accelerate(model: nn.Module,
               only: Collection[str] | None = None) -> nn.Module:
    """Let a network use the CPU better, with the same results: modules are
    changed in place; parts of other classes, subclasses included, stay as they
    are.
    """
    for name in ACCELERATORS if only is None else only:
        _exchange(model, ACCELERATORS[name])
    return model


def restore(model: nn.Module) -> nn.Module:
    """Undo :func:`accelerate`, in place."""
    for classes in ACCELERATORS.values():
        _exchange(model, {fast: plain for plain, fast in classes.items()})
    return model


def _exchange(model: nn.Module, classes: dict[type, type]) -> None:
    for module in model.modules():
        module.__class__ = classes.get(type(module), type(module))


def is_wanted(device: torch.device | str, cfg: Mapping | None = None) -> bool:
    """Whether a network is to be accelerated: on CPU, unless the config says
    ``accelerate = False``.
    """
    on_cpu = torch.device(device).type == 'cpu'
    return on_cpu and bool((cfg or {}).get('accelerate', True))


def accelerate_on_cpu(model: nn.Module,
                      device: torch.device | str,
                      cfg: Mapping | None = None) -> None:
    """Accelerate a network and its process where it :func:`is_wanted`."""
    if is_wanted(device, cfg):
        accelerate(model)
        keep_freed_memory()
