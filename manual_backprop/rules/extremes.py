"""Extreme values and medians, amax, amin, aminmax, max, min, median: elements equal to the result share its delta."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from ..engine.operators import rule
from ..engine.rule import Rule
from .reduction import Dim, spread

SOURCE = (
    'Griewank, Walther 2008, "Evaluating Derivatives", table of elemental adjoints; '
    "tied elements share the delta evenly, as in torch's derivatives.yaml."
)


def shared(delta: Tensor, input: Tensor, output: Tensor, dim: Dim, keepdim: bool) -> Tensor:
    """The delta of each result, divided evenly among the elements equal to it."""
    attained = input == spread(output, dim, keepdim, input.shape)
    return spread(delta, dim, keepdim, input.shape) * attained / count(attained, dim, True)


def averaged(tangent: Tensor, input: Tensor, output: Tensor, dim: Dim, keepdim: bool) -> Tensor:
    """The mean of the tangents of the elements equal to each result."""
    attained = input == spread(output, dim, keepdim, input.shape)
    moved = (tangent * attained).sum(() if dim is None else dim, keepdim)
    return moved / count(attained, dim, keepdim)


def count(attained: Tensor, dim: Dim, keepdim: bool) -> Tensor:
    return attained.sum(() if dim is None else dim, keepdim)


def attaining(input: Tensor, output: Tensor) -> Tensor:
    """True for the elements equal to the result; here NaN equals NaN."""
    return (input == output) | (input.isnan() & output.isnan())


def shared_by_all(delta: Tensor, input: Tensor, output: Tensor) -> Tensor:
    """The delta of a single result, divided evenly among the elements equal to it."""
    attained = attaining(input, output)
    return torch.where(attained, delta / attained.sum(), 0)


def averaged_over_all(tangent: Tensor, input: Tensor, output: Tensor) -> Tensor:
    """The mean of the tangents of all elements equal to a single result."""
    attained = attaining(input, output)
    return tangent.masked_fill(~attained, 0).sum() / attained.sum()


EVENLY = "delta / (how many are equal to y) where x = y, else 0"
REDUCED = "input (*)   output, delta (*, without the axes, or with size 1 there)"
TO_ONE = "input (*)   output, delta ()"

Amax = rule(
    "amax", "the largest x along some axes", EVENLY,
    lambda delta, input, output, dim, keepdim: shared(delta, input, output, dim, keepdim),
    tangent=lambda inputs, tangents, output: averaged(tangents[0], inputs[0], output, inputs[1], inputs[2]),
    takes="input, dim: Any = (), keepdim: bool = False", shapes=REDUCED,
)  # fmt: skip
Amin = rule(
    "amin", "the smallest x along some axes", EVENLY,
    lambda delta, input, output, dim, keepdim: shared(delta, input, output, dim, keepdim),
    tangent=lambda inputs, tangents, output: averaged(tangents[0], inputs[0], output, inputs[1], inputs[2]),
    takes="input, dim: Any = (), keepdim: bool = False", shapes=REDUCED,
)  # fmt: skip
Max = rule(
    "max", "the largest x", EVENLY,
    lambda delta, input, output: shared_by_all(delta, input, output),
    tangent=lambda inputs, tangents, output: averaged_over_all(tangents[0], inputs[0], output), shapes=TO_ONE,
)  # fmt: skip
Min = rule(
    "min", "the smallest x", EVENLY,
    lambda delta, input, output: shared_by_all(delta, input, output),
    tangent=lambda inputs, tangents, output: averaged_over_all(tangents[0], inputs[0], output), shapes=TO_ONE,
)  # fmt: skip
Median = rule(
    "median", "the median of x, the lower of two", EVENLY,
    lambda delta, input, output: shared_by_all(delta, input, output),
    tangent=lambda inputs, tangents, output: averaged_over_all(tangents[0], inputs[0], output), shapes=TO_ONE,
)  # fmt: skip
Nanmedian = rule(
    "nanmedian", "the median of the x that are numbers", EVENLY,
    lambda delta, input, output: shared_by_all(delta, input, output),
    tangent=lambda inputs, tangents, output: averaged_over_all(tangents[0], inputs[0], output), shapes=TO_ONE,
)  # fmt: skip


class Aminmax(Rule):
    """min, max = the smallest and the largest x along an axis, or of all

    input (*)   min, max, delta, delta_max (*, without the axis, or with size 1 there)

    delta_input = delta / (how many are equal to min) where x = min, else 0
                  + delta_max / (how many are equal to max) where x = max, else 0

    Source: Griewank, Walther 2008, "Evaluating Derivatives", table of elemental adjoints.
    """

    operator = "aminmax"
    results = ("min", "max")

    def forward(input: Tensor, dim: int | None = None, keepdim: bool = False) -> tuple:
        return tuple(torch.aminmax(input, dim=dim, keepdim=keepdim))

    def delta_input(delta: Tensor, input: Tensor, min: Tensor, dim: int | None, keepdim: bool) -> Tensor:
        return shared(delta, input, min, dim, keepdim)

    def delta_input_from_max(delta_max: Tensor, input: Tensor, max: Tensor, dim: int | None, keepdim: bool) -> Tensor:
        return shared(delta_max, input, max, dim, keepdim)

    def tangent(inputs: tuple, tangents: tuple, output: Any) -> tuple:
        input, dim, keepdim = inputs
        return tuple([averaged(tangents[0], input, value, dim, keepdim) for value in output])
