"""Stands in for torch.nn in a whole script: our layers, torch's own containers and infrastructure.

Each layer in the files of this folder is exported. A differentiable layer that has no rule yet is not here: asking for
it raises AttributeError, it never falls through.

Modules import as torch.nn's do: `functional` is manual_backprop.functional; `init`, `utils`, `parallel`, `parameter`
and `common_types` are torch's own; `modules` has the layers of this package.
"""

from __future__ import annotations

import torch.nn as _torch_nn
from torch.nn import (
    Buffer,
    Container,
    DataParallel,
    Module,
    ModuleDict,
    ModuleList,
    Parameter,
    ParameterDict,
    ParameterList,
    RNNBase,
    RNNCellBase,
    Sequential,
    UninitializedBuffer,
    UninitializedParameter,
    common_types,
    factory_kwargs,
    init,
    parallel,
    parameter,
    utils,
)

from .. import functional
from ..engine.exports import NotExportedError as _NotExportedError
from ..engine.exports import defined as _defined
from ..engine.exports import give_reasons as _give_reasons
from ..engine.exports import import_as as _import_as
from ._parametrizations import PARAMETRIZATIONS as _PARAMETRIZATIONS

_found = _defined(__name__, lambda value: isinstance(value, type) and issubclass(value, Module))
globals().update({**_found, **_PARAMETRIZATIONS})
if hasattr(_torch_nn, "LinearCrossEntropyOptions"):  # from torch 2.13 on
    LinearCrossEntropyOptions = _torch_nn.LinearCrossEntropyOptions

_LAYERS = sorted(_found.keys() - {"NonDynamicallyQuantizableLinear"})  # which torch.nn does not export either
# as `from torch.nn import *` gives; type checkers and editors read __init__.pyi
_others = {name for name in vars(_torch_nn) if name in globals() and not name.startswith("_")} - {
    "attention",
    "modules",
}
__all__ = sorted({*_LAYERS, *_others})

for _module in (common_types, functional, init, parallel, parameter, utils):
    _import_as(f"{__name__}.{_module.__name__.rpartition('.')[2]}", _module)
_give_reasons(__name__)


def __getattr__(name: str) -> object:
    theirs = getattr(_torch_nn, name, None)
    if isinstance(theirs, type) and issubclass(theirs, Module):
        raise _NotExportedError(
            f"manual_backprop.nn has no rule for {name!r} yet; torch.nn.{name} computes it with autograd's own backward"
        )
    if theirs is not None and not name.startswith("__"):
        raise _NotExportedError(
            f"manual_backprop.nn has no {name!r}: what torch.nn.{name} computes does not run on rules. "
            f"Write torch.nn.{name} for torch's own"
        )
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
