"""mmcv without its compiled operators.

``mmseg.models`` imports ``mmcv.ops``, which takes its operators from a
compiled module, ``mmcv._ext``, that only mmcv-full has. MBOS calls none of
them, so the pure-Python mmcv serves as well: a finder that Python asks last
puts a stand-in where ``mmcv._ext`` is missing. Where mmcv-full is installed,
its own module is found first and nothing is put in its place.
"""
import logging
import sys
import warnings
from importlib.abc import Loader, MetaPathFinder
from importlib.machinery import ModuleSpec
from types import ModuleType

EXTENSION = 'mmcv._ext'
INSTALL_MMCV = 'python -m mbos.install_mmcv'
INSTALL_MMCV_FULL = ('pip uninstall -y mmcv && '
                     'python -m mbos.install_mmcv --full')
HARMLESS = ('On January 1, 2023, MMCV will release',
            'Default ``avg_non_ignore`` is False')
"""tuple[str]: Warnings that mmcv and mmseg give at every start, whatever is
done: of a release of long ago, and of a loss that MBOS replaces."""
_VERSIONS = ('get_compiler_version', 'get_compiling_cuda_version')


class MissingOperatorError(RuntimeError):
    """A network needs an operator that only mmcv-full has."""

    explained = True  # see mbos.faults


class MissingOperators(ModuleType):
    """Stand-in for ``mmcv._ext``: any operator exists and refuses to run."""

    def __getattr__(self, name: str):
        if name.startswith('__'):
            raise AttributeError(name)
        if name in _VERSIONS:  # mmcv reports them in logs
            return lambda: 'not compiled'

        def refuse(*args, **kwargs):
            raise MissingOperatorError(_advice(f'The operator {name!r}'))

        return refuse


def _advice(what: str) -> str:
    return (f'{what} is compiled and only in mmcv-full, not in the installed '
            f'mmcv: choose another part in the config, or install it with: '
            f'{INSTALL_MMCV_FULL}  (docs/install.md)')


class _LastFinder(MetaPathFinder, Loader):
    """Found where nothing else is: the stand-in, or advice."""

    def find_spec(self, fullname, path=None, target=None):
        if fullname == EXTENSION:
            return ModuleSpec(fullname, self)
        if fullname == 'mmcv':
            raise ModuleNotFoundError(
                'mmcv is not installed, and a wheel of MBOS cannot require '
                f'it. Type: {INSTALL_MMCV}',
                name='mmcv')
        return None

    def create_module(self, spec):
        return MissingOperators(spec.name)

    def exec_module(self, module):
        """Nothing to do: the module is complete when it is made."""


def provide_stand_in() -> None:
    """Let ``mmcv.ops`` be imported without compiled operators.

    Call it before mmseg is imported; ``import mbos`` does. Costs nothing and
    imports neither mmcv nor torch.
    """
    if not any(isinstance(f, _LastFinder) for f in sys.meta_path):
        sys.meta_path.append(_LastFinder())
        for start in HARMLESS:
            warnings.filterwarnings('ignore', message=start)
        # torch warns so when mmcv asks for its compilers
        logging.getLogger('torch.utils.cpp_extension').addFilter(
            lambda record: 'No CUDA runtime' not in record.getMessage())


def check_operators(model) -> None:
    """Refuse a network that needs an operator which is not there.

    Raises:
        MissingOperatorError: Names the first part that mmcv-full is needed
            for. Never raised where mmcv-full is installed.
    """
    extension = sys.modules.get(EXTENSION)
    if not isinstance(extension, MissingOperators):
        return
    for name, part in model.named_modules():
        module = sys.modules.get(type(part).__module__)
        if module.__name__.startswith('mmcv.ops.') and \
                getattr(module, 'ext_module', None) is extension:
            raise MissingOperatorError(
                _advice(f'{type(part).__name__} ({name})'))
