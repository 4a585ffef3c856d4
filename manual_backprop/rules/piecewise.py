"""Activations pieced together from straight lines and parabolas: Hardtanh (with ReLU6), Hardshrink, Softshrink,
Hardsigmoid, Hardswish.

All act on each element alone, so their Jacobians are diagonal, and a tangent passes through as a delta does.
At the kinks and for NaN the comparisons are those of ATen's scalar loops and CUDA kernels.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from ._rule import LOW, Rule, choose, in_opmath


def rounded_to(dtype: torch.dtype, number: float) -> float:
    """A number as ATen's shrinking functions read it, in the dtype of the input, whatever they compute in: forward and
    backward have to agree on which side of it an element lies."""
    if dtype not in LOW or torch.compiler.is_compiling():  # compiled are the formulas, which compare in that dtype
        return number
    return torch.tensor(number, dtype=dtype).item()


class Hardtanh(Rule):
    """y = min(max(x, min_val), max_val)      (ReLU6: between 0 and 6)

    input, output, delta (*)   min_val, max_val: numbers

    delta_input = delta where min_val < x < max_val, else 0

    Source: Collobert 2004, "Large scale machine learning"; ReLU6: Krizhevsky 2010, "Convolutional deep belief networks
    on CIFAR-10".
    """

    cheap = True
    tangent_reads = ()

    @staticmethod
    def forward(input: Tensor, min_val: float, max_val: float) -> Tensor:
        return choose(Hardtanh.output)(input, min_val, max_val)

    @staticmethod
    def output(input: Tensor, min_val: float, max_val: float) -> Tensor:
        return input.clamp(min_val, max_val)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple, output: Tensor) -> None:
        input, ctx.min_val, ctx.max_val = inputs
        ctx.save_for_backward(input)

    @staticmethod
    def backward(ctx: Any, delta: Tensor) -> tuple:
        delta_input = in_opmath(choose(Hardtanh.delta_input), delta, *ctx.saved_tensors, ctx.min_val, ctx.max_val)
        return delta_input, None, None

    @staticmethod
    def delta_input(delta: Tensor, input: Tensor, min_val: float, max_val: float) -> Tensor:
        return torch.where((input <= min_val) | (input >= max_val), 0.0, delta)

    @staticmethod
    def tangent(inputs: tuple, tangents: tuple, output: Tensor) -> Tensor:
        return in_opmath(Hardtanh.delta_input, tangents[0], *inputs)


class Hardshrink(Rule):
    """y = x where |x| > lambd, else 0

    input, output, delta (*)   lambd: number

    delta_input = delta where |x| > lambd, else 0

    Source: Donoho, Johnstone 1994, "Ideal spatial adaptation by wavelet shrinkage".
    """

    cheap = True
    tangent_reads = ()

    @staticmethod
    def forward(input: Tensor, lambd: float) -> Tensor:
        return choose(Hardshrink.output)(input, rounded_to(input.dtype, lambd))

    @staticmethod
    def output(input: Tensor, lambd: float) -> Tensor:
        return torch.where((input >= -lambd) & (input <= lambd), 0, input)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple, output: Tensor) -> None:
        input, ctx.lambd = inputs
        ctx.save_for_backward(input)

    @staticmethod
    def backward(ctx: Any, delta: Tensor) -> tuple:
        (input,) = ctx.saved_tensors
        return choose(Hardshrink.delta_input)(delta, input, rounded_to(input.dtype, ctx.lambd)), None

    @staticmethod
    def delta_input(delta: Tensor, input: Tensor, lambd: float) -> Tensor:
        return torch.where(input.abs() <= lambd, 0.0, delta)

    @staticmethod
    def tangent(inputs: tuple, tangents: tuple, output: Tensor) -> Tensor:
        return Hardshrink.delta_input(tangents[0], *inputs)


class Softshrink(Rule):
    """y = x - lambd where x > lambd, x + lambd where x < -lambd, else 0

    input, output, delta (*)   lambd: number, not negative

    delta_input = delta where |x| > lambd, else 0

    Source: Donoho, Johnstone 1994, "Ideal spatial adaptation by wavelet shrinkage".
    """

    cheap = True
    tangent_reads = ()

    @staticmethod
    def forward(input: Tensor, lambd: float) -> Tensor:
        return choose(Softshrink.output)(input, rounded_to(input.dtype, lambd))

    @staticmethod
    def output(input: Tensor, lambd: float) -> Tensor:
        return torch.where(input > lambd, input - lambd, torch.where(input < -lambd, input + lambd, input * 0))

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple, output: Tensor) -> None:
        input, ctx.lambd = inputs
        ctx.save_for_backward(input)

    @staticmethod
    def backward(ctx: Any, delta: Tensor) -> tuple:
        (input,) = ctx.saved_tensors
        return choose(Softshrink.delta_input)(delta, input, rounded_to(input.dtype, ctx.lambd)), None

    @staticmethod
    def delta_input(delta: Tensor, input: Tensor, lambd: float) -> Tensor:
        return torch.where(input.abs() <= lambd, 0.0, delta)

    @staticmethod
    def tangent(inputs: tuple, tangents: tuple, output: Tensor) -> Tensor:
        return Softshrink.delta_input(tangents[0], *inputs)


class Hardsigmoid(Rule):
    """y = min(max(x / 6 + 1/2, 0), 1)

    input, output, delta (*)

    delta_input = delta / 6 where |x| < 3, else 0

    Source: Courbariaux, Bengio, David 2015, "BinaryConnect"; with slope 1/6 Howard et al. 2019, "Searching for
    MobileNetV3".
    """

    cheap = True
    tangent_reads = ()

    @staticmethod
    def forward(input: Tensor) -> Tensor:
        return in_opmath(choose(Hardsigmoid.output), input)

    @staticmethod
    def output(input: Tensor) -> Tensor:
        return (input + 3).clamp(0, 6) / 6

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple, output: Tensor) -> None:
        ctx.save_for_backward(inputs[0])

    @staticmethod
    def backward(ctx: Any, delta: Tensor) -> Tensor:
        return choose(Hardsigmoid.delta_input)(delta, *ctx.saved_tensors)

    @staticmethod
    def delta_input(delta: Tensor, input: Tensor) -> Tensor:
        return torch.where(input.abs() < 3, delta / 6, 0.0)

    @staticmethod
    def tangent(inputs: tuple, tangents: tuple, output: Tensor) -> Tensor:
        return Hardsigmoid.delta_input(tangents[0], inputs[0])


class Hardswish(Rule):
    """y = x min(max(x + 3, 0), 6) / 6

    input, output, delta (*)

    delta_input = 0 where x <= -3, (x / 3 + 1/2) delta where -3 < x < 3, else delta

    Source: Howard et al. 2019, "Searching for MobileNetV3".
    """

    cheap = True
    tangent_reads = ()

    @staticmethod
    def forward(input: Tensor) -> Tensor:
        return in_opmath(choose(Hardswish.output), input)

    @staticmethod
    def output(input: Tensor) -> Tensor:
        return input * (input + 3).clamp(0, 6) / 6

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple, output: Tensor) -> None:
        ctx.save_for_backward(inputs[0])

    @staticmethod
    def backward(ctx: Any, delta: Tensor) -> Tensor:
        return in_opmath(choose(Hardswish.delta_input), delta, *ctx.saved_tensors)

    @staticmethod
    def delta_input(delta: Tensor, input: Tensor) -> Tensor:
        bent = torch.where(input < 3, delta * (input / 3 + 0.5), delta)
        return torch.where(input <= -3, 0.0, bent)

    @staticmethod
    def tangent(inputs: tuple, tangents: tuple, output: Tensor) -> Tensor:
        return Hardswish.delta_input(tangents[0], inputs[0])
