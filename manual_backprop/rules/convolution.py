"""Convolutions in one, two and three dimensions: Conv, ConvTranspose.

N batch, C channels of the input, O channels of the output, G groups, * positions: L, (H, W) or (D, H, W). Stride,
padding, dilation and output_padding are tuples with one entry per axis of *. Formulas hold along each axis.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from ._rule import LOWER, Rule, choose, total

Axes = tuple[int, ...]

CONVOLVE = {1: torch.conv1d, 2: torch.conv2d, 3: torch.conv3d}
TRANSPOSED = {1: torch.conv_transpose1d, 2: torch.conv_transpose2d, 3: torch.conv_transpose3d}


def nothing(ctx: Any, delta: Tensor, *saved: Tensor | None) -> tuple[Tensor | None, ...]:
    """The derivatives by input, weight and bias where the output has no element (no sample, position or channel of the
    input, for which torch makes an output without channels): sums of nothing, which convolutions would refuse."""
    shapes = ctx.input_shape, ctx.weight_shape, (ctx.outputs,)
    needs = ctx.needs_input_grad
    # no element of anything, but of the graph of all: the derivatives can be differentiated again
    zeros = [t.reshape(t.numel())[:0].sum(0, True) for t in (delta, *saved) if t is not None]
    return tuple([total(delta.new_zeros(shape), *zeros) if needs[i] else None for i, shape in enumerate(shapes)])


class Conv(Rule):
    """y[n, o, p] = bias[o] + sum over c, k of weight[o, c, k] x[n, c, stride p + dilation k - padding]

    input (N, C, *) or (C, *)   weight (O, C/G, *)   bias (O,) or None   output, delta (N, O, *) or (O, *)

    delta_input[n, c, i] = sum over o, k, p with i = stride p + dilation k - padding of weight[o, c, k] delta[n, o, p]
                           (the transposed convolution of delta)
    grad_weight[o, c, k] = sum over n, p of delta[n, o, p] x[n, c, stride p + dilation k - padding]
                           (a convolution in which batch and channels, and stride and dilation, change places)
    grad_bias[o]         = sum over n, p of delta[n, o, p]

    For complex numbers weight and x are conjugated. c runs over the channels of o's group.

    Source: LeCun et al. 1989, "Backpropagation applied to handwritten zip code recognition"; Dumoulin, Visin 2016, "A
    guide to convolution arithmetic for deep learning", chapter 4.
    """

    autocast = LOWER
    tangent_reads = ()

    @staticmethod
    def forward(
        input: Tensor, weight: Tensor, bias: Tensor | None, stride: Axes, padding: Axes, dilation: Axes, groups: int
    ) -> Tensor:
        return CONVOLVE[len(stride)](input, weight, bias, stride, padding, dilation, groups)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple, output: Tensor) -> None:
        input, weight, _, *ctx.options = inputs
        ctx.input_shape, ctx.weight_shape, ctx.outputs = input.shape, weight.shape, weight.shape[0]
        ctx.save_for_backward(input if ctx.needs_input_grad[1] else None, weight if ctx.needs_input_grad[0] else None)

    @staticmethod
    def backward(ctx: Any, delta: Tensor) -> tuple:
        input, weight = ctx.saved_tensors
        needs_input, needs_weight, needs_bias, *_ = ctx.needs_input_grad
        delta_input: Tensor | None = None
        grad_weight: Tensor | None = None
        if not delta.numel():
            return *nothing(ctx, delta, input, weight), None, None, None, None
        if needs_input and needs_weight:
            delta_input, grad_weight = choose(Conv.derivatives)(delta, input, weight, *ctx.options)
        elif needs_input:
            delta_input = choose(Conv.delta_input)(delta, weight, ctx.input_shape, *ctx.options)
        elif needs_weight:
            grad_weight = choose(Conv.grad_weight)(delta, input, ctx.weight_shape, *ctx.options)
        grad_bias = choose(Conv.grad_bias)(delta, len(ctx.weight_shape) - 2) if needs_bias else None
        return delta_input, grad_weight, grad_bias, None, None, None, None

    @staticmethod
    def derivatives(delta: Tensor, input: Tensor, weight: Tensor, *options: Any) -> tuple[Tensor, Tensor]:
        """delta_input and grad_weight."""
        return (
            Conv.delta_input(delta, weight, input.shape, *options),
            Conv.grad_weight(delta, input, weight.shape, *options),
        )

    @staticmethod
    def delta_input(
        delta: Tensor, weight: Tensor, input_shape: Axes, stride: Axes, padding: Axes, dilation: Axes, groups: int
    ) -> Tensor:
        n = len(stride)
        # a stride may leave the last rows of x unused: the transposed convolution appends them as zeros
        unused = [
            size - ((outputs - 1) * s - 2 * p + d * (k - 1) + 1)
            for size, outputs, k, s, p, d in zip(
                input_shape[-n:], delta.shape[-n:], weight.shape[-n:], stride, padding, dilation, strict=True
            )
        ]
        return TRANSPOSED[n](delta, weight.conj(), None, stride, padding, unused, groups, dilation)

    @staticmethod
    def grad_weight(
        delta: Tensor, input: Tensor, weight_shape: Axes, stride: Axes, padding: Axes, dilation: Axes, groups: int
    ) -> Tensor:
        n = len(stride)
        if input.dim() == n + 1:
            delta, input = delta.unsqueeze(0), input.unsqueeze(0)
        # channels become the batch, and each group's batch becomes its channels: (C/G, G N, *)
        batch, channels, *size = input.shape
        by_group = input.conj().reshape(batch, groups, channels // groups, *size)
        by_channel = by_group.transpose(0, 2).reshape(channels // groups, groups * batch, *size)
        found = CONVOLVE[n](by_channel, delta.transpose(0, 1), None, dilation, padding, stride, groups)
        for axis in range(2, n + 2):
            found = found.narrow(axis, 0, weight_shape[axis])  # rows of x that the stride left unused make more
        return found.transpose(0, 1)

    @staticmethod
    def grad_bias(delta: Tensor, axes: int) -> Tensor:
        channel = delta.dim() - axes - 1
        return delta.sum([axis for axis in range(delta.dim()) if axis != channel])

    @staticmethod
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
                           (that of Conv, in which x and delta change places)
    grad_bias[o]         = sum over n, i of delta[n, o, i]

    For complex numbers weight and x are conjugated. o runs over the channels of c's group.

    Source: Dumoulin, Visin 2016, "A guide to convolution arithmetic for deep learning", chapter 4.
    """

    autocast = LOWER
    tangent_reads = ()

    @staticmethod
    def forward(
        input: Tensor,
        weight: Tensor,
        bias: Tensor | None,
        stride: Axes,
        padding: Axes,
        output_padding: Axes,
        groups: int,
        dilation: Axes,
    ) -> Tensor:
        return TRANSPOSED[len(stride)](input, weight, bias, stride, padding, output_padding, groups, dilation)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple, output: Tensor) -> None:
        input, weight, _, stride, padding, _, groups, dilation = inputs
        ctx.options = stride, padding, dilation, groups
        ctx.input_shape, ctx.weight_shape, ctx.outputs = input.shape, weight.shape, weight.shape[1] * groups
        ctx.save_for_backward(input if ctx.needs_input_grad[1] else None, weight if ctx.needs_input_grad[0] else None)

    @staticmethod
    def backward(ctx: Any, delta: Tensor) -> tuple:
        input, weight = ctx.saved_tensors
        needs_input, needs_weight, needs_bias, *_ = ctx.needs_input_grad
        if not delta.numel():
            return *nothing(ctx, delta, input, weight), None, None, None, None, None
        return (
            choose(ConvTranspose.delta_input)(delta, weight, ctx.input_shape, *ctx.options) if needs_input else None,
            choose(ConvTranspose.grad_weight)(delta, input, ctx.weight_shape, *ctx.options) if needs_weight else None,
            choose(Conv.grad_bias)(delta, len(ctx.weight_shape) - 2) if needs_bias else None,
            None,
            None,
            None,
            None,
            None,
        )

    @staticmethod
    def delta_input(
        delta: Tensor, weight: Tensor, input_shape: Axes, stride: Axes, padding: Axes, dilation: Axes, groups: int
    ) -> Tensor:
        n = len(stride)
        delta_input = CONVOLVE[n](delta, weight.conj(), None, stride, padding, dilation, groups)
        for axis in range(-n, 0):
            # an output_padding of stride or more (allowed below the dilation) has no input to go back to
            delta_input = delta_input.narrow(axis, 0, input_shape[axis])
        return delta_input

    @staticmethod
    def grad_weight(
        delta: Tensor, input: Tensor, weight_shape: Axes, stride: Axes, padding: Axes, dilation: Axes, groups: int
    ) -> Tensor:
        return Conv.grad_weight(input.conj(), delta.conj(), weight_shape, stride, padding, dilation, groups)

    @staticmethod
    def tangent(inputs: tuple, tangents: tuple, output: Tensor) -> Tensor | None:
        input, weight, _, *options = inputs
        t_input, t_weight, t_bias, *_ = tangents
        convolve = TRANSPOSED[weight.dim() - 2]
        return total(
            None if t_input is None else convolve(t_input, weight, None, *options),
            None if t_weight is None else convolve(input, t_weight, None, *options),
            None if t_bias is None else t_bias.reshape(-1, *[1] * (weight.dim() - 2)).expand_as(output),
        )
