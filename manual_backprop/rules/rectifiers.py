"""Activations that pass what is positive and bend what is not: ReLU, Threshold, LeakyReLU, PReLU, RReLU.

All act on each element alone, so their Jacobians are diagonal, and a tangent passes through as a delta does.
Where the twin saves the output in place of the input (in-place calls, whose input is gone), so do these rules.
"""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from ._rule import LOWER, Rule, beside, choose, in_opmath, sum_to, total


def refuse_negative_slope(ctx: Any, slope: float, name: str) -> None:
    """After an in-place call the sign of the input is known from the output only while the slope is not negative."""
    if ctx.in_place and slope < 0:
        raise RuntimeError(
            f"In-place {name} backward calculation is triggered with a negative slope which is not supported. "
            f"The slope is {slope}: the output that overwrote the input does not tell its sign; use inplace=False"
        )


class ReLU(Rule):
    """y = max(0, x)

    input, output, delta (*)

    delta_input = delta where y > 0, else 0      (0 at the kink, as in torch)

    Source: Fukushima 1969, "Visual feature extraction by a multilayered network of analog threshold elements";
    Nair, Hinton 2010, "Rectified linear units improve restricted Boltzmann machines".
    """

    elementwise = True
    cheap = True

    @staticmethod
    def forward(input: Tensor) -> Tensor:
        return choose(ReLU.output)(input)

    @staticmethod
    def output(input: Tensor) -> Tensor:
        return torch.where(input <= 0, 0, input)

    @staticmethod
    def forward_(input: Tensor) -> Tensor:
        return torch.relu_(input)

    @staticmethod
    def delta_input(delta: Tensor, output: Tensor) -> Tensor:
        return torch.where(output <= 0, 0.0, delta)


class Threshold(Rule):
    """y = x where x > threshold, else value

    input, output, delta (*)   threshold, value: numbers

    delta_input = delta where x > threshold, else 0

    Source: the derivative of each branch; torch.nn.Threshold.
    """

    elementwise = True
    upcast = True
    cheap = True

    @staticmethod
    def forward(input: Tensor, threshold: float, value: float) -> Tensor:
        return in_opmath(choose(Threshold.output), input, threshold, value)

    @staticmethod
    def output(input: Tensor, threshold: float, value: float) -> Tensor:
        return torch.where(input <= threshold, value, input)

    @staticmethod
    def delta_input(delta: Tensor, input: Tensor, threshold: float) -> Tensor:
        return torch.where(input <= threshold, 0.0, delta)


class LeakyReLU(Rule):
    """y = max(0, x) + s min(0, x), s = negative_slope

    input, output, delta (*)   negative_slope: number

    delta_input = delta where x > 0, else s delta      (in place y > 0 stands in for x > 0: s must not be negative)

    Source: Maas, Hannun, Ng 2013, "Rectifier nonlinearities improve neural network acoustic models".
    """

    elementwise = True
    cheap = True
    in_place_slope = "negative_slope", "leakyReLu"

    @staticmethod
    def forward(input: Tensor, negative_slope: float) -> Tensor:
        return choose(LeakyReLU.output)(input, negative_slope)

    @staticmethod
    def output(input: Tensor, negative_slope: float) -> Tensor:
        return torch.where(input > 0, input, input * negative_slope)

    @staticmethod
    def forward_(input: Tensor, negative_slope: float) -> Tensor:
        return F.leaky_relu_(input, negative_slope)

    @staticmethod
    def delta_input(delta: Tensor, input: Tensor, negative_slope: float) -> Tensor:
        return torch.where(input > 0, delta, delta * negative_slope)

    @staticmethod
    def delta_input_in_place(delta: Tensor, output: Tensor, negative_slope: float) -> Tensor:
        return LeakyReLU.delta_input(delta, output, negative_slope)


class PReLU(Rule):
    """y = max(0, x) + w min(0, x), w learned: one for all or one for each channel

    input, output, delta (N, C, *) or (N) or ()   weight (C,) or (1,) or ()

    delta_input = delta where x > 0, else w delta
    grad_weight = sum over all but the channels of (0 where x > 0, else x delta)

    Source: He, Zhang, Ren, Sun 2015, "Delving deep into rectifiers".
    """

    cheap = True
    autocast = LOWER
    tangent_reads = ()

    @staticmethod
    def forward(input: Tensor, weight: Tensor) -> Tensor:
        return torch.prelu(input, weight)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple, output: Tensor) -> None:
        ctx.save_for_backward(*inputs)

    @staticmethod
    def backward(ctx: Any, delta: Tensor) -> tuple:
        input, weight = ctx.saved_tensors
        needs_input, needs_weight = ctx.needs_input_grad
        if needs_input and needs_weight:
            return choose(PReLU.derivatives)(delta, input, weight)
        return (
            choose(PReLU.delta_input)(delta, input, weight) if needs_input else None,
            in_opmath(choose(PReLU.grad_weight), delta, input, weight) if needs_weight else None,
        )

    @staticmethod
    def delta_input(delta: Tensor, input: Tensor, weight: Tensor) -> Tensor:
        return torch.where(input > 0, delta, delta * PReLU.per_channel(weight, input))

    @staticmethod
    def derivatives(delta: Tensor, input: Tensor, weight: Tensor) -> tuple[Tensor, Tensor]:
        """delta_input and grad_weight."""
        grad_weight = in_opmath(choose(PReLU.grad_weight), delta, input, weight)
        return choose(PReLU.delta_input)(delta, input, weight), grad_weight

    @staticmethod
    def grad_weight(delta: Tensor, input: Tensor, weight: Tensor) -> Tensor:
        each = torch.where(input > 0, 0.0, delta * input)
        return sum_to(each, PReLU.per_channel(weight, input).shape).reshape(weight.shape)

    @staticmethod
    def per_channel(weight: Tensor, input: Tensor) -> Tensor:
        """The weight laid along axis 1 of the input."""
        shape = [1] * input.dim()
        if input.dim() > 1:
            shape[1] = weight.numel()
        return weight.reshape(shape)

    @staticmethod
    def tangent(inputs: tuple, tangents: tuple, output: Tensor) -> Tensor | None:
        input, weight = inputs
        t_input, t_weight = tangents
        right = input >= 0  # at 0 torch takes the slope of the right side here, that of the left in its backward
        return total(
            None if t_input is None else torch.where(right, t_input, t_input * PReLU.per_channel(weight, input)),
            None if t_weight is None else torch.where(right, 0.0, input * PReLU.per_channel(t_weight, input)),
        )


class RReLU(Rule):
    """y = x where x > 0, else a x, a drawn uniformly from [lower, upper] for each element

    input, output, delta (*)   lower, upper: numbers

    delta_input = a delta      (a = 1 where x > 0)

    In evaluation a is the mean, (lower + upper) / 2: `LeakyReLU`.

    Source: Xu, Wang, Chen, Li 2015, "Empirical evaluation of rectified activations in convolutional network".
    """

    tangent_reads = (1,)

    @staticmethod
    def forward(input: Tensor, lower: float, upper: float) -> tuple[Tensor, Tensor]:
        slope = torch.empty_like(input, memory_format=torch.contiguous_format)
        return torch.ops.aten.rrelu_with_noise(input, slope, lower, upper, True), slope

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple, output: tuple) -> None:
        beside(ctx, output[1])
        ctx.save_for_backward(output[1])

    @staticmethod
    def backward(ctx: Any, delta: Tensor, _: Tensor) -> tuple:
        return choose(RReLU.delta_input)(delta, *ctx.saved_tensors), None, None

    @staticmethod
    def delta_input(delta: Tensor, slope: Tensor) -> Tensor:
        return delta * slope

    @staticmethod
    def tangent(inputs: tuple, tangents: tuple, output: tuple) -> tuple:
        return RReLU.delta_input(tangents[0], output[1]), None
