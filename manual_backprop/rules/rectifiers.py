"""Activations with a kink, each linear on both sides of it: ReLU, Threshold, LeakyReLU, PReLU, RReLU.

All are elementwise, so their Jacobians are diagonal, and one formula serves for deltas and for tangents.
In-place calls overwrite their input, so they save the output instead, as in torch.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from ..engine.rule import LOWER, Rule, choose
from ..engine.terms import in_opmath, sum_to, total


class ReLU(Rule):
    """y = max(0, x)

    input, output, delta (*)

    delta_input = delta where y > 0, else 0      (0 at the kink, as in torch)

    Source: Fukushima 1969, "Visual feature extraction by a multilayered network of analog threshold elements";
    Nair, Hinton 2010, "Rectified linear units improve restricted Boltzmann machines".
    """

    elementwise = True
    cheap = True

    def forward(input: Tensor) -> Tensor:
        return choose(ReLU.output)(input)

    def output(input: Tensor) -> Tensor:
        return torch.where(input <= 0, 0, input)

    def forward_(input: Tensor) -> Tensor:
        return torch.relu_(input)

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

    def forward(input: Tensor, threshold: float, value: float) -> Tensor:
        return in_opmath(choose(Threshold.output), input, threshold, value)

    def output(input: Tensor, threshold: float, value: float) -> Tensor:
        return torch.where(input <= threshold, value, input)

    def delta_input(delta: Tensor, input: Tensor, threshold: float) -> Tensor:
        return torch.where(input <= threshold, 0.0, delta)


class LeakyReLU(Rule):
    """y = max(0, x) + s min(0, x), s = negative_slope

    input, output, delta (*)   negative_slope: number

    delta_input = delta where x > 0, else s delta      (in place: where y > 0, and s must not be negative)

    Source: Maas, Hannun, Ng 2013, "Rectifier nonlinearities improve neural network acoustic models".
    """

    elementwise = True
    cheap = True
    in_place_slope = "negative_slope", "leakyReLu"

    def forward(input: Tensor, negative_slope: float) -> Tensor:
        return choose(LeakyReLU.output)(input, negative_slope)

    def output(input: Tensor, negative_slope: float) -> Tensor:
        return torch.where(input > 0, input, input * negative_slope)

    def forward_(input: Tensor, negative_slope: float) -> Tensor:
        return F.leaky_relu_(input, negative_slope)

    def delta_input(delta: Tensor, input: Tensor, negative_slope: float) -> Tensor:
        return torch.where(input > 0, delta, delta * negative_slope)

    def delta_input_in_place(delta: Tensor, output: Tensor, negative_slope: float) -> Tensor:
        return LeakyReLU.delta_input(delta, output, negative_slope)


class PReLU(Rule):
    """y = max(0, x) + w min(0, x), w learned: one for all or one for each channel

    input, output, delta (N, C, *) or (N) or ()   weight (C,) or (1,) or ()

    delta_input = delta where x > 0, else w delta
    grad_weight = sum over all but the channels of (0 where x > 0, else x delta)

    Source: He, Zhang, Ren, Sun 2015, "Delving deep into rectifiers".
    """

    upcast = True
    cheap = True
    autocast = LOWER
    tangent_reads = ()

    def forward(input: Tensor, weight: Tensor) -> Tensor:
        return torch.prelu(input, weight)

    def delta_input(delta: Tensor, input: Tensor, weight: Tensor) -> Tensor:
        return torch.where(input > 0, delta, delta * PReLU.per_channel(weight, input))

    def grad_weight(delta: Tensor, input: Tensor, weight: Tensor) -> Tensor:
        each = torch.where(input > 0, 0.0, delta * input)
        return sum_to(each, PReLU.per_channel(weight, input).shape).reshape(weight.shape)

    def per_channel(weight: Tensor, input: Tensor) -> Tensor:
        """The weight, shaped to broadcast along axis 1 of the input."""
        shape = [1] * input.dim()
        if input.dim() > 1:
            shape[1] = weight.numel()
        return weight.reshape(shape)

    def tangent(inputs: tuple, tangents: tuple, output: Tensor) -> Tensor | None:
        input, weight = inputs
        t_input, t_weight = tangents
        right = input >= 0  # at 0 torch takes the right slope in forward mode, but the left one in the backward
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

    results = "output", "slope"
    elementwise = True

    def forward(input: Tensor, lower: float, upper: float) -> tuple[Tensor, Tensor]:
        slope = torch.empty_like(input, memory_format=torch.contiguous_format)
        return torch.ops.aten.rrelu_with_noise(input, slope, lower, upper, True), slope

    def delta_input(delta: Tensor, slope: Tensor) -> Tensor:
        return delta * slope
