"""Layers that resize or rearrange: Upsample, PixelShuffle, ChannelShuffle, Fold, Unfold."""

from __future__ import annotations

import torch
from torch import Tensor

from .. import functional as F


class Upsample(torch.nn.Upsample):
    """torch.nn.Upsample with the explicit backward of `mb.rules.Interpolate`."""

    def forward(self, input: Tensor) -> Tensor:
        return F.interpolate(
            input, self.size, self.scale_factor, self.mode, self.align_corners, self.recompute_scale_factor
        )


class UpsamplingNearest2d(torch.nn.UpsamplingNearest2d):
    """torch.nn.UpsamplingNearest2d with the explicit backward of `mb.rules.Interpolate`."""

    def forward(self, input: Tensor) -> Tensor:
        return F.interpolate(
            input, self.size, self.scale_factor, self.mode, self.align_corners, self.recompute_scale_factor
        )


class UpsamplingBilinear2d(torch.nn.UpsamplingBilinear2d):
    """torch.nn.UpsamplingBilinear2d with the explicit backward of `mb.rules.Interpolate`."""

    def forward(self, input: Tensor) -> Tensor:
        return F.interpolate(
            input, self.size, self.scale_factor, self.mode, self.align_corners, self.recompute_scale_factor
        )


class PixelShuffle(torch.nn.PixelShuffle):
    """torch.nn.PixelShuffle with the explicit backward of `mb.rules.PixelShuffle`."""

    def forward(self, input: Tensor) -> Tensor:
        return F.pixel_shuffle(input, self.upscale_factor)


class PixelUnshuffle(torch.nn.PixelUnshuffle):
    """torch.nn.PixelUnshuffle with the explicit backward of `mb.rules.PixelUnshuffle`."""

    def forward(self, input: Tensor) -> Tensor:
        return F.pixel_unshuffle(input, self.downscale_factor)


class ChannelShuffle(torch.nn.ChannelShuffle):
    """torch.nn.ChannelShuffle with the explicit backward of `mb.rules.ChannelShuffle`."""

    def forward(self, input: Tensor) -> Tensor:
        return F.channel_shuffle(input, self.groups)


class Fold(torch.nn.Fold):
    """torch.nn.Fold with the explicit backward of `mb.rules.Fold`."""

    def forward(self, input: Tensor) -> Tensor:
        return F.fold(input, self.output_size, self.kernel_size, self.dilation, self.padding, self.stride)


class Unfold(torch.nn.Unfold):
    """torch.nn.Unfold with the explicit backward of `mb.rules.Unfold`."""

    def forward(self, input: Tensor) -> Tensor:
        return F.unfold(input, self.kernel_size, self.dilation, self.padding, self.stride)
