"""torch.fx: our layers and functions are leaves of a traced graph, as torch's are.

torch.fx treats a module as a leaf when its class is in torch.nn. It would trace into a layer of ours: that would make
the `training` flag a constant, and count batches only once, while tracing. It would run our functions on Proxies: some
fail there because they read shapes, which a Proxy does not have; others leave torch's own function in the graph. So
this module extends `torch.fx.Tracer`, through its public arguments and its public method. All else stays as it was.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Callable
from typing import Any

import torch.fx

from . import functional
from .functional._named import names_of, rule_named
from .rules import Rule

FUNCTIONS: tuple[Callable[..., Any], ...] = tuple(getattr(functional, name) for name in functional.__all__)
"""These are leaves under any name by which a traced module has imported them. `mb.functional.<name>` itself is declared
a leaf where it is defined."""


def teach(tracer: type[torch.fx.Tracer]) -> None:
    """Make a Tracer class, and its subclasses that call super(), treat our layers and functions as leaves."""
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


def as_argument(rule: type[Rule], tracer: torch.fx.Tracer) -> torch.fx.Node:
    """The graph node for a rule that is passed to `mb.functional.call`. Raises TypeError for one inside a function."""
    return tracer.create_node("call_function", rule_named, names_of(rule), {})


Rule.__fx_create_arg__ = classmethod(as_argument)  # type: ignore[attr-defined]
teach(torch.fx.Tracer)
