"""torch.nn.functional's signatures over the rules: argument checks, autocast, forward mode, in-place.

Each function in the files of this folder is exported, and those that follow from a rule (_derived.py). A differentiable
function of torch.nn.functional that has no rule yet is not here: asking for it raises AttributeError. `call` applies
any rule, one of your own as well.
"""

from __future__ import annotations

import inspect as _inspect

import torch
import torch.fx

from ..engine.exports import defined as _defined
from . import _derived, _inside
from ._call import call

_written = _defined(__name__, _inspect.isfunction)
_found = {**_derived.derived(_written), **_written, "call": call}
globals().update(_found)

__all__ = sorted(_found)  # type checkers and editors read __init__.pyi

for _name in __all__:
    torch.fx.wrap(_name)  # a leaf of a graph that torch.fx traces; costs nothing outside of tracing

CONSTANT = frozenset(("one_hot", "scaled_mm", "scaled_grouped_mm"))
"""Of integers and of numbers of 8 bits and fewer, without a derivative: torch's own."""


def __getattr__(name: str) -> object:
    if name in CONSTANT and hasattr(torch.nn.functional, name):
        return getattr(torch.nn.functional, name)
    if hasattr(torch.nn.functional, name):
        raise AttributeError(
            f"manual_backprop.functional has no rule for {name!r} yet; "
            f"torch.nn.functional.{name} computes it with autograd's own backward"
        )
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
