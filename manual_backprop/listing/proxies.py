"""Proxies of rules: a call of a rule's function is recorded as one line, and what it calls in turn is not.

A rule's `backward` runs with its own code, but with proxies in place of rules. So `Linear.delta_input(...)` is recorded
as one line, without what the formula computes inside. Helper functions of this library that a backward calls, such as
`total`, run with the same proxies. So the rules' functions that they call are recorded, too.
"""

from __future__ import annotations

import inspect
import types
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from ..engine.rule import Rule
from .roles import RESULTS
from .tape import Part, ShapeOf, Tape, Value

OWN = __name__.partition(".")[0]

NOT_FORMULAS = ("setup_context", "backward", "tangent", "derivatives", "recipe", "hints", "jvp", "vmap")


class Proxies:
    """Proxies of rules for one tape. `granularity`: "formulas"; "kernels": `derivatives`, too, is one call, and a
    kernel replaces its formula; "torch": only calls of torch are recorded."""

    def __init__(self, tape: Tape, granularity: str, quiet: Callable[[], Any], chosen: Callable[..., Any]) -> None:
        self.tape, self.granularity, self.quiet, self.chosen = tape, granularity, quiet, chosen
        self.made: dict[Any, Any] = {}
        self.hints: dict[str, Any] = {}
        """Values of the forward's arguments of the rule that runs, by name: they give <argument>_shape its text."""

    def of(self, thing: Any) -> Any:
        """The proxy of a rule, or a function of this library with proxies inside."""
        if isinstance(thing, type) and issubclass(thing, Rule):
            return self.made.setdefault(thing, RuleProxy(thing, self))
        if isinstance(thing, types.FunctionType) and thing.__module__.partition(".")[0] == OWN:
            if thing.__name__ == "choose":
                return _itself
            if thing.__name__ == "differentiable":
                return _forward
            if thing.__module__.endswith("torch_private"):
                return thing
            return self.rebuilt(thing)
        return thing

    def rebuilt(self, function: types.FunctionType) -> types.FunctionType:
        """The same code, with proxies for the names that it reads."""
        if function not in self.made:
            scope = _Scope(function.__globals__, self)
            made = types.FunctionType(
                function.__code__, scope, function.__name__, function.__defaults__, function.__closure__
            )
            made.__kwdefaults__ = function.__kwdefaults__
            self.made[function] = made
            scope.fill(function.__code__)
        return self.made[function]

    def called(self, rule: type[Rule], name: str, function: Callable[..., Any], args: tuple, kwargs: dict) -> Any:
        """Run a function of a rule and record it as one line, without what it calls."""
        run = self.chosen(function) if self.granularity == "kernels" else function
        with self.quiet():
            output = run(*args, **kwargs)
        self.noted(rule, name, function, args, output)
        return output

    def noted(self, rule: type[Rule], name: str, function: Callable[..., Any], args: tuple, output: Any) -> None:
        if any(isinstance(o, Tensor) for o in (output if isinstance(output, (tuple, list)) else (output,))):
            parts: list[Part] = [f"{rule.__name__}.{name}(", *self.arguments(function, args), ")"]
            options = dict(zip(inspect.signature(function).parameters, args, strict=False))
            options = {k: v for k, v in options.items() if isinstance(v, (bool, int, float, str, type(None)))}
            line = self.tape.add(parts, output, function=(rule, name), options=options)
            for value, role in zip(line.results if line else (), RESULTS.get((rule.__name__, name), ()), strict=False):
                if value is not None:
                    value.role = role

    def arguments(self, function: Callable[..., Any], args: tuple) -> list[Part]:
        """Arguments as source: by position up to the first constant, by name from there on."""
        parameters = list(inspect.signature(function).parameters.values())
        # a kernel takes the arguments of its formula under other names
        by_place = self.granularity == "kernels" or any(p.kind is p.VAR_POSITIONAL for p in parameters)
        parts: list[Part] = []
        named = False
        for k, value in enumerate(args):
            named = (named or not isinstance(value, Tensor)) and not by_place
            parts.append(", ")
            if named:
                parts.append(f"{parameters[k].name}=")
            shape = not by_place and parameters[k].name.endswith("_shape")
            source = self.hints.get(parameters[k].name.removesuffix("_shape")) if shape else None
            if isinstance(source, Value):
                parts.append(ShapeOf(source, torch.Size(value)))
            else:
                parts += self.tape.written(value)
        return parts[1:]


class _Scope(dict):
    """Globals of a function, in which names give proxies."""

    def __init__(self, source: dict[str, Any], proxies: Proxies) -> None:
        super().__init__(source)
        self._proxies = proxies

    def fill(self, code: types.CodeType) -> None:
        for name in code.co_names:
            if name in self:
                self[name] = self._proxies.of(self[name])
        for constant in code.co_consts:
            if isinstance(constant, types.CodeType):
                self.fill(constant)


class RuleProxy:
    """A rule whose functions are recorded when they are called."""

    def __init__(self, rule: type[Rule], proxies: Proxies) -> None:
        self._rule, self._proxies = rule, proxies

    def __getattr__(self, name: str) -> Any:
        found = getattr(self._rule, name)
        if not isinstance(found, types.FunctionType):
            return found
        joint = name == "derivatives" and self._proxies.granularity == "kernels"
        if self._proxies.granularity == "torch" or (name in NOT_FORMULAS and not joint):
            return self._proxies.rebuilt(found)

        def run(*args: Any, **kwargs: Any) -> Any:
            return self._proxies.called(self._rule, name, found, args, kwargs)

        if self._proxies.granularity == "kernels" and hasattr(self._proxies.chosen(found), "rounds_once"):
            run.rounds_once = True  # type: ignore[attr-defined]
        return run


def _itself(formula: Any) -> Any:
    return formula


def _forward(rule: Any) -> Any:
    return rule.forward
