"""The one table of vendor uses: where a tuned kernel of oneDNN or cuDNN computes a formula's linear map.

Here the correlation of a convolution's input with its delta, through `aten::convolution_backward` with an output_mask
that asks for the weight alone. As forward operations it costs 1.2 to 20 times as much. Each entry is tested equal to
its formula; `mb.backend("formula")` turns them off.
"""

from __future__ import annotations

import torch
from torch import Tensor

from ..rules import Conv, ConvTranspose
from ..rules._rule import KERNELS

Axes = tuple[int, ...]


def conv_grad_weight(
    delta: Tensor, input: Tensor, weight_shape: Axes, stride: Axes, padding: Axes, dilation: Axes, groups: int
) -> Tensor:
    """`Conv.grad_weight`."""
    options = weight_shape, stride, padding, dilation, groups
    if delta.is_complex():  # the operator is for real numbers
        return Conv.grad_weight(delta, input, *options)
    return _convolution_backward(delta, input, *options, output_padding=None)


def conv_transpose_grad_weight(
    delta: Tensor, input: Tensor, weight_shape: Axes, stride: Axes, padding: Axes, dilation: Axes, groups: int
) -> Tensor:
    """`ConvTranspose.grad_weight`."""
    options = weight_shape, stride, padding, dilation, groups
    if delta.is_complex():
        return ConvTranspose.grad_weight(delta, input, *options)
    n = len(stride)
    output_padding = [
        outputs - ((inputs - 1) * s - 2 * p + d * (k - 1) + 1)
        for outputs, inputs, k, s, p, d in zip(
            delta.shape[-n:], input.shape[-n:], weight_shape[-n:], stride, padding, dilation, strict=True
        )
    ]
    return _convolution_backward(delta, input, *options, output_padding=output_padding)


def _convolution_backward(
    delta: Tensor,
    input: Tensor,
    weight_shape: Axes,
    stride: Axes,
    padding: Axes,
    dilation: Axes,
    groups: int,
    output_padding: list[int] | None,
) -> Tensor:
    """The gradient of the weight; output_padding is that of the transposed convolution, None for a convolution."""
    n = len(stride)
    if input.dim() == n + 1:
        delta, input = delta.unsqueeze(0), input.unsqueeze(0)
    shape_only = _blank(weight_shape, (delta, input))  # the weight itself plays no part in its gradient
    transposed = output_padding is not None, output_padding or [0] * n
    mask = [False, True, False]
    return torch.ops.aten.convolution_backward(
        delta, input, shape_only, None, stride, padding, dilation, *transposed, groups, mask
    )[1]


def _blank(shape: Axes, like: tuple[Tensor, Tensor]) -> Tensor:
    """Uninitialized numbers, channels last where one of the tensors is: the operator takes its own layout from that."""
    last = {4: torch.channels_last, 5: torch.channels_last_3d}.get(len(shape))
    turned = last is not None and any([t.stride(1) == 1 and t.stride(-1) > 1 for t in like])  # asked under vmap, too
    blank = like[0].new_empty(shape)
    return torch.empty_like(blank, memory_format=last) if turned else blank


TABLE = {Conv.grad_weight: conv_grad_weight, ConvTranspose.grad_weight: conv_transpose_grad_weight}
"""Formula -> the vendor's kernel for it."""

KERNELS.update(TABLE)
