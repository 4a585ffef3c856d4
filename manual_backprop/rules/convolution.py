"""Convolutions in one, two and three dimensions: Conv, ConvTranspose.

N batch, C channels of the input, O channels of the output, G groups, * positions: L, (H, W) or (D, H, W). Stride,
padding, dilation and output_padding are tuples with one entry per axis of *. Formulas hold along each axis.
"""

from __future__ import annotations

import torch
from torch import Tensor

from ..engine.rule import LOWER, Rule
from ..engine.terms import total

Axes = tuple[int, ...]

CONVOLVE = {1: torch.conv1d, 2: torch.conv2d, 3: torch.conv3d}
TRANSPOSED = {1: torch.conv_transpose1d, 2: torch.conv_transpose2d, 3: torch.conv_transpose3d}


class Conv(Rule):
    """y[n, o, p] = bias[o] + sum over c, k of weight[o, c, k] x[n, c, stride p + dilation k - padding]

    input (N, C, *) or (C, *)   weight (O, C/G, *)   bias (O,) or None   output, delta (N, O, *) or (O, *)

    delta_input[n, c, i] = sum over o, k, p with i = stride p + dilation k - padding of weight[o, c, k] delta[n, o, p]
                           (the transposed convolution of delta)
    grad_weight[o, c, k] = sum over n, p of delta[n, o, p] x[n, c, stride p + dilation k - padding]
                           (a convolution with batch and channels exchanged, and stride and dilation exchanged)
    grad_bias[o]         = sum over n, p of delta[n, o, p]

    For complex numbers weight and x are conjugated. c runs over the channels of o's group.

    Source: LeCun et al. 1989, "Backpropagation applied to handwritten zip code recognition"; Dumoulin, Visin 2016, "A
    guide to convolution arithmetic for deep learning", chapter 4.
    """

    autocast = LOWER
    tangent_reads = ()

    def forward(
        input: Tensor, weight: Tensor, bias: Tensor | None, stride: Axes, padding: Axes, dilation: Axes, groups: int
    ) -> Tensor:
        return CONVOLVE[len(stride)](input, weight, bias, stride, padding, dilation, groups)

    def delta_input(
        delta: Tensor, weight: Tensor, input_shape: Axes, stride: Axes, padding: Axes, dilation: Axes, groups: int
    ) -> Tensor:
        if not delta.numel():
            return nothing(input_shape, delta, weight)
        n = len(stride)
        # the stride leaves the last rows of x unused: the transposed convolution appends zeros for them
        unused = [
            size - ((outputs - 1) * s - 2 * p + d * (k - 1) + 1)
            for size, outputs, k, s, p, d in zip(
                input_shape[-n:], delta.shape[-n:], weight.shape[-n:], stride, padding, dilation, strict=True
            )
        ]
        return TRANSPOSED[n](delta, weight.conj(), None, stride, padding, unused, groups, dilation)

    def grad_weight(
        delta: Tensor, input: Tensor, weight_shape: Axes, stride: Axes, padding: Axes, dilation: Axes, groups: int
    ) -> Tensor:
        if not (delta.numel() and input.numel()):
            return nothing(weight_shape, delta, input)
        n = len(stride)
        if input.dim() == n + 1:
            delta, input = delta.unsqueeze(0), input.unsqueeze(0)
        # the channels as the batch, and the batch of each group as channels: (C/G, G N, *)
        batch, channels, *size = input.shape
        by_group = input.conj().reshape(batch, groups, channels // groups, *size)
        by_channel = by_group.transpose(0, 2).reshape(channels // groups, groups * batch, *size)
        found = CONVOLVE[n](by_channel, delta.transpose(0, 1), None, dilation, padding, stride, groups)
        for axis in range(2, n + 2):
            found = found.narrow(axis, 0, weight_shape[axis])  # unused rows of x give extra entries
        return found.transpose(0, 1)

    def grad_bias(delta: Tensor, bias_shape: Axes, stride: Axes) -> Tensor:
        if not delta.numel():
            return nothing(bias_shape, delta)
        channel = delta.dim() - len(stride) - 1
        return delta.sum([axis for axis in range(delta.dim()) if axis != channel])

    def tangent(inputs: tuple, tangents: tuple, output: Tensor) -> Tensor | None:
        input, weight, _, *options = inputs
        t_input, t_weight, t_bias, *_ = tangents
        convolve = CONVOLVE[weight.dim() - 2]
        return total(
            None if t_input is None else convolve(t_input, weight, None, *options),
            None if t_weight is None else convolve(input, t_weight, None, *options),
            None if t_bias is None else t_bias.reshape(-1, *[1] * (weight.dim() - 2)).expand_as(output),
        )


class ConvTranspose(Rule):
    """y[n, o, i] = bias[o] + sum over c, k and p with i = stride p + dilation k - padding of weight[c, o, k] x[n, c, p]

    input (N, C, *) or (C, *)   weight (C, O/G, *)   bias (O,) or None   output, delta (N, O, *) or (O, *)

    delta_input[n, c, p] = sum over o, k of weight[c, o, k] delta[n, o, stride p + dilation k - padding]
                           (the convolution of delta)
    grad_weight[c, o, k] = sum over n, p of x[n, c, p] delta[n, o, stride p + dilation k - padding]
                           (that of Conv with x and delta exchanged)
    grad_bias[o]         = sum over n, i of delta[n, o, i]

    For complex numbers weight and x are conjugated. o runs over the channels of c's group.

    Source: Dumoulin, Visin 2016, "A guide to convolution arithmetic for deep learning", chapter 4.
    """

    autocast = LOWER
    tangent_reads = ()

    def forward(
        input: Tensor, weight: Tensor, bias: Tensor | None, stride: Axes, padding: Axes, output_padding: Axes,
        groups: int, dilation: Axes,
    ) -> Tensor:  # fmt: skip
        return TRANSPOSED[len(stride)](input, weight, bias, stride, padding, output_padding, groups, dilation)

    def delta_input(
        delta: Tensor, weight: Tensor, input_shape: Axes, stride: Axes, padding: Axes, dilation: Axes, groups: int
    ) -> Tensor:
        if not delta.numel():
            return nothing(input_shape, delta, weight)
        n = len(stride)
        delta_input = CONVOLVE[n](delta, weight.conj(), None, stride, padding, dilation, groups)
        for axis in range(-n, 0):
            # output_padding >= stride (allowed if it is below the dilation): these outputs depend on no input
            delta_input = delta_input.narrow(axis, 0, input_shape[axis])
        return delta_input

    def grad_weight(
        delta: Tensor, input: Tensor, weight_shape: Axes, stride: Axes, padding: Axes, dilation: Axes, groups: int
    ) -> Tensor:
        return Conv.grad_weight(input.conj(), delta.conj(), weight_shape, stride, padding, dilation, groups)

    def grad_bias(delta: Tensor, bias_shape: Axes, stride: Axes) -> Tensor:
        return Conv.grad_bias(delta, bias_shape, stride)

    def tangent(inputs: tuple, tangents: tuple, output: Tensor) -> Tensor | None:
        input, weight, _, *options = inputs
        t_input, t_weight, t_bias, *_ = tangents
        convolve = TRANSPOSED[weight.dim() - 2]
        return total(
            None if t_input is None else convolve(t_input, weight, None, *options),
            None if t_weight is None else convolve(input, t_weight, None, *options),
            None if t_bias is None else t_bias.reshape(-1, *[1] * (weight.dim() - 2)).expand_as(output),
        )


def nothing(shape: Axes, *factors: Tensor) -> Tensor:
    """Zeros of a shape, connected to the factors in the graph, so that they can be differentiated again.

    These are the gradients if the output is empty: sums without terms, which torch's convolutions refuse to compute.
    (The output is empty for an input without samples, channels or positions.)
    """
    # kept as one axis: torch's vmap cannot sum an empty tensor to a scalar
    return sum([factor.reshape(factor.numel())[:0].sum(0, True) for factor in factors], factors[0].new_zeros(shape))
