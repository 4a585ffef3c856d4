"""A bias and the activation after it: BiasActivation.

They are one rule because one pass over memory computes both. The gradient of the bias is a sum over all rows of the
delta that the pass computes; it need not read this delta again.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import torch
from torch import Tensor

from ..engine.rule import Rule, choose
from ..engine.terms import sum_to, total, widened
from .gated import GELU, SQRT_HALF
from .rectifiers import ReLU
from .smooth import Mish, Sigmoid, SiLU, Tanh


class Activation(NamedTuple):
    """f(z), and the delta of z, computed from the delta of y and the saved tensor: the output y, or z."""

    output: Callable[[Tensor], Tensor]
    delta_input: Callable[[Tensor, Tensor], Tensor]
    by_output: bool


def gelu(z: Tensor) -> Tensor:
    return z * (0.5 * torch.erfc(-(SQRT_HALF * z)))


def silu(z: Tensor) -> Tensor:
    return z * torch.sigmoid(z)


ACTIVATIONS = {
    "relu": Activation(ReLU.output, ReLU.delta_input, True),
    "gelu": Activation(lambda z: gelu(z), GELU.by_erf, False),
    "gelu_tanh": Activation(GELU.output_tanh, GELU.by_tanh, False),
    "silu": Activation(lambda z: silu(z), SiLU.delta_input, False),
    "mish": Activation(Mish.output, Mish.delta_input, False),
    "tanh": Activation(Tanh.output, Tanh.delta_input, True),
    "sigmoid": Activation(torch.sigmoid, Sigmoid.delta_input, True),
}


class BiasActivation(Rule):
    """y = f(z),   z = x + b, f one of the activations that act on each element alone

    input, output, delta (*, O)   bias (O,)   activation: a name of `ACTIVATIONS`

    delta_input  = f'(z) delta
    grad_bias    = sum over * of delta_input

    Source: the delta of a layer, Rumelhart, Hinton, Williams 1986; f' as in the rule of the activation.
    """

    cheap = True
    tangent_reads = ()

    def forward(input: Tensor, bias: Tensor, activation: str) -> Tensor:
        return choose(BiasActivation.output)(input, bias, activation)

    def output(input: Tensor, bias: Tensor, activation: str) -> Tensor:
        dtype = torch.promote_types(input.dtype, bias.dtype)
        made: Tensor = widened(BiasActivation.activated, input, bias, activation)
        # torch.compile of torch 2.11 loses the gradient of an output if .to() returns it unchanged
        return made if made.dtype == dtype else made.to(dtype)

    def activated(input: Tensor, bias: Tensor, activation: str) -> Tensor:
        return ACTIVATIONS[activation].output(input + bias)

    @classmethod
    def recipe(cls, inputs: tuple, output: Tensor) -> tuple:
        return BiasActivation.output, inputs

    def setup_context(ctx: Any, inputs: tuple, output: Tensor) -> None:
        input, bias, ctx.activation = inputs
        ctx.dtypes, ctx.shape = (input.dtype, bias.dtype), bias.shape
        if ACTIVATIONS[ctx.activation].by_output:
            ctx.save_for_backward(output, None)
        else:
            ctx.save_for_backward(input, bias)

    # written by hand, since the activation decides what is saved: the output, or input and bias
    def backward(ctx: Any, delta: Tensor) -> tuple:
        needs_input, needs_bias, _ = ctx.needs_input_grad
        kept, bias = ctx.saved_tensors
        derivatives, needs = choose(BiasActivation.derivatives), (needs_input, needs_bias)
        delta_input, grad_bias = widened(derivatives, delta, kept, bias, ctx.activation, ctx.shape, needs)
        return (
            delta_input.to(ctx.dtypes[0]) if needs_input else None,
            grad_bias.to(ctx.dtypes[1]) if needs_bias else None,
            None,
        )

    def derivatives(
        delta: Tensor, kept: Tensor, bias: Tensor | None, activation: str, shape: torch.Size, needs: tuple[bool, bool]
    ) -> tuple:
        """delta_input and grad_bias, each None where it is not needed; kept: y if bias is None, else x."""
        delta_input = BiasActivation.delta_input(delta, kept, bias, activation)
        return delta_input if needs[0] else None, BiasActivation.grad_bias(delta_input, shape) if needs[1] else None

    def delta_input(delta: Tensor, kept: Tensor, bias: Tensor | None, activation: str) -> Tensor:
        return ACTIVATIONS[activation].delta_input(delta, kept if bias is None else kept + bias)

    def grad_bias(delta_input: Tensor, shape: torch.Size) -> Tensor:
        return sum_to(delta_input, shape)

    def tangent(inputs: tuple, tangents: tuple, output: Tensor) -> Tensor:
        input, bias, activation = inputs
        moved = total(tangents[0], tangents[1])
        assert moved is not None
        chosen, z = ACTIVATIONS[activation], input + bias
        return chosen.delta_input(moved.expand_as(output), chosen.output(z) if chosen.by_output else z)
