"""MBOS: one network for every structure, from partially labelled datasets.

Importing this package alone costs no torch: its parts are imported when they
are first asked for. Configs name ``mbos.registration`` in ``custom_imports``.
"""
import importlib
import importlib.util
import sys

from .mmcv_ops import provide_stand_in

__version__ = '0.2.0'

provide_stand_in()


def __getattr__(name: str):
    module = f'{__name__}.{name}'
    if name.startswith('_') or importlib.util.find_spec(module) is None:
        raise AttributeError(f'module {__name__!r} has no attribute {name!r}')
    return importlib.import_module(module)


if 'mmcv' in sys.modules:
    # Configs of version 0.1 say custom_imports = dict(imports=['mbos']), which
    # mmcv carries out; torch is loaded then in any case.
    from . import registration
