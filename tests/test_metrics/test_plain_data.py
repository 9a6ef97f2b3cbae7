"""Values that may be written and read, and bytes that must not become any."""
import json
import math
import os
import pickle
import struct
from fractions import Fraction

import numpy as np
import pytest

from mbos.metrics import plain_data


def written(described, body=b''):
    """Bytes as ``dumps`` makes them, of any description."""
    text = json.dumps(described).encode()
    return struct.pack('<Q', len(text)) + text + body


def test_plain_values_come_back():
    value = dict(
        a=[1, 2.5, None, True, 'ü', ('x', [])],
        b=np.arange(6).reshape(2, 3)[:, ::2],
        c=np.float32(0.1),
        d={3: np.ones((2, 0), np.float16)},
        e=np.asfortranarray(np.eye(3)),
        f=np.array([True, False]),
        g={},
        h=np.array(7, np.uint8),
        i=np.float64(0.1),
        n=float('nan'))
    found = plain_data.loads(plain_data.dumps(value))
    assert list(found) == list(value)
    assert found['a'] == value['a'] and isinstance(found['a'][5], tuple)
    assert found['d'].keys() == {3} and found['g'] == {}
    assert math.isnan(found['n'])
    for key in 'bcefhi':
        np.testing.assert_array_equal(found[key], value[key])
        assert found[key].dtype == value[key].dtype
        assert type(found[key]) is type(value[key])
    assert found['d'][3].shape == (2, 0)


@pytest.mark.parametrize(
    'value', [Fraction(1, 2), os.getcwd, b'x',
              np.array([Fraction(1, 2)]),
              np.zeros(1, [('a', 'O')]), {None: 1}])  # yapf: disable
def test_anything_else_is_not_written(value):
    with pytest.raises(TypeError):
        plain_data.dumps([value])


@pytest.mark.parametrize('described, body', [
    (['array', '|O', [1]], b'A' * 8),
    (['array', [['a', '|O']], [1]], b'A' * 8),
    (['array', '|V8', [1]], b'A' * 8),
    (['array', '<f8', [2]], b'A' * 8),
    (['array', '<f8', [-1]], b'A' * 8),
    (['array', '<f8', [2**62, 2**62]], b''),
    (['array', '<f8', [1.0]], b'A' * 8),
    (['array', '<f8', []], b'A' * 9),
    (['object', 'os.system'], b''),
    ([], b''),
    (['dict', [[['list', []], 1]]], b''),
    ([['list']] * 3, b'')])  # yapf: disable
def test_other_descriptions_are_refused(described, body):
    with pytest.raises(ValueError, match='no plain values'):
        plain_data.loads(written(described, body))


def test_pickles_are_refused():
    """A pickle of plain arrays made one of objects of these bytes, unseen."""

    class Objects:

        def __reduce__(self):
            return np.ndarray, ((1, ), np.dtype('O'), b'A' * 8)

    with pytest.raises(ValueError, match='no plain values'):
        plain_data.loads(pickle.dumps(Objects()))


def test_damaged_ones_are_refused():
    content = plain_data.dumps(dict(a=np.arange(100)))
    for end in (0, 1, 10, len(content) // 2, len(content) - 1):
        with pytest.raises(ValueError, match='not whole'):
            plain_data.loads(content[:end])
    deep = b'[' * 100_000
    with pytest.raises(ValueError, match='not whole'):
        plain_data.loads(struct.pack('<Q', len(deep)) + deep)
