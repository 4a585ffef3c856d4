"""Pooling in one, two and three dimensions."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from .. import functional as F


class MaxPool1d(torch.nn.MaxPool1d):
    """torch.nn.MaxPool1d with the explicit backward of `mb.rules.MaxPool`."""

    def forward(self, input: Tensor) -> Any:
        return F.max_pool1d(
            input, self.kernel_size, self.stride, self.padding, self.dilation, self.ceil_mode, self.return_indices
        )


class MaxPool2d(torch.nn.MaxPool2d):
    """torch.nn.MaxPool2d with the explicit backward of `mb.rules.MaxPool`."""

    def forward(self, input: Tensor) -> Any:
        return F.max_pool2d(
            input, self.kernel_size, self.stride, self.padding, self.dilation, self.ceil_mode, self.return_indices
        )


class MaxPool3d(torch.nn.MaxPool3d):
    """torch.nn.MaxPool3d with the explicit backward of `mb.rules.MaxPool`."""

    def forward(self, input: Tensor) -> Any:
        return F.max_pool3d(
            input, self.kernel_size, self.stride, self.padding, self.dilation, self.ceil_mode, self.return_indices
        )


class AvgPool1d(torch.nn.AvgPool1d):
    """torch.nn.AvgPool1d with the explicit backward of `mb.rules.AvgPool`."""

    def forward(self, input: Tensor) -> Tensor:
        return F.avg_pool1d(input, self.kernel_size, self.stride, self.padding, self.ceil_mode, self.count_include_pad)


class AvgPool2d(torch.nn.AvgPool2d):
    """torch.nn.AvgPool2d with the explicit backward of `mb.rules.AvgPool`."""

    def forward(self, input: Tensor) -> Tensor:
        return F.avg_pool2d(
            input, self.kernel_size, self.stride, self.padding, self.ceil_mode, self.count_include_pad,
            self.divisor_override,
        )  # fmt: skip


class AvgPool3d(torch.nn.AvgPool3d):
    """torch.nn.AvgPool3d with the explicit backward of `mb.rules.AvgPool`."""

    def forward(self, input: Tensor) -> Tensor:
        return F.avg_pool3d(
            input, self.kernel_size, self.stride, self.padding, self.ceil_mode, self.count_include_pad,
            self.divisor_override,
        )  # fmt: skip


class AdaptiveAvgPool1d(torch.nn.AdaptiveAvgPool1d):
    """torch.nn.AdaptiveAvgPool1d with the explicit backward of `mb.rules.AdaptiveAvgPool`."""

    def forward(self, input: Tensor) -> Tensor:
        return F.adaptive_avg_pool1d(input, self.output_size)


class AdaptiveAvgPool2d(torch.nn.AdaptiveAvgPool2d):
    """torch.nn.AdaptiveAvgPool2d with the explicit backward of `mb.rules.AdaptiveAvgPool`."""

    def forward(self, input: Tensor) -> Tensor:
        return F.adaptive_avg_pool2d(input, self.output_size)


class AdaptiveAvgPool3d(torch.nn.AdaptiveAvgPool3d):
    """torch.nn.AdaptiveAvgPool3d with the explicit backward of `mb.rules.AdaptiveAvgPool`."""

    def forward(self, input: Tensor) -> Tensor:
        return F.adaptive_avg_pool3d(input, self.output_size)
