"""Normalization of each sample by itself: LayerNorm, GroupNorm, RMSNorm."""

from __future__ import annotations

import torch
from torch import Tensor

from .. import functional as F


class LayerNorm(torch.nn.LayerNorm):
    """torch.nn.LayerNorm with the explicit backward of `mb.rules.LayerNorm`."""

    def forward(self, input: Tensor) -> Tensor:
        return F.layer_norm(input, self.normalized_shape, self.weight, self.bias, self.eps)


class GroupNorm(torch.nn.GroupNorm):
    """torch.nn.GroupNorm with the explicit backward of `mb.rules.GroupNorm`."""

    def forward(self, input: Tensor) -> Tensor:
        return F.group_norm(input, self.num_groups, self.weight, self.bias, self.eps)


class RMSNorm(torch.nn.RMSNorm):
    """torch.nn.RMSNorm with the explicit backward of `mb.rules.RMSNorm`."""

    def forward(self, x: Tensor) -> Tensor:
        return F.rms_norm(x, self.normalized_shape, self.weight, self.eps)
