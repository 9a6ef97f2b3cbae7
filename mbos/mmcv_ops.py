"""mmcv without its compiled operators.

``mmseg.models`` imports ``mmcv.ops``, whose operators are in ``mmcv._ext``,
which only mmcv-full has. MBOS calls none of them: a finder that Python asks
last puts a stand-in where ``mmcv._ext`` is missing.
"""
import logging
import sys
import warnings
from importlib.abc import Loader, MetaPathFinder
from importlib.machinery import ModuleSpec
from types import ModuleType

EXTENSION = 'mmcv._ext'
INSTALL_MMCV = 'python -m mbos.install_mmcv'
INSTALL_MMCV_FULL = f'pip uninstall -y mmcv && {INSTALL_MMCV} --full'
_ADVICE = ('The {} is compiled and only in mmcv-full, not in the installed '
           'mmcv: choose another part in the config, or install it with: '
           f'{INSTALL_MMCV_FULL}  (docs/install.md)')
# mmcv and mmseg warn so at every start, of what is long ago or not used.
HARMLESS = ('On January 1, 2023, MMCV will release',
            'Default ``avg_non_ignore`` is False')


class MissingOperatorError(RuntimeError):
    """A network needs an operator that only mmcv-full has."""


class MissingOperators(ModuleType):
    """Stand-in for ``mmcv._ext``: any operator exists and refuses to run."""

    def __getattr__(self, name: str):
        if name.startswith('__'):
            raise AttributeError(name)
        if name.startswith('get_'):  # versions, for mmcv's logs
            return lambda: 'not compiled'

        def refuse(*args, **kwargs):
            raise MissingOperatorError(_ADVICE.format(f'operator {name!r}'))

        return refuse


class _LastFinder(MetaPathFinder, Loader):
    """Finds what nothing else does: the stand-in, or advice."""

    def find_spec(self, fullname, path=None, target=None):
        if fullname == 'mmcv':
            raise ModuleNotFoundError(
                'mmcv is not installed, and a wheel of MBOS cannot require '
                f'it. Type: {INSTALL_MMCV}', name='mmcv')  # yapf: disable
        return ModuleSpec(fullname, self) if fullname == EXTENSION else None

    def create_module(self, spec):
        return MissingOperators(spec.name)

    def exec_module(self, module):
        """Nothing to do: the module is complete when it is made."""


def provide_stand_in() -> None:
    """Let ``mmcv.ops`` be imported without compiled operators; imports neither
    mmcv nor torch."""
    sys.meta_path.append(_LastFinder())
    for start in HARMLESS:
        warnings.filterwarnings('ignore', message=start)
    # torch warns so when mmcv asks for its compilers
    logging.getLogger('torch.utils.cpp_extension').addFilter(
        lambda record: 'No CUDA runtime' not in record.getMessage())


def check_operators(model) -> None:
    """Raise a ``MissingOperatorError`` that names the first part of a network
    which needs mmcv-full, where that is not installed."""
    for name, part in model.named_modules():
        module = sys.modules[type(part).__module__]
        if module.__name__.startswith('mmcv.ops.') and isinstance(
                getattr(module, 'ext_module', None), MissingOperators):
            raise MissingOperatorError(
                _ADVICE.format(f'{type(part).__name__} ({name})'))
