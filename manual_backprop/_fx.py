"""torch.fx: our layers and functions are leaves of a traced graph, as torch's are.

torch.fx takes a module for a leaf when its class lives in torch.nn. A layer of ours would be traced into: its
`training` flag frozen in, batches counted while tracing and never again. Our functions would run on Proxies: they ask
for shapes, which a Proxy does not have, or leave torch's own function in the graph. So `torch.fx.Tracer` is told about
ours, through its public arguments and its public method; for anything else it answers as before.
"""

from __future__ import annotations

import functools
import importlib
import math
from collections.abc import Callable
from typing import Any

import torch.fx

from . import functional
from .rules import Rule

FUNCTIONS: tuple[Callable[..., Any], ...] = tuple(getattr(functional, name) for name in functional.__all__)
"""Of these every name is a leaf under which a traced module has imported them; `mb.functional.<name>` itself is
declared where it is defined."""


def teach(tracer: type[torch.fx.Tracer]) -> None:
    """Let a Tracer class, and those that ask it by super(), take our layers and functions for leaves."""
    init, is_leaf_module = tracer.__init__, tracer.is_leaf_module

    @functools.wraps(init)
    def __init__(
        self: torch.fx.Tracer,
        autowrap_modules: Any = (math,),
        autowrap_functions: tuple[Callable[..., Any], ...] = (),
        *args: Any,
        **kwargs: Any,
    ) -> None:
        init(self, autowrap_modules, (*autowrap_functions, *FUNCTIONS), *args, **kwargs)

    @functools.wraps(is_leaf_module)
    def asked(self: torch.fx.Tracer, m: torch.nn.Module, module_qualified_name: str) -> bool:
        return type(m).__module__.startswith(f"{__package__}.nn.") or is_leaf_module(self, m, module_qualified_name)

    tracer.__init__, tracer.is_leaf_module = __init__, asked  # type: ignore[method-assign]


def rule_named(module: str, name: str) -> type[Rule]:
    """A rule in a traced graph, whose arguments cannot be classes."""
    found: Any = importlib.import_module(module)
    for part in name.split("."):
        found = getattr(found, part)
    return found


def as_argument(rule: type[Rule], tracer: torch.fx.Tracer) -> torch.fx.Node:
    """What a graph holds for a rule that is passed to `mb.functional.call`. Raises TypeError for one without a name."""
    if "<locals>" in rule.__qualname__:
        raise TypeError(
            f"torch.fx cannot keep {rule.__qualname__} in a graph, for it is defined inside a function: "
            "define the rule in a module"
        )
    return tracer.create_node("call_function", rule_named, (rule.__module__, rule.__qualname__), {})


Rule.__fx_create_arg__ = classmethod(as_argument)  # type: ignore[attr-defined]
teach(torch.fx.Tracer)
