"""Exponential linear units: ELU, CELU, SELU.

All are elementwise, so their Jacobians are diagonal, and one formula serves for deltas and for tangents.
At kinks and for NaN they compare as ATen's scalar loops and CUDA kernels do.
"""

from __future__ import annotations

import torch
from torch import Tensor

from ..engine.rule import Rule, choose
from ..engine.terms import in_opmath

SELU_ALPHA = 1.6732632423543772848170429916717
SELU_SCALE = 1.0507009873554804934193349852946


def exp_of_negative(input: Tensor) -> Tensor:
    """e^min(x, 0). e^x of a large x is never used, but its overflow would make second derivatives NaN."""
    return input.clamp(max=0).exp()


class ELU(Rule):
    """y = x where x > 0, else alpha (e^x - 1)

    input, output, delta (*)   alpha: number

    delta_input = delta where x > 0, else alpha e^x delta      (in place: (y + alpha) delta, alpha not negative)

    Source: Clevert, Unterthiner, Hochreiter 2016, "Fast and accurate deep network learning by exponential linear
    units".
    """

    elementwise = True
    upcast = True
    cheap = True
    in_place_slope = "alpha", "elu"

    def forward(input: Tensor, alpha: float) -> Tensor:
        return in_opmath(choose(ELU.output), input, alpha)

    def output(input: Tensor, alpha: float) -> Tensor:
        return torch.where(input <= 0, alpha * torch.expm1(input.clamp(max=0)), input)

    def forward_(input: Tensor, alpha: float) -> Tensor:
        return choose(ELU.output_)(input, alpha)

    def output_(input: Tensor, alpha: float) -> Tensor:
        return input.copy_(in_opmath(ELU.output, input, alpha))

    def delta_input(delta: Tensor, input: Tensor, alpha: float) -> Tensor:
        return torch.where(input <= 0, delta * (alpha * exp_of_negative(input)), delta)

    def delta_input_in_place(delta: Tensor, output: Tensor, alpha: float) -> Tensor:
        return torch.where(output <= 0, delta * (output + alpha), delta)


class CELU(Rule):
    """y = x where x > 0, else alpha (e^(x / alpha) - 1)

    input, output, delta (*)   alpha: number, not 0

    delta_input = delta where x > 0, else e^(x / alpha) delta      (in place: (y / alpha + 1) delta, alpha positive)

    Source: Barron 2017, "Continuously differentiable exponential linear units".
    """

    elementwise = True
    upcast = True
    cheap = True
    in_place_slope = "alpha", "elu"

    def forward(input: Tensor, alpha: float) -> Tensor:
        return in_opmath(choose(CELU.output), input, alpha)

    def output(input: Tensor, alpha: float) -> Tensor:
        return torch.where(input <= 0, alpha * torch.expm1(input.clamp(max=0) / alpha), input)

    def forward_(input: Tensor, alpha: float) -> Tensor:
        return choose(CELU.output_)(input, alpha)

    def output_(input: Tensor, alpha: float) -> Tensor:
        return input.copy_(in_opmath(CELU.output, input, alpha))

    def delta_input(delta: Tensor, input: Tensor, alpha: float) -> Tensor:
        return torch.where(input <= 0, delta * (input.clamp(max=0) / alpha).exp(), delta)

    def delta_input_in_place(delta: Tensor, output: Tensor, alpha: float) -> Tensor:
        return torch.where(output <= 0, delta * (output / alpha + 1), delta)


class SELU(Rule):
    """y = scale x where x > 0, else scale alpha (e^x - 1); scale = 1.0507..., alpha = 1.6732...

    input, output, delta (*)

    delta_input = scale delta where x > 0, else scale alpha e^x delta      (in place: (y + scale alpha) delta)

    Source: Klambauer, Unterthiner, Mayr, Hochreiter 2017, "Self-normalizing neural networks".
    """

    elementwise = True
    upcast = True
    cheap = True

    def forward(input: Tensor) -> Tensor:
        return in_opmath(choose(SELU.output), input)

    def output(input: Tensor) -> Tensor:
        return torch.where(input <= 0, (SELU_SCALE * SELU_ALPHA) * torch.expm1(input.clamp(max=0)), SELU_SCALE * input)

    def forward_(input: Tensor) -> Tensor:
        return choose(SELU.output_)(input)

    def output_(input: Tensor) -> Tensor:
        return input.copy_(in_opmath(SELU.output, input))

    def delta_input(delta: Tensor, input: Tensor) -> Tensor:
        slope = (SELU_SCALE * SELU_ALPHA) * exp_of_negative(input)
        return delta * torch.where(input <= 0, slope, SELU_SCALE)

    def delta_input_in_place(delta: Tensor, output: Tensor) -> Tensor:
        return delta * torch.where(output <= 0, output + SELU_SCALE * SELU_ALPHA, SELU_SCALE)
