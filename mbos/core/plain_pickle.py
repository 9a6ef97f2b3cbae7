"""Pickles of numbers, texts and arrays, and of nothing else.

What one process writes for the next is pickled for speed, but lies in folders
that others may write to. Reading it makes arrays and plain values only; a
pickle that names anything else is refused, before anything of it is run.
"""
import io
import pickle

import numpy as np

_ALLOWED = {
    ('numpy', 'dtype'): np.dtype,
    ('numpy', 'ndarray'): np.ndarray,
}
for _module in ('numpy.core', 'numpy._core'):
    _ALLOWED.update({
        (f'{_module}.multiarray', 'scalar'):
        np._core.multiarray.scalar,
        (f'{_module}.multiarray', '_reconstruct'):
        np._core.multiarray._reconstruct,
        (f'{_module}.numeric', '_frombuffer'):
        np._core.numeric._frombuffer,
    })


class _PlainUnpickler(pickle.Unpickler):

    def find_class(self, module: str, name: str):
        if (module, name) not in _ALLOWED:
            raise pickle.UnpicklingError(
                f'it names {module}.{name}, which is no array and no number')
        return _ALLOWED[module, name]


def loads(data: bytes) -> object:
    """Read a pickle of numbers, texts, arrays and containers of these.

    Args:
        data (bytes): The pickle.

    Returns:
        object: What it holds.

    Raises:
        ValueError: If it is damaged or names anything else.
    """
    try:
        return _PlainUnpickler(io.BytesIO(data)).load()
    except Exception as error:  # a damaged pickle may provoke any of them
        raise ValueError(
            f'not a whole pickle of plain values ({error})') from error
