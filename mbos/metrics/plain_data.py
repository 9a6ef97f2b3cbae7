"""Numbers, texts, arrays and containers of these as bytes, and back.

What one process writes for the next lies in folders that others may write to.
So it is no pickle, not even a restricted one: NumPy's own part of a pickle
can make arrays of objects out of any bytes, which run code when looked at.
Here a JSON text tells the structure and the bytes of the arrays follow it.
"""
import json
import math
import struct
from typing import List

import numpy as np

_HEAD = struct.Struct('<Q')  # length of the JSON text
_KINDS = 'biuf'


def dumps(value: object) -> bytes:
    """Write None, numbers, texts, arrays, and dicts, lists, tuples of these.

    Args:
        value (object): What to write. Keys of dicts are texts or integers.

    Returns:
        bytes: For :func:`loads`.

    Raises:
        TypeError: If it holds anything else.
    """
    parts: List[bytes] = []
    text = json.dumps(_described(value, parts), separators=(',', ':'))
    text = text.encode()
    return b''.join([_HEAD.pack(len(text)), text, *parts])


def loads(data: bytes) -> object:
    """Read what :func:`dumps` wrote.

    Args:
        data (bytes): Of anybody.

    Returns:
        object: The value; its arrays must not be written to.

    Raises:
        ValueError: If it is damaged or describes anything else.
    """
    try:
        size, = _HEAD.unpack_from(data)
        start = _HEAD.size + size
        described = json.loads(data[_HEAD.size:start])
        reader = _Reader(memoryview(data)[start:])
        value = reader.value(described)
        if reader.place != len(reader.data):
            raise ValueError('of another length')
        return value
    except Exception as error:  # damaged bytes may provoke any of them
        raise ValueError(f'not whole, or no plain values ({error})') from error


def _described(value, parts: List[bytes]):
    """What JSON tells of a value; the bytes of its arrays go to parts."""
    if value is None or isinstance(value, (bool, int, float, str)) \
            and not isinstance(value, np.generic):
        return value
    if isinstance(value, (np.ndarray, np.generic)):
        kind = 'array' if isinstance(value, np.ndarray) else 'number'
        if value.dtype.kind not in _KINDS:
            raise TypeError(f'arrays of {value.dtype} are not written')
        parts.append(np.ascontiguousarray(value).tobytes())
        return [kind, value.dtype.str, list(value.shape)]
    if isinstance(value, dict):
        return ['dict', [[k if isinstance(k, str) else int(k),
                          _described(v, parts)]
                         for k, v in value.items()]]  # yapf: disable
    if isinstance(value, (list, tuple)):
        kind = 'tuple' if isinstance(value, tuple) else 'list'
        return [kind, [_described(v, parts) for v in value]]
    raise TypeError(f'{type(value).__name__} is not written')


class _Reader:
    """Makes values of their descriptions, and arrays of the bytes."""

    def __init__(self, data: memoryview):
        self.data = data
        self.place = 0

    def value(self, described):
        """The value of a description."""
        if not isinstance(described, list):
            return described
        kind, *told = described
        if kind == 'array':
            return self._array(*told)
        if kind == 'number':
            return self._array(*told)[()]
        if kind == 'dict':
            return {key: self.value(v) for key, v in told[0]}
        if kind in ('list', 'tuple'):
            values = [self.value(v) for v in told[0]]
            return tuple(values) if kind == 'tuple' else values
        raise ValueError(f'unknown kind {str(kind)[:20]!r}')

    def _array(self, dtype, shape):
        if not isinstance(dtype, str):
            raise ValueError('a structured array')
        dtype = np.dtype(dtype)
        if dtype.kind not in _KINDS or any(
                type(n) is not int or n < 0 for n in shape):
            raise ValueError(f'an array of {dtype}, shape {shape}')
        size = math.prod(shape) * dtype.itemsize
        if self.place + size > len(self.data):
            raise ValueError('an array is cut off')
        part = self.data[self.place:self.place + size]
        self.place += size
        return np.frombuffer(part, dtype).reshape(shape)
