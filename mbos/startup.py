"""A quick start: what only training and compiling need is not imported."""
import importlib
import sys
from types import ModuleType


class _Late(ModuleType):
    """Imports the module of its name when something of it is used."""

    def __getattr__(self, name: str):
        if name.startswith('__'):
            raise AttributeError(name)
        if sys.modules.get(self.__name__) is self:
            del sys.modules[self.__name__]
        return getattr(importlib.import_module(self.__name__), name)


def import_models() -> None:
    """Import all that registers with mmseg, in a second less than otherwise.

    torchvision asks torch's compiler whether it can compile one operator, timm
    asks it to leave some functions alone, and mmseg's BEiT may interpolate
    with SciPy. These three are not imported now, but can be, and then work.
    """
    import torch
    compiler, utils = map(ModuleType, ('torch._dynamo', 'torch._dynamo.utils'))
    compiler.__path__ = []
    utils.is_compile_supported = lambda device: False
    parts = compiler, utils, _Late('scipy.interpolate')
    stand_ins = {part.__name__: part for part in parts
                 if part.__name__ not in sys.modules}  # yapf: disable
    disable, torch.compiler.disable = torch.compiler.disable, _unchanged
    sys.modules.update(stand_ins)
    importlib.import_module('mbos.registration')
    torch.compiler.disable = disable
    for name in stand_ins:
        sys.modules.pop(name, None)


def _unchanged(function=None, **_):
    return function or _unchanged
