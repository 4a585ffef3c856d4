"""Operators that torch itself calls, and that a program may call, too: SafeSoftmax, and the derivatives of softmax,
log_softmax and dropout. Each is differentiated like any other function."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from ..engine.rule import Rule
from .softmax import Softmax


class SafeSoftmax(Rule):
    """y_i = e^(x_i) / sum over j of e^(x_j), i and j along dim; 0 where all x are -infinity

    input, output, delta (*)   dim: int   dtype: that of the output, or None for the input's

    delta_input = y (delta - sum along dim of y delta)

    Source: Bridle 1990, "Probabilistic interpretation of feedforward classification network outputs".
    """

    upcast = True

    def forward(input: Tensor, dim: int, dtype: torch.dtype | None) -> Tensor:
        unseen = (input == -math.inf).all(dim, keepdim=True)
        return input.softmax(dim, dtype=dtype).masked_fill(unseen, 0)

    def delta_input(delta: Tensor, output: Tensor, dim: int) -> Tensor:
        return Softmax.delta_input(delta, output, dim)

    def tangent(inputs: tuple, tangents: tuple, output: Tensor) -> Tensor:
        return Softmax.delta_input(tangents[0].to(output.dtype), output, inputs[1])


class SoftmaxBackward(Rule):
    """r = y (g - sum along dim of y g), the delta of softmax's input

    input g, softmax y, output, delta (*)   dim: int   dtype: that of the output

    delta_input = y (delta - sum along dim of y delta)
    delta_softmax = (g - sum along dim of y g) delta - g sum along dim of y delta

    Source: the product rule on the formula; its Jacobian by g, diag(y) - y y^T, is symmetric.
    """

    def forward(input: Tensor, softmax: Tensor, dim: int, dtype: torch.dtype) -> Tensor:
        return Softmax.delta_input(input, softmax, dim).to(dtype)

    def delta_input(delta: Tensor, softmax: Tensor, dim: int) -> Tensor:
        return Softmax.delta_input(delta.to(softmax.dtype), softmax, dim)

    def delta_softmax(delta: Tensor, input: Tensor, softmax: Tensor, dim: int) -> Tensor:
        delta = delta.to(softmax.dtype)
        mean = (softmax * input).sum(dim, keepdim=True)
        return (input - mean) * delta - input * (softmax * delta).sum(dim, keepdim=True)

    def tangent(inputs: tuple, tangents: tuple, output: Tensor) -> Tensor:
        input, softmax, dim, _ = inputs
        t_input, t_softmax = tangents[:2]
        moved = torch.zeros_like(softmax) if t_input is None else Softmax.delta_input(t_input, softmax, dim)
        if t_softmax is not None:
            mean = (softmax * input).sum(dim, keepdim=True)
            moved = moved + t_softmax * (input - mean) - softmax * (t_softmax * input).sum(dim, keepdim=True)
        return moved.to(output.dtype)


class LogSoftmaxBackward(Rule):
    """r = g - e^y sum along dim of g, the delta of log_softmax's input

    input g, log_softmax y, output, delta (*)   dim: int   dtype: that of the output

    delta_input = delta - sum along dim of e^y delta     delta_log_softmax = -e^y delta sum along dim of g

    Source: the product rule on the formula.
    """

    def forward(input: Tensor, log_softmax: Tensor, dim: int, dtype: torch.dtype) -> Tensor:
        return (input - log_softmax.exp() * input.sum(dim, keepdim=True)).to(dtype)

    def delta_input(delta: Tensor, log_softmax: Tensor, dim: int) -> Tensor:
        delta = delta.to(log_softmax.dtype)
        return delta - (log_softmax.exp() * delta).sum(dim, keepdim=True)

    def delta_log_softmax(delta: Tensor, input: Tensor, log_softmax: Tensor, dim: int) -> Tensor:
        return -log_softmax.exp() * delta.to(log_softmax.dtype) * input.sum(dim, keepdim=True)

    def tangent(inputs: tuple, tangents: tuple, output: Tensor) -> Tensor:
        input, log_softmax, dim, _ = inputs
        t_input, t_log_softmax = tangents[:2]
        moved = torch.zeros_like(log_softmax)
        if t_input is not None:
            moved = t_input - log_softmax.exp() * t_input.sum(dim, keepdim=True)
        if t_log_softmax is not None:
            moved = moved - log_softmax.exp() * t_log_softmax * input.sum(dim, keepdim=True)
        return moved.to(output.dtype)
