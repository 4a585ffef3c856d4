"""torch.nn.functional's signatures over the rules: argument checks, autocast, forward mode, in place.

The functions in the files of this folder are exported, and so are those that are generated from a rule (_derived.py).
Access to a differentiable function of torch.nn.functional that has no rule yet raises AttributeError. `call` applies
any rule, your own included.
"""

from __future__ import annotations

import inspect as _inspect

import torch
import torch.fx

from ..engine.exports import NotExportedError as _NotExportedError
from ..engine.exports import defined as _defined
from ..engine.exports import give_reasons as _give_reasons
from . import _derived, _inside
from ._call import call
from ._without_rules import CONSTANT as _CONSTANT
from ._without_rules import HELPERS as _HELPERS

_written = _defined(__name__, _inspect.isfunction)
_found = {**_derived.derived(_written), **_written, "call": call}
globals().update(_found)

__all__ = sorted(_found)  # type checkers and editors read __init__.pyi

for _name in __all__:
    torch.fx.wrap(_name)  # torch.fx records the call and does not trace into it; costs nothing outside of tracing

_give_reasons(__name__)


def __getattr__(name: str) -> object:
    theirs = getattr(torch.nn.functional, name, None)
    if theirs is None or name.startswith("__"):
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    if not _inspect.isroutine(theirs) or name in _CONSTANT or name in _HELPERS:
        return theirs
    if name.startswith("_"):
        raise _NotExportedError(
            f"manual_backprop.functional has no {name!r}, a private function of torch; "
            f"torch.nn.functional.{name} computes it with autograd's own backward"
        )
    raise _NotExportedError(
        f"manual_backprop.functional has no rule for {name!r} yet; "
        f"torch.nn.functional.{name} computes it with autograd's own backward"
    )
