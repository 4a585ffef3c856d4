"""The one table of vendor uses: where a tuned kernel of oneDNN or cuDNN computes a formula's linear map.

Here the correlation of a convolution's input with its delta, through `aten::convolution_backward` with an output_mask
that asks for the weight, and for delta_input in the same call where both are wanted: what both need is then arranged
once. As forward operations the first costs 1.2 to 20 times as much. Each entry is tested equal to its formula;
`mb.backend("formula")` turns them off.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from ..engine.rule import KERNELS
from ..rules import Conv, ConvTranspose
from .memory import LAST

Axes = tuple[int, ...]


def conv_grad_weight(
    delta: Tensor, input: Tensor, weight_shape: Axes, stride: Axes, padding: Axes, dilation: Axes, groups: int
) -> Tensor:
    """`Conv.grad_weight`."""
    if (
        delta.is_complex() or not delta.numel()
    ):  # the operator is for real numbers, and refuses some outputs of no element
        return Conv.grad_weight(delta, input, weight_shape, stride, padding, dilation, groups)
    return _weight_of(delta, input, weight_shape, stride, padding, dilation, False, [0] * len(stride), groups)


def conv_derivatives(
    delta: Tensor, weight: Tensor, input_shape: Axes, stride: Axes, padding: Axes, dilation: Axes, groups: int,
    input: Tensor, weight_shape: Axes, bias_shape: Axes, needs: tuple[bool, bool, bool],
) -> tuple:  # fmt: skip
    """`Conv.derivatives`: delta_input and grad_weight in one call, where both are needed."""
    options = stride, padding, dilation, groups
    if not all(needs[:2]) or delta.is_complex() or not delta.numel():
        return Conv.derivatives(delta, weight, input_shape, *options, input, weight_shape, bias_shape, needs)
    grad_bias = Conv.grad_bias(delta, bias_shape, stride) if needs[2] else None
    return *_both_of(delta, input, weight, stride, padding, dilation, False, [0] * len(stride), groups), grad_bias


def conv_transpose_derivatives(
    delta: Tensor, weight: Tensor, input_shape: Axes, stride: Axes, padding: Axes, dilation: Axes, groups: int,
    input: Tensor, weight_shape: Axes, bias_shape: Axes, needs: tuple[bool, bool, bool],
) -> tuple:  # fmt: skip
    """`ConvTranspose.derivatives`: delta_input and grad_weight in one call, where both are needed."""
    options = stride, padding, dilation, groups
    if not all(needs[:2]) or delta.is_complex() or not delta.numel():
        return ConvTranspose.derivatives(delta, weight, input_shape, *options, input, weight_shape, bias_shape, needs)
    grad_bias = ConvTranspose.grad_bias(delta, bias_shape, stride) if needs[2] else None
    output_padding = _output_padding(delta, input, weight_shape, stride, padding, dilation)
    return *_both_of(delta, input, weight, stride, padding, dilation, True, output_padding, groups), grad_bias


def conv_transpose_grad_weight(
    delta: Tensor, input: Tensor, weight_shape: Axes, stride: Axes, padding: Axes, dilation: Axes, groups: int
) -> Tensor:
    """`ConvTranspose.grad_weight`."""
    if delta.is_complex() or not delta.numel():
        return ConvTranspose.grad_weight(delta, input, weight_shape, stride, padding, dilation, groups)
    output_padding = _output_padding(delta, input, weight_shape, stride, padding, dilation)
    return _weight_of(delta, input, weight_shape, stride, padding, dilation, True, output_padding, groups)


def _output_padding(
    delta: Tensor, input: Tensor, weight_shape: Axes, stride: Axes, padding: Axes, dilation: Axes
) -> list[int]:
    """Of a transposed convolution, by the sizes of what it gave."""
    n = len(stride)
    return [
        outputs - ((inputs - 1) * s - 2 * p + d * (k - 1) + 1)
        for outputs, inputs, k, s, p, d in zip(
            delta.shape[-n:], input.shape[-n:], weight_shape[-n:], stride, padding, dilation, strict=True
        )
    ]


def _both_of(delta: Tensor, input: Tensor, weight: Tensor, *options: Any) -> tuple[Tensor, Tensor]:
    """delta_input and grad_weight."""
    single = input.dim() < weight.dim()
    if single:
        delta, input = delta.unsqueeze(0), input.unsqueeze(0)
    delta_input, grad_weight, _ = torch.ops.aten.convolution_backward.default(
        delta, input, weight, None, *options, [True, True, False]
    )
    return delta_input.squeeze(0) if single else delta_input, grad_weight


def _weight_of(delta: Tensor, input: Tensor, weight_shape: Axes, *options: Any) -> Tensor:
    """The gradient of the weight. The weight itself plays no part in it: its place takes uninitialized memory, laid
    channels last where delta or input is, since that decides in which layout the operator works."""
    if input.dim() < len(weight_shape):
        delta, input = delta.unsqueeze(0), input.unsqueeze(0)
    weight, last = input.new_empty(weight_shape), LAST.get(len(weight_shape))
    # asked by strides, which vmap knows, too
    if last and ((delta.stride(1) == 1 < delta.stride(-1)) or (input.stride(1) == 1 < input.stride(-1))):
        weight = torch.empty_like(weight, memory_format=last)
    return torch.ops.aten.convolution_backward.default(delta, input, weight, None, *options, [False, True, False])[1]


TABLE: dict[Callable[..., Any], Callable[..., Any]] = {
    Conv.derivatives: conv_derivatives,
    Conv.grad_weight: conv_grad_weight,
    ConvTranspose.derivatives: conv_transpose_derivatives,
    ConvTranspose.grad_weight: conv_transpose_grad_weight,
}
"""Formula -> the vendor's kernel for it."""

KERNELS.update(TABLE)
