"""Gradients of weights that are added up where they will be read."""
import threading
from contextlib import contextmanager
from typing import Iterator, Optional

import torch
from torch import Tensor

_state = threading.local()


@contextmanager
def gathering() -> Iterator[None]:
    """Let layers add their weights' gradients to ``.grad`` themselves.

    For ``loss.backward()`` of a loss whose gradients are to be added to what
    is there. A matrix product can add to its result as it goes, which spares
    writing and reading each gradient once more. Hooks of parameters are not
    called then.
    """
    before = getattr(_state, 'on', False)
    _state.on = True
    try:
        yield
    finally:
        _state.on = before


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
    there = weight.grad if weight.is_leaf else None
    if getattr(_state, 'on', False) and there is not None:
        there.addmm_(grad.t(), x)
        return None
    return torch.mm(grad.t(), x)
