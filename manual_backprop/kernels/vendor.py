"""The only file that calls vendors' backward kernels: oneDNN's and cuDNN's, for the weight gradient of a convolution.

The gradient is the correlation of the input with the delta, one linear map. It is computed by
`aten::convolution_backward` with an output_mask that asks only for the weight. Where delta_input is needed as well, the
same call computes both, so that the tensors are rearranged once. The formula's forward operations take 1.2 to 20 times
as long. Tests compare each kernel with its formula; `mb.backend("formula")` turns them off.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from ..rules import Conv, ConvTranspose
from .memory import LAST
from .registry import serves

Axes = tuple[int, ...]


REAL = "real, not empty"
BOTH = f"{REAL}; delta_input and grad_weight are needed"


@serves(Conv.grad_weight, on="any", when=REAL)
def conv_grad_weight(
    delta: Tensor, input: Tensor, weight_shape: Axes, stride: Axes, padding: Axes, dilation: Axes, groups: int
) -> Tensor:
    if delta.is_complex() or not delta.numel():  # the operator refuses some empty outputs
        return NotImplemented
    return _weight_of(delta, input, weight_shape, stride, padding, dilation, False, [0] * len(stride), groups)


@serves(Conv.derivatives, on="any", when=BOTH)
def conv_derivatives(
    delta: Tensor, weight: Tensor, input_shape: Axes, stride: Axes, padding: Axes, dilation: Axes, groups: int,
    input: Tensor, weight_shape: Axes, bias_shape: Axes, needs: tuple[bool, bool, bool],
) -> tuple:  # fmt: skip
    """delta_input and grad_weight in one call."""
    if not all(needs[:2]) or delta.is_complex() or not delta.numel():
        return NotImplemented
    grad_bias = Conv.grad_bias(delta, bias_shape, stride) if needs[2] else None
    return *_both_of(delta, input, weight, stride, padding, dilation, False, [0] * len(stride), groups), grad_bias


@serves(ConvTranspose.derivatives, on="any", when=BOTH)
def conv_transpose_derivatives(
    delta: Tensor, weight: Tensor, input_shape: Axes, stride: Axes, padding: Axes, dilation: Axes, groups: int,
    input: Tensor, weight_shape: Axes, bias_shape: Axes, needs: tuple[bool, bool, bool],
) -> tuple:  # fmt: skip
    """delta_input and grad_weight in one call."""
    if not all(needs[:2]) or delta.is_complex() or not delta.numel():
        return NotImplemented
    grad_bias = ConvTranspose.grad_bias(delta, bias_shape, stride) if needs[2] else None
    output_padding = _output_padding(delta, input, weight_shape, stride, padding, dilation)
    return *_both_of(delta, input, weight, stride, padding, dilation, True, output_padding, groups), grad_bias


@serves(ConvTranspose.grad_weight, on="any", when=REAL)
def conv_transpose_grad_weight(
    delta: Tensor, input: Tensor, weight_shape: Axes, stride: Axes, padding: Axes, dilation: Axes, groups: int
) -> Tensor:
    if delta.is_complex() or not delta.numel():
        return NotImplemented
    output_padding = _output_padding(delta, input, weight_shape, stride, padding, dilation)
    return _weight_of(delta, input, weight_shape, stride, padding, dilation, True, output_padding, groups)


def _output_padding(
    delta: Tensor, input: Tensor, weight_shape: Axes, stride: Axes, padding: Axes, dilation: Axes
) -> list[int]:
    """The output_padding of a transposed convolution, from the size of its output."""
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
    """The gradient of the weight.

    The operator takes a weight but does not read it, so uninitialized memory is passed. Its memory format decides in
    which layout the operator works: channels last if delta or input is.
    """
    if input.dim() < len(weight_shape):
        delta, input = delta.unsqueeze(0), input.unsqueeze(0)
    weight, last = input.new_empty(weight_shape), LAST.get(len(weight_shape))
    # checked by strides, which also works under vmap
    if last and ((delta.stride(1) == 1 < delta.stride(-1)) or (input.stride(1) == 1 < input.stride(-1))):
        weight = torch.empty_like(weight, memory_format=last)
    return torch.ops.aten.convolution_backward.default(delta, input, weight, None, *options, [False, True, False])[1]
