"""The backward nodes of a run: which belong to rules, and which transforms their functions support."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import torch
from torch import Tensor
from torch.autograd import Function

from ..engine.torch_private import function_of
from ..rules import Rule
from .subject import NotApplicable, Problem, differentiable


def graph(*outputs: Tensor) -> list[Any]:
    """Every backward node reachable from the outputs, leaves included."""
    seen: dict[Any, None] = {}
    stack = [output.grad_fn for output in outputs if output.grad_fn is not None]
    while stack:
        node = stack.pop()
        if node not in seen:
            seen[node] = None
            stack += [parent for parent, _ in node.next_functions if parent is not None]
    return list(seen)


def is_rule(node: Any) -> bool:
    """Whether a backward node belongs to a rule."""
    return issubclass(function_of(node) or object, Rule)


def is_written(node: Any) -> bool:
    """Whether the backward of a node is written in Python: that of a rule, or of any torch.autograd.Function."""
    return issubclass(function_of(node) or object, Function)


def functions(problem: Problem) -> list[type[Function]]:
    """The rules and other Functions that one run goes through."""
    outputs = differentiable(problem.ours(*problem.leaves()))  # keeps the graph alive
    return list({function_of(node): None for node in graph(*outputs) if is_written(node)})


def plain_functions(problem: Problem) -> list[type[Function]]:
    """The Functions among them that are not rules: they may support less."""
    return [function for function in functions(problem) if not issubclass(function, Rule)]


def without_tangent(function: type[Function]) -> str | None:
    """Why a Function does not support forward mode; None where it does. The rules of this library must."""
    if not issubclass(function, Rule):
        return f"{function.__name__} has no jvp, which forward mode needs" if _lacks(function, "jvp") else None
    own = function.__module__.startswith("manual_backprop.")
    return None if own or function.tangent is not Rule.tangent else (
        f"{function.__name__} has no tangent, which forward mode needs"
    )  # fmt: skip


def without_setup(function: type[Function]) -> str | None:
    """Why a Function does not support torch.func; None where it does."""
    if issubclass(function, Rule) or not _lacks(function, "setup_context"):
        return None
    return f"{function.__name__} has no setup_context (its forward takes ctx), which torch.func needs"


def without_vmap(function: type[Function]) -> str | None:
    """Why a Function does not support vmap; None where it does."""
    if issubclass(function, Rule) or function.generate_vmap_rule or not _lacks(function, "vmap"):
        return None
    return f"{function.__name__} has neither vmap nor generate_vmap_rule = True, which vmap needs"


def reason(found: Iterable[type[Function]], *lacks: Callable[[type[Function]], str | None]) -> str | None:
    """The first reason why one of the Functions does not support something; None where all do."""
    return next((why for function in found for lack in lacks if (why := lack(function)) is not None), None)


def need(found: Iterable[type[Function]], *lacks: Callable[[type[Function]], str | None]) -> None:
    """Raises NotApplicable where one of the Functions lacks what a check needs."""
    why = reason(found, *lacks)
    if why is not None:
        raise NotApplicable(why)


def _lacks(function: type[Function], name: str) -> bool:
    return getattr(function, name) is getattr(torch.autograd.Function, name)
