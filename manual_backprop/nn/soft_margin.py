"""The logistic loss of two classes."""

from __future__ import annotations

import torch
from torch import Tensor

from .. import functional as F


class SoftMarginLoss(torch.nn.SoftMarginLoss):
    """torch.nn.SoftMarginLoss with the explicit backward of `mb.rules.SoftMarginLoss`."""

    def forward(self, input: Tensor, target: Tensor) -> Tensor:
        return F.soft_margin_loss(input, target, reduction=self.reduction)
