"""torch.nn.modules, by whose name code also imports layers: the layers and containers of manual_backprop.nn.

Its files without layers are torch's own: `module`, `container`, `lazy` and `utils`. In all others, as in `activation`,
are the layers of manual_backprop.nn that torch has there. Base classes, such as `_BatchNorm`, are not: what torch
computes in them does not run on rules.
"""

from __future__ import annotations

import functools
import importlib
import pkgutil
import sys
from types import ModuleType

import torch.nn.modules as _theirs

from ...engine.exports import NotExportedError as _NotExportedError
from ...engine.exports import give_reasons as _give_reasons
from ...engine.exports import import_as as _import_as


def _layers(file: ModuleType) -> list[str]:
    """The names of the layers that a file of torch.nn.modules defines."""
    found = {name for name, value in vars(file).items() if getattr(value, "__module__", "") == file.__name__}
    return sorted(name for name in found if isinstance(vars(file)[name], type) and not name.startswith("_"))


def _layer(file: ModuleType, name: str) -> object:
    """A name in our module that stands for a file of torch.nn.modules."""
    from manual_backprop import nn

    ours = file.__name__.replace("torch.nn", nn.__name__, 1)
    if name == "__all__":
        return [name for name in file.__all__ if hasattr(nn, name)]
    if name in _layers(file):
        return getattr(nn, name)
    if hasattr(file, name) and not name.startswith("__"):
        raise _NotExportedError(
            f"{ours} has no {name!r}: it has layers alone. Import base classes, such as _BatchNorm, from "
            f"{file.__name__}; the layers of manual_backprop.nn are instances of them, too"
        )
    raise AttributeError(f"module {ours!r} has no attribute {name!r}")


def _stand_in(file: ModuleType) -> ModuleType:
    """A module with our layers for a file of torch.nn.modules; a package, so that imports fail with our reasons."""
    made = ModuleType(f"{__name__}.{file.__name__.rpartition('.')[2]}", f"The layers of {file.__name__}, on rules.")
    vars(made).update(__path__=[], __getattr__=functools.partial(_layer, file))
    sys.modules[made.__name__] = made
    _give_reasons(made.__name__)
    return made


for _found in pkgutil.iter_modules(_theirs.__path__):
    if not _found.name.startswith("_"):
        _file = importlib.import_module(f"{_theirs.__name__}.{_found.name}")
        if _found.name in ("container", "lazy", "module", "utils"):
            globals()[_found.name] = _file
            _import_as(f"{__name__}.{_found.name}", _file)
        else:
            globals()[_found.name] = _stand_in(_file)
_give_reasons(__name__)


def __getattr__(name: str) -> object:
    from manual_backprop import nn

    theirs = getattr(_theirs, name, None)
    if isinstance(theirs, type):
        return getattr(nn, name)
    if name == "__all__":
        return [name for name in _theirs.__all__ if hasattr(nn, name)]
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
