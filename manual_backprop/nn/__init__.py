"""Stands in for torch.nn in a whole script: our layers, torch's own containers and infrastructure.

Each layer in the files of this folder is exported. A differentiable layer that has no rule yet is not here: asking for
it raises AttributeError, it never falls through.
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
    Sequential,
    UninitializedBuffer,
    UninitializedParameter,
    init,
    parallel,
    parameter,
    utils,
)

from .. import functional
from ..engine.exports import defined as _defined
from ._parametrizations import PARAMETRIZATIONS as _PARAMETRIZATIONS

_found = _defined(__name__, lambda value: isinstance(value, type) and issubclass(value, Module))
globals().update({**_found, **_PARAMETRIZATIONS})
if hasattr(_torch_nn, "LinearCrossEntropyOptions"):  # from torch 2.13 on
    LinearCrossEntropyOptions = _torch_nn.LinearCrossEntropyOptions

# type checkers and editors read __init__.pyi
__all__ = sorted(_found.keys() - {"NonDynamicallyQuantizableLinear"})  # which torch.nn does not export either


def __getattr__(name: str) -> object:
    if hasattr(_torch_nn, name):
        raise AttributeError(
            f"manual_backprop.nn has no rule for {name!r} yet; torch.nn.{name} computes it with autograd's own backward"
        )
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
