"""Weights parametrized by length and direction: WeightNorm."""

from __future__ import annotations

import torch
from torch import Tensor

from ..engine.rule import Rule


class WeightNorm(Rule):
    """w = g v / n,   n = |v|, the length over all axes but dim

    input v (*)   g: size 1 in all axes but dim   dim: int, or -1 for one length of all   output, delta (*)

    delta_input = g / n (delta - u sum of u delta),  u = v / n     grad_g = sum of u delta     over all axes but dim

    Source: Salimans, Kingma 2016, "Weight normalization", equation 3.
    """

    upcast = True

    def forward(input: Tensor, g: Tensor, dim: int) -> Tensor:
        return input * (g / torch.norm_except_dim(input, 2, dim))

    def along(delta: Tensor, input: Tensor, dim: int) -> Tensor:
        """The sum of v delta over all axes but dim."""
        axes = [axis for axis in range(input.dim()) if axis != dim]
        return (input * delta).sum(axes, keepdim=dim >= 0) if axes else input * delta

    def length(input: Tensor, dim: int) -> Tensor:
        axes = [axis for axis in range(input.dim()) if axis != dim]
        return torch.linalg.vector_norm(input, 2, axes, keepdim=dim >= 0) if axes else input.abs()

    def delta_input(delta: Tensor, input: Tensor, g: Tensor, along: Tensor, length: Tensor) -> Tensor:
        return g / length * (delta - input * (along / length.square()))

    def grad_g(along: Tensor, length: Tensor, g_shape: torch.Size) -> Tensor:
        return (along / length).reshape(g_shape)

    def tangent(inputs: tuple, tangents: tuple, output: Tensor) -> Tensor:
        input, g, dim = inputs
        t_input, t_g = tangents[:2]
        length = WeightNorm.length(input, dim)
        moved = torch.zeros_like(input) if t_g is None else input * (t_g / length)
        if t_input is not None:
            moved = moved + g / length * (t_input - input * (WeightNorm.along(t_input, input, dim) / length.square()))
        return moved
