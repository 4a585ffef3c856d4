"""Logsumexp, Trace, and Nansum, the sum without NaN."""

from __future__ import annotations

import torch
from torch import Tensor

from ..engine.operators import rule
from ..engine.rule import Rule
from ..engine.terms import like
from .arithmetic import conj
from .reduction import Dim, axes, spread

SOURCE = 'Griewank, Walther 2008, "Evaluating Derivatives": the adjoint of a sum is a broadcast.'

REDUCED = "input (*)   output, delta (*, without the axes, or with size 1 there)"

FLOAT32_ON_GPU = {"cuda": "float32"}


def softmax_by(input: Tensor, output: Tensor, dim: list, keepdim: bool) -> Tensor:
    """e^(x - y): the derivatives of log sum e^x."""
    return (input - spread(output, dim, keepdim, input.shape)).exp()


Logsumexp = rule(
    "logsumexp", "log sum e^x over some axes", "e^(x - y) delta",
    lambda delta, input, output, dim, keepdim:
        spread(delta, dim, keepdim, input.shape) * conj(softmax_by(input, output, dim, keepdim)),
    tangent=lambda inputs, tangents, output:
        (tangents[0] * softmax_by(inputs[0], output, *inputs[1:])).sum(axes(inputs[1], inputs[0].dim()), inputs[2]),
    takes="input, dim: Any, keepdim: bool = False", shapes=REDUCED, upcast=True, autocast=FLOAT32_ON_GPU,
)  # fmt: skip
Trace = rule(
    "trace", "sum of the diagonal", "delta on the diagonal, else 0",
    lambda delta, input_shape: delta.new_zeros(input_shape).diagonal_scatter(delta.expand(min(input_shape))),
    linear=("input",), shapes="input (M, N)   output, delta ()", autocast={"cpu": "float32"},
)  # fmt: skip


class Nansum(Rule):
    """y = sum over some axes of the x that are no NaN

    input (*)   output, delta (*, without the axes, or with size 1 there)

    delta_input = delta, repeated along the axes, and 0 where x is NaN

    Source: Griewank, Walther 2008, "Evaluating Derivatives": the adjoint of a sum is a broadcast.
    """

    operator = "nansum"
    tangent_reads = ()

    def forward(input: Tensor, dim: Dim = None, keepdim: bool = False, dtype: torch.dtype | None = None) -> Tensor:
        return torch.nansum(input, dim, keepdim, dtype=dtype)

    def delta_input(delta: Tensor, input: Tensor, dim: Dim, keepdim: bool) -> Tensor:
        delta = spread(delta, dim, keepdim, input.shape)
        return like(delta.masked_fill(input.isnan(), 0), input.shape, input.dtype)

    def tangent(inputs: tuple, tangents: tuple, output: Tensor) -> Tensor:
        input, dim, keepdim, dtype = inputs
        return torch.sum(tangents[0].masked_fill(input.isnan(), 0), dim, keepdim, dtype=dtype)
