"""Expand, which repeats a tensor along axes. Other changes of shape copy no value: they are torch's own views."""

from __future__ import annotations

import torch
from torch import Tensor

from ..engine.rule import Rule
from ..engine.terms import sum_to


class Expand(Rule):
    """y = x repeated along its axes of size 1, and along new ones in front

    input (*, 1, *)   shape: sizes   output, delta (shape)

    delta_input = sum of delta over the axes along which x was repeated

    Source: Griewank, Walther 2008, "Evaluating Derivatives": where a value is used many times its adjoints add up.
    """

    returns_views = True
    linear = ("input",)

    def forward(input: Tensor, shape: tuple[int, ...]) -> Tensor:
        return input.expand(shape)

    def delta_input(delta: Tensor, input_shape: torch.Size) -> Tensor:
        return sum_to(delta, input_shape)
