"""A quick start: what only training and compiling need is not imported."""
import importlib
import sys
from types import ModuleType

COMPILER = ('torch._dynamo', 'torch._dynamo.utils')
INTERPOLATION = 'scipy.interpolate'


def import_models() -> None:
    """Import all that registers with mmseg, in a second less than otherwise.

    torchvision asks torch's compiler whether it can compile one operator, timm
    asks it to leave some functions alone, and mmseg's BEiT may interpolate
    with SciPy. These three are not imported now, but can be, and then work.
    """
    import torch
    package, utils = (ModuleType(name) for name in COMPILER)
    package.__path__ = []
    utils.is_compile_supported = lambda device: False
    stand_ins = dict(zip(COMPILER, (package, utils)))
    stand_ins[INTERPOLATION] = _Late(INTERPOLATION)
    for name in stand_ins.keys() & sys.modules.keys():
        del stand_ins[name]
    disable = torch.compiler.disable
    torch.compiler.disable = _unchanged
    sys.modules.update(stand_ins)
    try:
        importlib.import_module('mbos.registration')
    finally:
        torch.compiler.disable = disable
        for name in stand_ins:
            sys.modules.pop(name, None)


class _Late(ModuleType):
    """Imports the module of its name when something of it is used."""

    def __getattr__(self, name: str):
        if name.startswith('__'):
            raise AttributeError(name)
        if sys.modules.get(self.__name__) is self:
            del sys.modules[self.__name__]
        return getattr(importlib.import_module(self.__name__), name)


def _unchanged(function=None, **_):
    return (lambda f: f) if function is None else function
