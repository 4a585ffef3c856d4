"""Rules by name, for graphs of torch.fx, where a class cannot be an argument."""

from __future__ import annotations

import importlib
from typing import Any

from ..engine.rule import Rule


def names_of(rule: type[Rule]) -> tuple[str, str]:
    """The names by which a graph finds a rule again. Raises TypeError for a rule inside a function, which has none."""
    if "<locals>" in rule.__qualname__:
        raise TypeError(
            f"torch.fx cannot keep {rule.__qualname__} in a graph, since it is defined inside a function: "
            "define the rule in a module"
        )
    return rule.__module__, rule.__qualname__


def rule_named(module: str, name: str) -> type[Rule]:
    """The rule of that name."""
    found: Any = importlib.import_module(module)
    for part in name.split("."):
        found = getattr(found, part)
    return found
