"""Exponential linear units: ELU, CELU, SELU.

All act on each element alone, so their Jacobians are diagonal, and a tangent passes through as a delta does.
At the kinks and for NaN the comparisons are those of ATen's scalar loops and CUDA kernels.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from ._rule import Rule, choose, in_opmath
from .rectifiers import refuse_negative_slope

SELU_ALPHA = 1.6732632423543772848170429916717
SELU_SCALE = 1.0507009873554804934193349852946


def exp_of_negative(input: Tensor) -> Tensor:
    """e^min(x, 0): the positive part, which overflows, is never used, but would make second derivatives NaN."""
    return input.clamp(max=0).exp()


class ELU(Rule):
    """y = x where x > 0, else alpha (e^x - 1)

    input, output, delta (*)   alpha: number

    delta_input = delta where x > 0, else alpha e^x delta      (in place: (y + alpha) delta, alpha not negative)

    Source: Clevert, Unterthiner, Hochreiter 2016, "Fast and accurate deep network learning by exponential linear
    units".
    """

    cheap = True
    keeps_input = False
    tangent_reads = ()

    @staticmethod
    def forward(input: Tensor, alpha: float) -> Tensor:
        return in_opmath(choose(ELU.output), input, alpha)

    @staticmethod
    def output(input: Tensor, alpha: float) -> Tensor:
        return torch.where(input <= 0, alpha * torch.expm1(input.clamp(max=0)), input)

    @staticmethod
    def forward_(input: Tensor, alpha: float) -> Tensor:
        return choose(ELU.output_)(input, alpha)

    @staticmethod
    def output_(input: Tensor, alpha: float) -> Tensor:
        return input.copy_(in_opmath(ELU.output, input, alpha))

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple, output: Tensor) -> None:
        input, ctx.alpha = inputs
        ctx.in_place = output is input
        ctx.save_for_backward(input)

    @staticmethod
    def backward(ctx: Any, delta: Tensor) -> tuple:
        refuse_negative_slope(ctx, ctx.alpha, "elu")
        formula = ELU.delta_input_in_place if ctx.in_place else ELU.delta_input
        return in_opmath(choose(formula), delta, *ctx.saved_tensors, ctx.alpha), None

    @staticmethod
    def delta_input(delta: Tensor, input: Tensor, alpha: float) -> Tensor:
        return torch.where(input <= 0, delta * (alpha * exp_of_negative(input)), delta)

    @staticmethod
    def delta_input_in_place(delta: Tensor, output: Tensor, alpha: float) -> Tensor:
        return torch.where(output <= 0, delta * (output + alpha), delta)

    @staticmethod
    def tangent(inputs: tuple, tangents: tuple, output: Tensor) -> Tensor:
        return ELU.delta_input(tangents[0], *inputs)


class CELU(Rule):
    """y = x where x > 0, else alpha (e^(x / alpha) - 1)

    input, output, delta (*)   alpha: number, not 0

    delta_input = delta where x > 0, else e^(x / alpha) delta      (in place: (y / alpha + 1) delta, alpha positive)

    Source: Barron 2017, "Continuously differentiable exponential linear units".
    """

    cheap = True
    keeps_input = False
    tangent_reads = ()

    @staticmethod
    def forward(input: Tensor, alpha: float) -> Tensor:
        return in_opmath(choose(CELU.output), input, alpha)

    @staticmethod
    def output(input: Tensor, alpha: float) -> Tensor:
        return torch.where(input <= 0, alpha * torch.expm1(input.clamp(max=0) / alpha), input)

    @staticmethod
    def forward_(input: Tensor, alpha: float) -> Tensor:
        return choose(CELU.output_)(input, alpha)

    @staticmethod
    def output_(input: Tensor, alpha: float) -> Tensor:
        return input.copy_(in_opmath(CELU.output, input, alpha))

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple, output: Tensor) -> None:
        input, ctx.alpha = inputs
        ctx.in_place = output is input
        ctx.save_for_backward(input)

    @staticmethod
    def backward(ctx: Any, delta: Tensor) -> tuple:
        refuse_negative_slope(ctx, ctx.alpha, "elu")
        formula = CELU.delta_input_in_place if ctx.in_place else CELU.delta_input
        return in_opmath(choose(formula), delta, *ctx.saved_tensors, ctx.alpha), None

    @staticmethod
    def delta_input(delta: Tensor, input: Tensor, alpha: float) -> Tensor:
        return torch.where(input <= 0, delta * (input.clamp(max=0) / alpha).exp(), delta)

    @staticmethod
    def delta_input_in_place(delta: Tensor, output: Tensor, alpha: float) -> Tensor:
        return torch.where(output <= 0, delta * (output / alpha + 1), delta)

    @staticmethod
    def tangent(inputs: tuple, tangents: tuple, output: Tensor) -> Tensor:
        return CELU.delta_input(tangents[0], *inputs)


class SELU(Rule):
    """y = scale x where x > 0, else scale alpha (e^x - 1); scale = 1.0507..., alpha = 1.6732...

    input, output, delta (*)

    delta_input = scale delta where x > 0, else scale alpha e^x delta      (in place: (y + scale alpha) delta)

    Source: Klambauer, Unterthiner, Mayr, Hochreiter 2017, "Self-normalizing neural networks".
    """

    cheap = True
    keeps_input = False
    tangent_reads = ()

    @staticmethod
    def forward(input: Tensor) -> Tensor:
        return in_opmath(choose(SELU.output), input)

    @staticmethod
    def output(input: Tensor) -> Tensor:
        return torch.where(input <= 0, (SELU_SCALE * SELU_ALPHA) * torch.expm1(input.clamp(max=0)), SELU_SCALE * input)

    @staticmethod
    def forward_(input: Tensor) -> Tensor:
        return choose(SELU.output_)(input)

    @staticmethod
    def output_(input: Tensor) -> Tensor:
        return input.copy_(in_opmath(SELU.output, input))

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple, output: Tensor) -> None:
        ctx.in_place = output is inputs[0]
        ctx.save_for_backward(inputs[0])

    @staticmethod
    def backward(ctx: Any, delta: Tensor) -> Tensor:
        formula = SELU.delta_input_in_place if ctx.in_place else SELU.delta_input
        return in_opmath(choose(formula), delta, *ctx.saved_tensors)

    @staticmethod
    def delta_input(delta: Tensor, input: Tensor) -> Tensor:
        slope = (SELU_SCALE * SELU_ALPHA) * exp_of_negative(input)
        return delta * torch.where(input <= 0, slope, SELU_SCALE)

    @staticmethod
    def delta_input_in_place(delta: Tensor, output: Tensor) -> Tensor:
        return delta * torch.where(output <= 0, output + SELU_SCALE * SELU_ALPHA, SELU_SCALE)

    @staticmethod
    def tangent(inputs: tuple, tangents: tuple, output: Tensor) -> Tensor:
        return SELU.delta_input(tangents[0], inputs[0])
