"""What a checkpoint may hold, so that it can be read without running code.

Checkpoints are loaded weights-only (docs/reliability.md). Hooks of the user's
may put anything into ``runner.meta`` or into their state: what has a plain
equal is replaced by it, the rest is left out, and named.
"""
import os
from collections.abc import Mapping
from typing import Any

import numpy as np
import torch

_PLAIN = (bool, int, float, complex, str, bytes, bytearray, torch.Size,
          torch.dtype, torch.device, type(None))


def storable(value: object, where: str, left_out: dict[str, str]) -> Any:
    """Replace what weights-only loading refuses.

    Numbers and arrays of NumPy, paths and other containers become plain ones.
    What has no plain equal becomes None; ``left_out`` gets its type, by its
    place, which begins with ``where``.
    """
    if type(value) in _PLAIN or isinstance(value, torch.Tensor):
        return value
    if isinstance(value, Mapping):
        return {
            storable(key, f'{where}.{key}', left_out):
            storable(item, f'{where}.{key}', left_out)
            for key, item in value.items()
        }
    if isinstance(value, (list, tuple, set, frozenset)):
        items = [
            storable(item, f'{where}.{i}', left_out)
            for i, item in enumerate(value)
        ]
        kind = next(
            k for k in (list, tuple, set, frozenset) if isinstance(value, k))
        return set(items) if kind is frozenset else kind(items)
    if isinstance(value, (np.generic, np.ndarray)):
        return storable(value.tolist(), where, left_out)
    if isinstance(value, os.PathLike):
        return os.fspath(value)
    for kind in (int, float, str, bytes):  # subclasses, such as enumerations
        if isinstance(value, kind):
            return kind(value)
    left_out[where] = type(value).__name__
    return None
