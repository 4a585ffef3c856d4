"""The p-norm of each window: LPPool."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from ..engine.rule import Rule, choose
from .pooling import AVERAGE, AvgPool

Axes = tuple[int, ...]


class LPPool(Rule):
    """y[n, c, q] = s^(1/p),   s = K mean over k of x[n, c, stride q + k]^p,   K the size of a window

    input (N, C, *) or (C, *)   output, delta, s (N, C, *) or (C, *)   p: norm_type, not zero

    delta_input[n, c, i] = x[n, c, i]^(p-1) sum of K / m[q] delta[n, c, q] / y[n, c, q]^(p-1) over windows q with i in q

    m[q] is the number of elements in window q; it is less than K if ceil_mode lets the window reach beyond x. Where s
    is 0 there is no derivative, and delta_input is 0.

    Source: Boureau, Ponce, LeCun 2010, "A theoretical analysis of feature pooling in visual recognition".
    """

    upcast = True

    def forward(input: Tensor, norm_type: float, kernel_size: Axes, stride: Axes, ceil_mode: bool) -> Tensor:
        mean = AVERAGE[len(stride)](input.pow(norm_type), kernel_size, stride, 0, ceil_mode)
        return (mean.sign() * mean.abs().relu()).mul(math.prod(kernel_size)).pow(1 / norm_type)

    def slope(output: Tensor, norm_type: float, kernel_size: Axes) -> Tensor:
        """K dy / ds = K / p s^(1/p - 1) = K / p y^(1 - p), and 0 at s = 0; the sign of NaN is 0, as in torch."""
        nothing = output == 0 if norm_type > 0 else output.isinf()
        slope = math.prod(kernel_size) / norm_type * output.pow(1 - norm_type)
        return torch.where(nothing, 0, slope * output.sign().square())

    def delta_input(
        delta: Tensor, input: Tensor, slope: Tensor, norm_type: float, kernel_size: Axes, stride: Axes
    ) -> Tensor:
        none = (0,) * len(stride)
        share = choose(AvgPool.delta_input)(delta * slope, input.shape, kernel_size, stride, none, True, None)
        return share * norm_type * input.pow(norm_type - 1)

    def tangent(inputs: tuple, tangents: tuple, output: Tensor) -> Tensor:
        input, norm_type, kernel_size, stride, ceil_mode = inputs
        moved = norm_type * input.pow(norm_type - 1) * tangents[0]
        slope = LPPool.slope(output, norm_type, kernel_size)
        return slope * AVERAGE[len(stride)](moved, kernel_size, stride, 0, ceil_mode)
