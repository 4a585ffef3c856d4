"""Pooling in one, two and three dimensions."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from .. import functional as F


class MaxPool1d(torch.nn.MaxPool1d):
    """torch.nn.MaxPool1d with the explicit backward of `mb.rules.MaxPool`."""

    def forward(self, input: Tensor) -> Any:
        return F.max_pool1d(input, *_max_options(self))


class MaxPool2d(torch.nn.MaxPool2d):
    """torch.nn.MaxPool2d with the explicit backward of `mb.rules.MaxPool`."""

    def forward(self, input: Tensor) -> Any:
        return F.max_pool2d(input, *_max_options(self))


class MaxPool3d(torch.nn.MaxPool3d):
    """torch.nn.MaxPool3d with the explicit backward of `mb.rules.MaxPool`."""

    def forward(self, input: Tensor) -> Any:
        return F.max_pool3d(input, *_max_options(self))


class AvgPool1d(torch.nn.AvgPool1d):
    """torch.nn.AvgPool1d with the explicit backward of `mb.rules.AvgPool`."""

    def forward(self, input: Tensor) -> Tensor:
        return F.avg_pool1d(input, *_avg_options(self))


class AvgPool2d(torch.nn.AvgPool2d):
    """torch.nn.AvgPool2d with the explicit backward of `mb.rules.AvgPool`."""

    def forward(self, input: Tensor) -> Tensor:
        return F.avg_pool2d(input, *_avg_options(self), self.divisor_override)


class AvgPool3d(torch.nn.AvgPool3d):
    """torch.nn.AvgPool3d with the explicit backward of `mb.rules.AvgPool`."""

    def forward(self, input: Tensor) -> Tensor:
        return F.avg_pool3d(input, *_avg_options(self), self.divisor_override)


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


def _max_options(pool: Any) -> tuple:
    return pool.kernel_size, pool.stride, pool.padding, pool.dilation, pool.ceil_mode, pool.return_indices


def _avg_options(pool: Any) -> tuple[Any, Any, Any, bool, bool]:
    return pool.kernel_size, pool.stride, pool.padding, pool.ceil_mode, pool.count_include_pad
