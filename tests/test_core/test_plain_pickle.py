"""Pickles that may be read, and those that would run something."""
import os
import pickle
from collections import OrderedDict
from fractions import Fraction

import numpy as np
import pytest

from mbos.core import plain_pickle


class Hostile:

    def __reduce__(self):
        return os.system, ('touch was_run', )


def test_plain_values_come_back():
    value = dict(
        a=[1, 2.5, None, True, 'ü', (b'x', )],
        b=np.arange(6).reshape(2, 3)[:, ::2],
        c=np.float32(0.1),
        d={np.int64(3): np.ones((2, 0), np.float16)},
        e=np.asfortranarray(np.eye(3)))
    for protocol in range(3, pickle.HIGHEST_PROTOCOL + 1):
        found = plain_pickle.loads(pickle.dumps(value, protocol=protocol))
        assert found.keys() == value.keys()
        assert found['a'] == value['a']
        assert found['d'].keys() == {3}
        for key in 'be':
            np.testing.assert_array_equal(found[key], value[key])
        assert found['c'] == value['c'] and found['c'].dtype == np.float32


@pytest.mark.parametrize('value', [
    Hostile(), [Hostile()],
    Fraction(1, 2),
    OrderedDict(a=1), os.getcwd,
    np.array([Hostile()], dtype=object)
])
def test_anything_else_is_refused(tmp_path, monkeypatch, value):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ValueError, match='it names'):
        plain_pickle.loads(pickle.dumps(value))
    assert not list(tmp_path.iterdir())


def test_damaged_ones_are_refused():
    content = pickle.dumps(dict(a=np.arange(100)))
    for end in (0, 1, 10, len(content) // 2, len(content) - 1):
        with pytest.raises(ValueError, match='not a whole pickle'):
            plain_pickle.loads(content[:end])
