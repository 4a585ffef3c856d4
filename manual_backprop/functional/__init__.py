"""torch.nn.functional's signatures over the rules: argument checks, autocast, forward mode, in place.

The functions in the files of this folder are exported, and so are those that are generated from a rule (_derived.py).
Access to a differentiable function of torch.nn.functional that has no rule yet raises AttributeError. `call` applies
any rule, your own included.
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
    torch.fx.wrap(_name)  # torch.fx records the call and does not trace into it; costs nothing outside of tracing

CONSTANT = frozenset(("one_hot", "scaled_mm", "scaled_grouped_mm"))
"""Functions without a derivative, on integers or on 8 bits and fewer: torch's own are returned."""


def __getattr__(name: str) -> object:
    if name in CONSTANT and hasattr(torch.nn.functional, name):
        return getattr(torch.nn.functional, name)
    if hasattr(torch.nn.functional, name):
        raise AttributeError(
            f"manual_backprop.functional has no rule for {name!r} yet; "
            f"torch.nn.functional.{name} computes it with autograd's own backward"
        )
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
