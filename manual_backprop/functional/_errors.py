"""torch's errors with more detail: what the call got, what the rule expects, and what to do about it."""

from __future__ import annotations

import inspect
import math
import reprlib
from collections.abc import Sequence
from typing import Any

from torch import Tensor

from ..engine.rule import Rule, paragraphs

EXPLAINED = (RuntimeError, NotImplementedError, TypeError, ValueError, IndexError)


def explained(error: Exception, rule: type[Rule], args: tuple) -> Exception:
    """An error of the same type: torch's message, the rule's formula and shapes, the arguments, and hints."""
    named = _named(rule, args)
    formula, shapes, *_ = [*paragraphs(rule), "", ""]  # a user's rule may have a short docstring or none
    lines = [
        str(error),
        f"  in {rule.__name__}" + (f": {' '.join(formula.splitlines())}" if formula else ""),
        f"  got:      {', '.join(f'{name} {_described(value)}' for name, value in named.items())}",
    ]
    if shapes:
        lines.append(f"  expected: {shapes}".replace("\n", "\n" + " " * 12))
    lines += [f"  hint:     {hint}" for hint in (*_hints(named), *rule.hints(*args))]
    told = type(error)("\n".join(lines))
    told.explained = True  # type: ignore[attr-defined]
    return told


def _named(rule: type[Rule], args: tuple) -> dict[str, Any]:
    """The arguments by name; for *tensors: tensors[0], tensors[1], ..."""
    named: dict[str, Any] = {}
    for i, parameter in enumerate(inspect.signature(rule.forward).parameters.values()):
        if parameter.kind is parameter.VAR_POSITIONAL:
            named |= {f"{parameter.name}[{j}]": value for j, value in enumerate(args[i:])}
        elif i < len(args):
            named[parameter.name] = args[i]
    return named


def _described(value: Any) -> str:
    if isinstance(value, Tensor):
        return f"{tuple(value.shape)} {str(value.dtype).removeprefix('torch.')} on {value.device}"
    return reprlib.repr(value)


def _hints(named: dict[str, Any]) -> list[str]:
    tensors = {name: value for name, value in named.items() if isinstance(value, Tensor)}
    whole = [
        name
        for name, v in tensors.items()
        if name.startswith("input") and not (v.is_floating_point() or v.is_complex())
    ]
    hints = [f"{name} holds integers, layers compute with floating point: pass {name}.float()" for name in whole]
    if not whole and len({v.dtype for v in tensors.values() if v.is_floating_point()}) > 1:
        hints.append("the tensors have several floating point dtypes: convert them to one, e.g. with .to(weight.dtype)")
    if len({v.device for v in tensors.values()}) > 1:
        hints.append("the tensors lie on several devices: move them to one with .to(device)")
    return hints


def check_tensors(function: str, **arguments: Any) -> None:
    """TypeError, as torch raises it, for an argument that is not a tensor."""
    for name, value in arguments.items():
        if not isinstance(value, Tensor):
            raise TypeError(
                f"{function}(): argument '{name}' must be Tensor, not {type(value).__name__}. "
                f"got: {reprlib.repr(value)}. Convert numbers and lists with torch.as_tensor({name})"
            )


def refuse_single_values(size: Sequence[int]) -> None:
    """ValueError, as torch raises it, for a size (N, C, *) with a single value per channel: it has no variance."""
    if math.prod((size[0], *size[2:])) == 1:
        raise ValueError(f"Expected more than 1 value per channel when training, got input size {size}")
