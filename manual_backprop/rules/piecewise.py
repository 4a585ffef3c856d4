"""Piecewise linear and quadratic activations: Hardtanh (with ReLU6), Hardshrink, Softshrink, Hardsigmoid, Hardswish.

All are elementwise, so their Jacobians are diagonal, and one formula serves for deltas and for tangents.
At kinks and for NaN they compare as ATen's scalar loops and CUDA kernels do.
"""

from __future__ import annotations

import torch
from torch import Tensor

from ..engine.rule import Rule, choose
from ..engine.terms import LOW, in_opmath


class Hardtanh(Rule):
    """y = min(max(x, min_val), max_val)      (ReLU6: between 0 and 6)

    input, output, delta (*)   min_val, max_val: numbers

    delta_input = delta where min_val < x < max_val, else 0

    Source: Collobert 2004, "Large scale machine learning"; ReLU6: Krizhevsky 2010, "Convolutional deep belief networks
    on CIFAR-10".
    """

    elementwise = True
    upcast = True
    cheap = True

    def forward(input: Tensor, min_val: float, max_val: float) -> Tensor:
        return choose(Hardtanh.output)(input, min_val, max_val)

    def output(input: Tensor, min_val: float, max_val: float) -> Tensor:
        return input.clamp(min_val, max_val)

    def delta_input(delta: Tensor, input: Tensor, min_val: float, max_val: float) -> Tensor:
        return torch.where((input <= min_val) | (input >= max_val), 0.0, delta)


class Hardshrink(Rule):
    """y = x where |x| > lambd, else 0

    input, output, delta (*)   lambd: number

    delta_input = delta where |x| > lambd, else 0

    Source: Donoho, Johnstone 1994, "Ideal spatial adaptation by wavelet shrinkage".
    """

    elementwise = True
    cheap = True

    def forward(input: Tensor, lambd: float = 0.5) -> Tensor:
        return choose(Hardshrink.output)(input, Hardshrink.limit(lambd, input.dtype))

    def limit(lambd: float, input_dtype: torch.dtype) -> float:
        """lambd as ATen reads it: rounded to the dtype of the input, even where ATen computes in another dtype. Forward
        and backward must agree on which side of it an element lies."""
        if input_dtype not in LOW or torch.compiler.is_compiling():  # the formulas run and compare in this dtype
            return lambd
        return torch.tensor(lambd, dtype=input_dtype).item()

    def output(input: Tensor, lambd: float) -> Tensor:
        return torch.where((input >= -lambd) & (input <= lambd), 0, input)

    def delta_input(delta: Tensor, input: Tensor, limit: float) -> Tensor:
        return torch.where(input.abs() <= limit, 0.0, delta)


class Softshrink(Rule):
    """y = x - lambd where x > lambd, x + lambd where x < -lambd, else 0

    input, output, delta (*)   lambd: number, not negative

    delta_input = delta where |x| > lambd, else 0

    Source: Donoho, Johnstone 1994, "Ideal spatial adaptation by wavelet shrinkage".
    """

    elementwise = True
    cheap = True

    def forward(input: Tensor, lambd: float = 0.5) -> Tensor:
        return choose(Softshrink.output)(input, Softshrink.limit(lambd, input.dtype))

    limit = Hardshrink.limit

    def output(input: Tensor, lambd: float) -> Tensor:
        return torch.where(input > lambd, input - lambd, torch.where(input < -lambd, input + lambd, input * 0))

    def delta_input(delta: Tensor, input: Tensor, limit: float) -> Tensor:
        return torch.where(input.abs() <= limit, 0.0, delta)


class Hardsigmoid(Rule):
    """y = min(max(x / 6 + 1/2, 0), 1)

    input, output, delta (*)

    delta_input = delta / 6 where |x| < 3, else 0

    Source: Courbariaux, Bengio, David 2015, "BinaryConnect"; with slope 1/6 Howard et al. 2019, "Searching for
    MobileNetV3".
    """

    elementwise = True
    cheap = True

    def forward(input: Tensor) -> Tensor:
        return in_opmath(choose(Hardsigmoid.output), input)

    def output(input: Tensor) -> Tensor:
        return (input + 3).clamp(0, 6) / 6

    def delta_input(delta: Tensor, input: Tensor) -> Tensor:
        return torch.where(input.abs() < 3, delta / 6, 0.0)


class Hardswish(Rule):
    """y = x min(max(x + 3, 0), 6) / 6

    input, output, delta (*)

    delta_input = 0 where x <= -3, (x / 3 + 1/2) delta where -3 < x < 3, else delta

    Source: Howard et al. 2019, "Searching for MobileNetV3".
    """

    elementwise = True
    upcast = True
    cheap = True

    def forward(input: Tensor) -> Tensor:
        return in_opmath(choose(Hardswish.output), input)

    def output(input: Tensor) -> Tensor:
        return input * (input + 3).clamp(0, 6) / 6

    def delta_input(delta: Tensor, input: Tensor) -> Tensor:
        bent = torch.where(input < 3, delta * (input / 3 + 0.5), delta)
        return torch.where(input <= -3, 0.0, bent)
