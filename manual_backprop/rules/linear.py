"""Affine maps: Linear, Bilinear."""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from ..engine.rule import LOWER, Rule, choose
from ..engine.terms import flat, total
from ..engine.torch_private import unsafe_view
from .arithmetic import conj

WIDER = 16
"""If O / I is at least this ratio, the output counts as the logits of a large vocabulary."""


class Linear(Rule):
    """y = x W^T + b

    input (*, I)   weight (O, I) or (I,)   bias (O,) or () or None   output, delta (*, O) or (*)

    delta_input  = delta W
    grad_weight  = sum over * of delta^T x
    grad_bias    = sum over * of delta
    (W and x conjugated, where complex)

    Source: Rumelhart, Hinton, Williams 1986, "Learning representations by back-propagating errors"; in matrix form
    Wikipedia, "Backpropagation", section Matrix multiplication.
    """

    cheap = True
    costly = True
    autocast = LOWER
    tangent_reads = ()

    def forward(input: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
        return choose(Linear.output)(input, weight, bias)

    @classmethod
    def recipe(cls, inputs: tuple, output: Tensor) -> tuple | None:
        """Recompute the logits of a large vocabulary, if `mb.saving` allows costly recomputes."""
        return (Linear.forward, inputs) if output.numel() >= WIDER * inputs[0].numel() else None

    def output(input: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
        output = F.linear(input, weight, bias)
        if input.dim() != 2 and (torch.compiler.is_compiling() or output._is_view()):  # a view of a matrix
            return unsafe_view(output, output.shape)
        return output

    def delta_input(delta: Tensor, weight: Tensor) -> Tensor:
        weight = conj(weight)
        if weight.dim() == 1:
            return delta.unsqueeze(-1) * weight
        # vector on the right: with it on the left torch squeezes an axis in place, which older versions of vmap refuse
        return weight.T @ delta if delta.dim() == 1 else delta @ weight

    def grad_weight(delta: Tensor, input: Tensor) -> Tensor:
        input = conj(input)
        if delta.dim() < input.dim():  # weight (I,)
            return delta * input if input.dim() == 1 else delta.reshape(-1) @ flat(input)
        return matrix(delta).T @ matrix(input)

    def grad_bias(delta: Tensor) -> Tensor:
        return matrix(delta).sum(0)

    def tangent(inputs: tuple, tangents: tuple, output: Tensor) -> Tensor | None:
        input, weight, _ = inputs
        t_input, t_weight, t_bias = tangents
        return total(
            None if t_input is None else F.linear(t_input, weight),
            None if t_weight is None else F.linear(input, t_weight),
            None if t_bias is None else t_bias.expand_as(output),
        )

    def hints(*args: Any) -> list[str]:
        return hints_for_features(args[0], args[1].shape[-1], "input")


def matrix(tensor: Tensor) -> Tensor:
    """(*, K) as a matrix; a vector becomes its only row."""
    return tensor.unsqueeze(0) if tensor.dim() == 1 else flat(tensor)


def hints_for_features(input: Any, features: int, name: str) -> list[str]:
    """A hint if the size of the last axis does not match the weight."""
    if not isinstance(input, Tensor) or not input.dim() or input.shape[-1] == features:
        return []
    return [f"the last axis of {name} has size {input.shape[-1]}, weight expects {features}: change one or the other"]


class Bilinear(Rule):
    """y_o = x1^T W_o x2 + b_o

    input1 (*, I)   input2 (*, J)   weight (O, I, J)   bias (O,) or None   output, delta (*, O)

    delta_input1 = sum over o of delta_o W_o x2        delta_input2 = sum over o of delta_o W_o^T x1
    grad_weight_o = sum over * of delta_o x1 x2^T      grad_bias = sum over * of delta

    Source: the product rule on a form that is linear in each of its factors.
    """

    autocast = {"cuda": "promote"}  # noqa: RUF012
    tangent_reads = ()

    def forward(input1: Tensor, input2: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
        return F.bilinear(input1, input2, weight, bias)

    def delta_input1(delta: Tensor, input2: Tensor, weight: Tensor) -> Tensor:
        (outs, ins, others), rows = weight.shape, delta.shape[:-1].numel()
        weighted = flat(input2) @ weight.reshape(outs * ins, others).T  # row n holds W_o x2 for every o
        return (delta.reshape(rows, 1, outs) @ weighted.reshape(rows, outs, ins)).reshape(*delta.shape[:-1], ins)

    def delta_input2(delta: Tensor, input1: Tensor, weight: Tensor) -> Tensor:
        return Bilinear.delta_input1(delta, input1, weight.mT)

    def grad_weight(delta: Tensor, input1: Tensor, input2: Tensor) -> Tensor:
        rows, outs, ins = delta.shape[:-1].numel(), delta.shape[-1], input1.shape[-1]
        outer = delta.reshape(rows, outs, 1) * input1.reshape(rows, 1, ins)
        return (outer.reshape(rows, outs * ins).T @ flat(input2)).reshape(outs, ins, input2.shape[-1])

    def grad_bias(delta: Tensor) -> Tensor:
        return flat(delta).sum(0)

    def tangent(inputs: tuple, tangents: tuple, output: Tensor) -> Tensor | None:
        input1, input2, weight, _ = inputs
        t_input1, t_input2, t_weight, t_bias = tangents
        return total(
            None if t_input1 is None else F.bilinear(t_input1, input2, weight),
            None if t_input2 is None else F.bilinear(input1, t_input2, weight),
            None if t_weight is None else F.bilinear(input1, input2, t_weight),
            None if t_bias is None else t_bias.expand_as(output),
        )

    def hints(*args: Any) -> list[str]:
        input1, input2, weight, _ = args
        if weight.dim() != 3:
            return []
        _, first, second = weight.shape
        return [*hints_for_features(input1, first, "input1"), *hints_for_features(input2, second, "input2")]
