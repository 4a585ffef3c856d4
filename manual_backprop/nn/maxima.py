"""Adaptive and fractional max pooling, max unpooling, and pooling by a p-norm."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from .. import functional as F


class AdaptiveMaxPool1d(torch.nn.AdaptiveMaxPool1d):
    """torch.nn.AdaptiveMaxPool1d with the explicit backward of `mb.rules.AdaptiveMaxPool`."""

    def forward(self, input: Tensor) -> Any:
        return F.adaptive_max_pool1d(input, self.output_size, self.return_indices)


class AdaptiveMaxPool2d(torch.nn.AdaptiveMaxPool2d):
    """torch.nn.AdaptiveMaxPool2d with the explicit backward of `mb.rules.AdaptiveMaxPool`."""

    def forward(self, input: Tensor) -> Any:
        return F.adaptive_max_pool2d(input, self.output_size, self.return_indices)


class AdaptiveMaxPool3d(torch.nn.AdaptiveMaxPool3d):
    """torch.nn.AdaptiveMaxPool3d with the explicit backward of `mb.rules.AdaptiveMaxPool`."""

    def forward(self, input: Tensor) -> Any:
        return F.adaptive_max_pool3d(input, self.output_size, self.return_indices)


class FractionalMaxPool2d(torch.nn.FractionalMaxPool2d):
    """torch.nn.FractionalMaxPool2d with the explicit backward of `mb.rules.FractionalMaxPool`."""

    def forward(self, input: Tensor) -> Any:
        return F.fractional_max_pool2d(
            input, self.kernel_size, self.output_size, self.output_ratio, self.return_indices, self._random_samples
        )


class FractionalMaxPool3d(torch.nn.FractionalMaxPool3d):
    """torch.nn.FractionalMaxPool3d with the explicit backward of `mb.rules.FractionalMaxPool`."""

    def forward(self, input: Tensor) -> Any:
        return F.fractional_max_pool3d(
            input, self.kernel_size, self.output_size, self.output_ratio, self.return_indices, self._random_samples
        )


class MaxUnpool1d(torch.nn.MaxUnpool1d):
    """torch.nn.MaxUnpool1d with the explicit backward of `mb.rules.MaxUnpool`."""

    def forward(self, input: Tensor, indices: Tensor, output_size: list[int] | None = None) -> Tensor:
        return F.max_unpool1d(input, indices, self.kernel_size, self.stride, self.padding, output_size)


class MaxUnpool2d(torch.nn.MaxUnpool2d):
    """torch.nn.MaxUnpool2d with the explicit backward of `mb.rules.MaxUnpool`."""

    def forward(self, input: Tensor, indices: Tensor, output_size: list[int] | None = None) -> Tensor:
        return F.max_unpool2d(input, indices, self.kernel_size, self.stride, self.padding, output_size)


class MaxUnpool3d(torch.nn.MaxUnpool3d):
    """torch.nn.MaxUnpool3d with the explicit backward of `mb.rules.MaxUnpool`."""

    def forward(self, input: Tensor, indices: Tensor, output_size: list[int] | None = None) -> Tensor:
        return F.max_unpool3d(input, indices, self.kernel_size, self.stride, self.padding, output_size)


class LPPool1d(torch.nn.LPPool1d):
    """torch.nn.LPPool1d with the explicit backward of `mb.rules.LPPool`."""

    def forward(self, input: Tensor) -> Tensor:
        return F.lp_pool1d(input, float(self.norm_type), self.kernel_size, self.stride, self.ceil_mode)


class LPPool2d(torch.nn.LPPool2d):
    """torch.nn.LPPool2d with the explicit backward of `mb.rules.LPPool`."""

    def forward(self, input: Tensor) -> Tensor:
        return F.lp_pool2d(input, float(self.norm_type), self.kernel_size, self.stride, self.ceil_mode)


class LPPool3d(torch.nn.LPPool3d):
    """torch.nn.LPPool3d with the explicit backward of `mb.rules.LPPool`."""

    def forward(self, input: Tensor) -> Tensor:
        return F.lp_pool3d(input, float(self.norm_type), self.kernel_size, self.stride, self.ceil_mode)
