"""Gradients of weights that are added up where they will be read."""
import threading
from contextlib import contextmanager
from typing import Iterator, Optional

import torch
from torch import Tensor

_state = threading.local()


@contextmanager
def gathering(wanted: bool = True) -> Iterator[None]:
    """Let layers add their weights' gradients to ``.grad`` themselves.

    For the passes of a loss whose gradients are to be added, as they are, to
    what is there. A matrix product can add to its result as it goes, which
    spares writing and reading each gradient once more, and gradients that are
    known early need not wait. Hooks of parameters are not called then.

    Args:
        wanted (bool): Whether to. Default: True.
    """
    before = is_gathering()
    _state.on = wanted
    try:
        yield
    finally:
        _state.on = before


def is_gathering() -> bool:
    """Whether this thread is within :func:`gathering`."""
    return getattr(_state, 'on', False)


def weight_gradient(weight: Tensor, grad: Tensor,
                    x: Tensor) -> Optional[Tensor]:
    """Gradient of a linear layer's weight.

    Args:
        weight (Tensor): Shape (C_out, C_in).
        grad (Tensor): Gradient of the outputs, (n, C_out).
        x (Tensor): The inputs, (n, C_in).

    Returns:
        Tensor | None: Shape (C_out, C_in); None if it was added to
        ``weight.grad`` already, see :func:`gathering`.
    """
    if not (is_gathering() and weight.is_leaf):
        return torch.mm(grad.t(), x)
    if weight.grad is None:
        weight.grad = torch.mm(grad.t(), x)
    else:
        weight.grad.addmm_(grad.t(), x)
    return None


def add_gradient(weight: Tensor, grad: Tensor) -> None:
    """Add to ``weight.grad``, which is laid out in memory as the weight.

    Args:
        weight (Tensor): A leaf.
        grad (Tensor): Of its shape.
    """
    if weight.grad is not None:
        weight.grad.add_(grad)
    elif grad.stride() == weight.stride():
        weight.grad = grad
    else:
        weight.grad = torch.empty_like(weight).copy_(grad)
