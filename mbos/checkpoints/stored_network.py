"""The network that a checkpoint describes, perhaps written by somebody else.

Parts are built by name from registries, so a checkpoint could name any part of
any registered kind and any size. Those of mmseg and of this package are built
from it, without their own weights; for others a config is needed.
"""
import numbers
from collections.abc import Collection, Iterator
from contextlib import contextmanager

from mmcv.cnn import ACTIVATION_LAYERS, CONV_LAYERS, NORM_LAYERS
from mmseg.models.builder import MODELS

from mbos.io.weights_file import reason_of

META_KEY = 'mbos_model'
_REGISTRIES = (MODELS, CONV_LAYERS, NORM_LAYERS, ACTIVATION_LAYERS)
_PACKAGES = ('mbos', 'mmseg', 'mmcv', 'torch')
_DOWNLOADING = ('TIMMBackbone', )
# They name files; a checkpoint brings its own weights.
_WEIGHTS = ('pretrained', 'init_cfg', 'checkpoint')
_SIZES = 1024
_DEPTH = 20


def stored_model_cfg(
    path: str, content: dict, imported: Collection[str] = ()) -> dict | None:
    """The config of a checkpoint's network, if it holds one.

    Args:
        imported (Collection[str]): Packages whose parts may be built as well,
            as those that a config of the user's imports. Default: ().

    Raises:
        ValueError: If it names parts of other packages, or sizes that do not
            go with the checkpoint's tensors.
    """
    stored = content['meta'].get(META_KEY)
    if stored is None:
        return None
    largest = max([
        side for value in content['state_dict'].values()
        for side in value.shape
    ] + [_SIZES])
    try:
        if not isinstance(stored, dict) or not isinstance(
                stored.get('type'), str):
            raise ValueError('is not the config of a network')
        return _checked(stored, 4 * largest, {*_PACKAGES, *imported})
    except (ValueError, RecursionError) as error:
        raise ValueError(
            f'{path}: the network that it describes {error}. Copy the file '
            'again, or give the config that it was trained with; a part of '
            'your own must be in its custom_imports.') from error


@contextmanager
def building(path: str) -> Iterator[None]:
    """Context in which a network is built as a checkpoint describes it.

    Raises:
        ValueError: If that fails, naming the file.
    """
    try:
        yield
    except Exception as error:  # damaged arguments may provoke any of them
        if isinstance(error, ValueError) and path in str(error):
            raise
        raise ValueError(
            f'{path}: the network that it describes cannot be built '
            f'({type(error).__name__}: {reason_of(error)}). Copy the file '
            'again, or give the config that it was trained with.') from error


def _checked(value, largest: int, allowed: set[str], key: str = '', depth=0):
    """A config without weights, if all of its parts and numbers may be built.

    Raises:
        ValueError: With the rest of a sentence on what may not.
    """
    if depth > _DEPTH:
        raise ValueError('is nested too deeply')
    if isinstance(value, dict):
        return {
            k:
            None if k in _WEIGHTS else _checked(v, largest, allowed, k, depth +
                                                1)
            for k, v in value.items()
        }
    if isinstance(value, (list, tuple)):
        return type(value)(
            _checked(v, largest, allowed, key, depth + 1) for v in value)
    if key == 'type':
        # a dot would make the registry look into another package
        known = isinstance(value, str) and '.' not in value
        parts = [r.get(value) for r in _REGISTRIES] if known else []
        packages = {p.__module__.split('.')[0] for p in parts if p}
        if not packages or packages - allowed or value in _DOWNLOADING:
            raise ValueError(f'has a part {value!r}, which is not built from '
                             'a checkpoint')
    elif (isinstance(value, numbers.Real)
          and not -largest <= value <= largest):
        raise ValueError(f'has {key}={value!r}, which does not go with its '
                         'weights')
    return value
