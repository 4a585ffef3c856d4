"""Softmax, Softmin and LogSoftmax along one axis."""

from __future__ import annotations

import torch
from torch import Tensor

from ..engine.rule import Rule, choose

FLOAT32 = {"cuda": "float32"}


class Softmax(Rule):
    """y_i = e^(x_i) / sum over j of e^(x_j), i and j along dim

    input, output, delta (*)   dim: int   dtype: that of the output, or None for the input's

    delta_input = y (delta - sum along dim of y delta)

    Source: Bridle 1990, "Probabilistic interpretation of feedforward classification network outputs"; the Jacobian
    diag(y) - y y^T is symmetric, so one formula serves for deltas and for tangents.
    """

    upcast = True
    autocast = FLOAT32

    def forward(input: Tensor, dim: int, dtype: torch.dtype | None) -> Tensor:
        return choose(Softmax.output)(input, dim, dtype)

    def output(input: Tensor, dim: int, dtype: torch.dtype | None) -> Tensor:
        return input.softmax(dim, dtype=dtype)

    def delta_input(delta: Tensor, output: Tensor, dim: int) -> Tensor:
        return output * (delta - (output * delta).sum(dim, keepdim=True))

    def tangent(inputs: tuple, tangents: tuple, output: Tensor) -> Tensor:
        return Softmax.delta_input(tangents[0].to(output.dtype), output, inputs[1])


class Softmin(Rule):
    """y_i = e^(-x_i) / sum over j of e^(-x_j), i and j along dim

    input, output, delta (*)   dim: int   dtype: that of the output, or None for the input's

    delta_input = y (sum along dim of y delta - delta)

    Source: softmax of -x.
    """

    upcast = True
    autocast = FLOAT32

    def forward(input: Tensor, dim: int, dtype: torch.dtype | None) -> Tensor:
        return choose(Softmin.output)(input, dim, dtype)

    def output(input: Tensor, dim: int, dtype: torch.dtype | None) -> Tensor:
        return (-input).softmax(dim, dtype=dtype)

    def delta_input(delta: Tensor, output: Tensor, dim: int) -> Tensor:
        return output * ((output * delta).sum(dim, keepdim=True) - delta)

    def tangent(inputs: tuple, tangents: tuple, output: Tensor) -> Tensor:
        return Softmin.delta_input(tangents[0].to(output.dtype), output, inputs[1])


class LogSoftmax(Rule):
    """y_i = x_i - log of the sum over j of e^(x_j), i and j along dim

    input, output, delta (*)   dim: int   dtype: that of the output, or None for the input's

    delta_input = delta - e^y (sum along dim of delta)

    Source: the Jacobian I - 1 p^T with p = softmax(x) = e^y, transposed.
    """

    upcast = True
    autocast = FLOAT32

    def forward(input: Tensor, dim: int, dtype: torch.dtype | None) -> Tensor:
        return choose(LogSoftmax.output)(input, dim, dtype)

    def output(input: Tensor, dim: int, dtype: torch.dtype | None) -> Tensor:
        return input.log_softmax(dim, dtype=dtype)

    def delta_input(delta: Tensor, output: Tensor, dim: int) -> Tensor:
        return delta - output.exp() * delta.sum(dim, keepdim=True)

    def tangent(inputs: tuple, tangents: tuple, output: Tensor) -> Tensor:
        moved = tangents[0].to(output.dtype)
        return moved - (output.exp() * moved).sum(inputs[1], keepdim=True)
