"""Values attained by some elements, which share the delta: amax, amin, aminmax, and max, min, median of all."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from ..engine.operators import rule
from ..engine.rule import Rule
from .reduction import Dim, spread

SOURCE = (
    'Griewank, Walther 2008, "Evaluating Derivatives", table of elemental adjoints; '
    "elements that tie share the delta evenly, as in torch's derivatives.yaml."
)


def shared(delta: Tensor, input: Tensor, output: Tensor, dim: Dim, keepdim: bool) -> Tensor:
    """The delta of each value, in equal parts to the elements that are equal to it."""
    attained = input == spread(output, dim, keepdim, input.shape)
    return spread(delta, dim, keepdim, input.shape) * attained / count(attained, dim, True)


def averaged(tangent: Tensor, input: Tensor, output: Tensor, dim: Dim, keepdim: bool) -> Tensor:
    """The mean of a tangent over the elements that are equal to the value."""
    attained = input == spread(output, dim, keepdim, input.shape)
    moved = (tangent * attained).sum(() if dim is None else dim, keepdim)
    return moved / count(attained, dim, keepdim)


def count(attained: Tensor, dim: Dim, keepdim: bool) -> Tensor:
    return attained.sum(() if dim is None else dim, keepdim)


def attaining(input: Tensor, output: Tensor) -> Tensor:
    """Which elements are the value; NaN is itself here."""
    return (input == output) | (input.isnan() & output.isnan())


def extreme(operator: str, text: str) -> type[Rule]:
    return rule(
        operator, f"the {text} x along some axes", "delta / (how many are equal to y) where x = y, else 0",
        lambda delta, input, output, dim, keepdim: shared(delta, input, output, dim, keepdim),
        tangent=lambda inputs, tangents, output: averaged(tangents[0], inputs[0], output, inputs[1], inputs[2]),
        takes="input, dim: Any = (), keepdim: bool = False",
        shapes="input (*)   output, delta (*, without the axes, or with size 1 there)",
    )  # fmt: skip


def of_all(operator: str, text: str) -> type[Rule]:
    return rule(
        operator, f"the {text} of x", "delta / (how many are equal to y) where x = y, else 0",
        lambda delta, input, output: torch.where(at := attaining(input, output), delta / at.sum(), 0),
        tangent=lambda inputs, tangents, output: (tangents[0] * (at := attaining(inputs[0], output))).sum() / at.sum(),
        shapes="input (*)   output, delta ()",
    )  # fmt: skip


Amax = extreme("amax", "largest")
Amin = extreme("amin", "smallest")
Max = of_all("max", "largest element")
Min = of_all("min", "smallest element")
Median = of_all("median", "median, the lower of two,")
Nanmedian = of_all("nanmedian", "median of what is a number")


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
