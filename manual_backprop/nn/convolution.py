"""Convolutions and transposed convolutions in one, two and three dimensions.

The convolutions override `_conv_forward`, which torch's `forward` calls with `self.weight`. So a subclass that calls
`_conv_forward` with another weight also gets the explicit backward.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from .. import functional as F


class Conv1d(torch.nn.Conv1d):
    """torch.nn.Conv1d with the explicit backward of `mb.rules.Conv`."""

    def _conv_forward(self, input: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
        return _convolve(self, F.conv1d, input, weight, bias)


class Conv2d(torch.nn.Conv2d):
    """torch.nn.Conv2d with the explicit backward of `mb.rules.Conv`."""

    def _conv_forward(self, input: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
        return _convolve(self, F.conv2d, input, weight, bias)


class Conv3d(torch.nn.Conv3d):
    """torch.nn.Conv3d with the explicit backward of `mb.rules.Conv`."""

    def _conv_forward(self, input: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
        return _convolve(self, F.conv3d, input, weight, bias)


class ConvTranspose1d(torch.nn.ConvTranspose1d):
    """torch.nn.ConvTranspose1d with the explicit backward of `mb.rules.ConvTranspose`."""

    def forward(self, input: Tensor, output_size: list[int] | None = None) -> Tensor:
        return _convolve_transposed(self, F.conv_transpose1d, input, output_size)


class ConvTranspose2d(torch.nn.ConvTranspose2d):
    """torch.nn.ConvTranspose2d with the explicit backward of `mb.rules.ConvTranspose`."""

    def forward(self, input: Tensor, output_size: list[int] | None = None) -> Tensor:
        return _convolve_transposed(self, F.conv_transpose2d, input, output_size)


class ConvTranspose3d(torch.nn.ConvTranspose3d):
    """torch.nn.ConvTranspose3d with the explicit backward of `mb.rules.ConvTranspose`."""

    def forward(self, input: Tensor, output_size: list[int] | None = None) -> Tensor:
        return _convolve_transposed(self, F.conv_transpose3d, input, output_size)


class LazyConv1d(torch.nn.LazyConv1d):
    """torch.nn.LazyConv1d that becomes our Conv1d."""

    cls_to_become = Conv1d
    _conv_forward = Conv1d._conv_forward


class LazyConv2d(torch.nn.LazyConv2d):
    """torch.nn.LazyConv2d that becomes our Conv2d."""

    cls_to_become = Conv2d
    _conv_forward = Conv2d._conv_forward


class LazyConv3d(torch.nn.LazyConv3d):
    """torch.nn.LazyConv3d that becomes our Conv3d."""

    cls_to_become = Conv3d
    _conv_forward = Conv3d._conv_forward


class LazyConvTranspose1d(torch.nn.LazyConvTranspose1d):
    """torch.nn.LazyConvTranspose1d that becomes our ConvTranspose1d."""

    cls_to_become = ConvTranspose1d
    forward = ConvTranspose1d.forward


class LazyConvTranspose2d(torch.nn.LazyConvTranspose2d):
    """torch.nn.LazyConvTranspose2d that becomes our ConvTranspose2d."""

    cls_to_become = ConvTranspose2d
    forward = ConvTranspose2d.forward


class LazyConvTranspose3d(torch.nn.LazyConvTranspose3d):
    """torch.nn.LazyConvTranspose3d that becomes our ConvTranspose3d."""

    cls_to_become = ConvTranspose3d
    forward = ConvTranspose3d.forward


def _convolve(
    layer: Any, convolve: Callable[..., Tensor], input: Tensor, weight: Tensor, bias: Tensor | None
) -> Tensor:
    padding = layer.padding
    if layer.padding_mode != "zeros":
        input, padding = F.pad(input, layer._reversed_padding_repeated_twice, layer.padding_mode), 0
    return convolve(input, weight, bias, layer.stride, padding, layer.dilation, layer.groups)


def _convolve_transposed(
    layer: Any, convolve: Callable[..., Tensor], input: Tensor, output_size: list[int] | None
) -> Tensor:
    if layer.padding_mode != "zeros":
        raise ValueError(f"Only `zeros` padding mode is supported for {type(layer).__name__}")
    options = layer.stride, layer.padding, layer.kernel_size, len(layer.kernel_size), layer.dilation
    output_padding = layer._output_padding(input, output_size, *options)
    return convolve(
        input, layer.weight, layer.bias, layer.stride, layer.padding, output_padding, layer.groups, layer.dilation
    )
