"""Reading the published release's numbers, and how close ours must come.

The weights follow from a rule over the release's parameter names and are
loaded through the converter that users' released checkpoints go through.
"""
import functools
import os
import os.path as osp
import zlib

import numpy as np
import torch

from mbos.checkpoints.release_layout import from_release
from mbos.tasks import build_tasks
from .released import shapes
from .utils import TASKS

ROOT = osp.dirname(osp.dirname(__file__))
GOLDEN = os.environ.get('MBOS_GOLDEN', osp.join(ROOT, 'tests/data/golden'))
DEVICE = os.environ.get('MBOS_TEST_DEVICE', 'cpu')
TOLERANCES = {torch.float64: 1e-6, torch.float32: 1e-4}
"""Largest errors, relative to the largest number of a tensor; gradients and
steps are compared in float64 only, as kinks of activations and sums that
cancel make more of float32's rounding."""

torch.backends.cuda.matmul.allow_tf32 = False
torch.backends.cudnn.allow_tf32 = False


def load(name):
    """The arrays of a golden file, by key."""
    with np.load(osp.join(GOLDEN, f'{name}.npz')) as data:
        return dict(data)


def release_state(key, seed):
    """The release's state dict by the README's rule."""
    state = {}
    for name, shape in shapes(key).items():
        if name.endswith('relative_position_index'):
            continue
        rng = np.random.Generator(
            np.random.PCG64([seed, zlib.crc32(name.encode())]))
        u = 2 * rng.random(shape) - 1
        is_table = name.endswith('relative_position_bias_table')
        if len(shape) > 1 and not is_table:
            value = u * np.sqrt(3 / np.prod(shape[1:]))
        elif name.endswith('weight'):
            value = 1 + 0.1 * u
        else:
            value = 0.1 * u
        state[name] = torch.from_numpy(value.astype(np.float32))
    return state


def load_release(model, key, data, dtype=torch.float32):
    """Fill a network with the release's weights of a golden file."""
    state = release_state(key, int(data['seed']))
    state, _ = from_release(state, build_tasks(TASKS))
    missing, unexpected = model.load_state_dict(state, strict=False)
    assert not unexpected
    assert all(n.endswith('relative_position_index') for n in missing)
    return model.to(DEVICE, dtype)


@functools.lru_cache(maxsize=None)
def our_names(key):
    """By the release's parameter names, ours; none for dead ones."""
    tasks = build_tasks(TASKS)
    return {
        name: list(from_release({name: torch.zeros(shape)}, tasks)[0])
        for name, shape in shapes(key).items()
        if not name.endswith('relative_position_index')
    }


def image(array, dtype=torch.float32):
    """A golden image as a tensor."""
    return torch.from_numpy(array.astype(np.float32)).to(DEVICE, dtype)


def assert_close(actual, expected, dtype, name=''):
    """Compare arrays or numbers, relative to the largest value."""
    actual = torch.as_tensor(actual).detach().double().cpu().numpy()
    expected = np.asarray(expected)
    assert actual.shape == expected.shape
    error = np.abs(actual - expected).max()
    assert error <= TOLERANCES[dtype] * np.abs(expected).max(), (name, error)


def check_norms(values, key, data, prefix):
    """Compare the norms, in float64, of our tensors by name with those that a
    golden file lists under a prefix, by the release's names."""
    norms = {n: float(v.norm()) for n, v in values.items() if v is not None}
    expected = {
        name.removeprefix(prefix): float(value)
        for name, value in data.items() if name.startswith(prefix)
    }
    assert expected
    for name, value in expected.items():
        ours = [norms.get(n, 0.) for n in our_names(key)[name]]
        error = abs(np.linalg.norm(ours) - value)
        assert error <= 1e-6 * value + 1e-12, (name, error, value)
