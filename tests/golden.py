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
EXACT = 1e-6
"""What every value must agree to in float64, relative."""
SPACING = 2.0**-24
"""Relative error of storing a number in float32."""


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


def load_release(model, key, seed):
    """Fill a network with the release's weights."""
    state, _ = from_release(release_state(key, seed), build_tasks(TASKS))
    missing, unexpected = model.load_state_dict(state, strict=False)
    assert not unexpected
    assert all(n.endswith('relative_position_index') for n in missing)
    return model


@functools.lru_cache(maxsize=None)
def our_names(key):
    """By the release's parameter names, ours; none for dead ones."""
    tasks = build_tasks(TASKS)
    return {
        name: list(from_release({name: torch.zeros(shape)}, tasks)[0])
        for name, shape in shapes(key).items()
        if not name.endswith('relative_position_index')
    }


def release_norms(values, key):
    """Norms of our tensors, gathered under the release's names."""
    norms = {n: float(v.double().norm())
             for n, v in values.items() if v is not None}  # yapf: disable
    return {
        name: float(np.linalg.norm([norms.get(n, 0.) for n in ours]))
        for name, ours in our_names(key).items()
    }


def image(array, dtype=torch.float32):
    """A golden image as a tensor."""
    return torch.from_numpy(array.astype(np.float32)).to(dtype)


def tolerance_of(dtype, float32=1e-4):
    """The golden README's relative tolerance for a precision."""
    return EXACT if dtype == torch.float64 else float32


def assert_close(actual, expected, tolerance=1e-4):
    """Compare arrays, relative to the largest value."""
    actual = np.asarray(torch.as_tensor(actual).detach(), dtype=np.float64)
    assert actual.shape == expected.shape
    error = np.abs(actual - expected).max()
    assert error <= tolerance * np.abs(expected).max(), error


def assert_scalar(actual, expected, tolerance=1e-4, name=''):
    """Compare two numbers, relative to the expected one."""
    error = abs(float(actual) - float(expected))
    assert error <= tolerance * abs(float(expected)), (name, error)


def check_norms(norms, data, prefix, tolerance):
    """Compare the norm of every parameter that a golden file lists under a
    prefix; the tolerance is a function of name and expected norm.
    """
    names = [k[len(prefix):] for k in data if k.startswith(prefix)]
    assert names
    for name in names:
        expected = float(data[prefix + name])
        error = abs(norms[name] - expected)
        assert error <= tolerance(name, expected), (name, error, expected)


def check_gradients(norms, data, dtype):
    """Compare gradient norms by the README's tolerances."""
    relative = tolerance_of(dtype)
    absolute = 1e-6 if dtype == torch.float32 else 1e-12
    check_norms(norms, data, 'train/gradnorm/',
                lambda name, expected: relative * expected + absolute)


def check_steps(moved, walked, start, data, steps, dtype):
    """Compare how far every parameter is from where it started.

    A weight in float32 moves in multiples of its spacing. Where the steps
    cancel but for a tenth, as those of a discriminator's last bias may, no
    more than this rounding can be asked. Norms are of the changes so far, of
    the single steps, summed, and of the weights before the first step.
    """
    relative = tolerance_of(dtype, 1e-3)

    def tolerance(name, expected):
        if dtype == torch.float64:
            return relative * expected + 1e-12
        cancels = expected < 0.1 * walked[name]
        floor = steps * SPACING * start[name] if cancels else 1e-9
        return max(relative * expected, floor)

    prefix = f'after_{steps}_step{"s" if steps > 1 else ""}/delta_norm/'
    check_norms(moved, data, prefix, tolerance)
