"""Modules whose whole forward runs inside `mb.explicit()`: `within(cls)` makes a subclass with that one change."""

from __future__ import annotations

import functools
from typing import Any

import torch

from .engine.torch_private import function_mode_at, function_modes
from .explicit import explicit


class Within:
    """Base of the classes that `within` makes. `computed_by` is the original class, whose forward computes."""

    computed_by: type[torch.nn.Module]

    def forward(self, *args: Any, **kwargs: Any) -> Any:
        """The forward of the original class, inside `mb.explicit()`. Does nothing more where that is already active."""
        depth = function_modes()
        if depth and getattr(function_mode_at(depth - 1), "leads_to_rules", False):
            return super().forward(*args, **kwargs)  # type: ignore[misc]
        with explicit():
            return super().forward(*args, **kwargs)  # type: ignore[misc]

    def __reduce_ex__(self, protocol: Any) -> Any:
        _, arguments, *state = tuple(super().__reduce_ex__(protocol))
        return (_rebuilt, (self.computed_by, *arguments[1:]), *state)


@functools.cache
def within(cls: Any) -> Any:
    """A subclass of the same name with its forward inside `mb.explicit()`.

    Its instances can be pickled and copied where those of `cls` can.
    """
    members = {"computed_by": cls, "__module__": cls.__module__, "__doc__": cls.__doc__}
    return type(cls.__name__, (Within, cls), members)


def _rebuilt(cls: Any, *args: Any) -> torch.nn.Module:
    made: torch.nn.Module = object.__new__(within(cls))
    return made
