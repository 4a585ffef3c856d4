"""Selection by value: the selected operand receives the delta; if two tensors tie, each receives half of it."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from ..engine.operators import elemental, pairwise
from ..engine.rule import Rule

SOURCE = "the derivative of what is taken; a subgradient at a tie, Griewank, Walther 2008, chapter 14."


def share(delta: Tensor, input: Tensor, other: Tensor, lost: Tensor) -> Tensor:
    """The delta of one operand: 0 where the other was selected, half of the delta at a tie."""
    return torch.where(lost, 0.0, torch.where(input == other, delta / 2, delta))


def between(delta: Tensor, input: Tensor, min: float | None, max: float | None) -> Tensor:
    """The delta where min < input < max, else 0; the bounds are numbers."""
    delta = delta if min is None else torch.where(input > min, delta, 0.0)
    return delta if max is None else torch.where(input < max, delta, 0.0)


LARGER = "delta_input = delta where a > b     delta_other = delta where b > a     half of it to each where a = b"
SMALLER = "delta_input = delta where a < b     delta_other = delta where b < a     half of it to each where a = b"

Maximum = pairwise(
    "maximum", "max(a, b), NaN where one is", LARGER,
    lambda delta, input, other: share(delta, input, other, input < other),
    lambda delta, input, other: share(delta, input, other, input > other),
    takes="input, other",
)  # fmt: skip
Minimum = pairwise(
    "minimum", "min(a, b), NaN where one is", SMALLER,
    lambda delta, input, other: share(delta, input, other, input > other),
    lambda delta, input, other: share(delta, input, other, input < other),
    takes="input, other",
)  # fmt: skip
Fmax = pairwise(
    "fmax", "max(a, b), the other where one is NaN", LARGER,
    lambda delta, input, other: share(delta, input, other, input < other),
    lambda delta, input, other: share(delta, input, other, input > other),
    takes="input, other",
)  # fmt: skip
Fmin = pairwise(
    "fmin", "min(a, b), the other where one is NaN", SMALLER,
    lambda delta, input, other: share(delta, input, other, input > other),
    lambda delta, input, other: share(delta, input, other, input < other),
    takes="input, other",
)  # fmt: skip
MaskedFill = pairwise(
    "masked_fill", "a value where the mask is set, else x",
    "delta_input = delta where the mask is not set, else 0     delta_value = sum of delta where it is",
    lambda delta, mask: torch.where(mask, 0.0, delta),
    takes="input, mask, value: Any", delta_value=lambda delta, mask: torch.where(mask, delta, 0.0),
    shapes="input, mask (*, broadcast)   value () or number   output, delta (*)",
)  # fmt: skip
Fill = pairwise(
    "fill", "a value everywhere", "delta_input = 0     delta_value = sum of delta",
    lambda delta: torch.zeros_like(delta), lambda delta: delta,
    forward_=lambda input, value: input.fill_(value),
    takes="input, value: Any", shapes="input, output, delta (*)   value () or number",
)  # fmt: skip
Zero = elemental(
    "zero", "0", "0", lambda delta: torch.zeros_like(delta), forward_=lambda input: input.zero_(),
)  # fmt: skip


class Where(Rule):
    """y = a where the condition holds, else b

    condition, input, other (*, broadcast)   output, delta (*)

    delta_input = delta where the condition holds, else 0     delta_other = delta where it does not

    Source: the derivative of what is taken.
    """

    operator = "where.self"
    broadcasts = True
    tangent_reads = ()

    def forward(condition: Tensor, input: Any, other: Any) -> Tensor:
        return torch.where(condition, input, other)

    def delta_input(delta: Tensor, condition: Tensor) -> Tensor:
        return torch.where(condition, delta, 0.0)

    def delta_other(delta: Tensor, condition: Tensor) -> Tensor:
        return torch.where(condition, 0.0, delta)

    def tangent(inputs: tuple, tangents: tuple, output: Tensor) -> Tensor:
        _, t_input, t_other = tangents
        moved = torch.where(inputs[0], 0.0 if t_input is None else t_input, 0.0 if t_other is None else t_other)
        return moved.expand_as(output).to(output.dtype)


class Clamp(Rule):
    """y = x between bounds: min where x < min, then max where that is > max

    input, min, max (*, broadcast), or min, max numbers or None   output, delta (*)

    delta_input = delta where min < x < max     delta_min = delta where x < min <= max
    delta_max = delta where x > max >= min, and where min > max
    where x meets one of two bounds that are tensors, half to each; x itself where both bounds are one

    Source: the derivative of what is taken.
    """

    operator = "clamp"
    elementwise = True
    broadcasts = True

    def forward(input: Tensor, min: Any = None, max: Any = None) -> Tensor:
        return torch.clamp(input, min, max)

    def delta_input(delta: Tensor, input: Tensor, min: Any, max: Any) -> Tensor:
        if not isinstance(min, Tensor):
            return between(delta, input, min, max)
        met = ((input == min) | (input == max)) & (min < max)
        return torch.where((input < min) | (input > max), 0.0, torch.where(met, delta / 2, delta))

    def delta_min(delta: Tensor, input: Tensor, min: Tensor, max: Tensor) -> Tensor:
        below, met = (input < min) & (min <= max), (input == min) & (min < max)
        return torch.where(below, delta, torch.where(met, delta / 2, 0.0))

    def delta_max(delta: Tensor, input: Tensor, min: Tensor, max: Tensor) -> Tensor:
        above, met = (input > max) & (min <= max) | (min > max), (input == max) & (min < max)
        return torch.where(above, delta, torch.where(met, delta / 2, 0.0))


class ClampMin(Rule):
    """y = max(x, min)

    input (*, broadcast)   min (*, broadcast) or number   output, delta (*)

    delta_input = delta where x > min     delta_min = delta where x < min     half of it to each at a tie of two tensors

    Source: the derivative of what is taken.
    """

    operator = "clamp_min"
    elementwise = True
    broadcasts = True

    def forward(input: Tensor, min: Any) -> Tensor:
        return torch.clamp_min(input, min)

    def delta_input(delta: Tensor, input: Tensor, min: Any) -> Tensor:
        if isinstance(min, Tensor):
            return share(delta, input, min, input < min)
        return torch.where(input > min, delta, 0.0)

    def delta_min(delta: Tensor, input: Tensor, min: Tensor) -> Tensor:
        return share(delta, input, min, input > min)


class ClampMax(Rule):
    """y = min(x, max)

    input (*, broadcast)   max (*, broadcast) or number   output, delta (*)

    delta_input = delta where x < max     delta_max = delta where x > max     half of it to each at a tie of two tensors

    Source: the derivative of what is taken.
    """

    operator = "clamp_max"
    elementwise = True
    broadcasts = True

    def forward(input: Tensor, max: Any) -> Tensor:
        return torch.clamp_max(input, max)

    def delta_input(delta: Tensor, input: Tensor, max: Any) -> Tensor:
        if isinstance(max, Tensor):
            return share(delta, input, max, input > max)
        return torch.where(input < max, delta, 0.0)

    def delta_max(delta: Tensor, input: Tensor, max: Tensor) -> Tensor:
        return share(delta, input, max, input < max)
