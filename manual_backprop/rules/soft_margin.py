"""The logistic loss of two classes: SoftMarginLoss."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor

from ..engine.rule import Rule
from .loss import FLOAT32, per_loss


class SoftMarginLoss(Rule):
    """l = log(1 + e^(-y x)), or the mean or sum of all

    input (*)   target y (*), each -1 or 1   reduction: "none", "mean" or "sum"
    output, delta (*), or () when reduced

    delta_input = -y sigma(-y x) delta      with delta / n in place of delta for a mean

    Source: Friedman, Hastie, Tibshirani 2000, "Additive logistic regression: a statistical view of boosting".
    """

    elementwise = True
    upcast = True
    autocast = FLOAT32

    def forward(input: Tensor, target: Tensor, reduction: str) -> Tensor:
        return F.soft_margin_loss(input, target, reduction=reduction)

    def delta_input(delta: Tensor, input: Tensor, target: Tensor, reduction: str) -> Tensor:
        return -target * (-target * input).sigmoid() * per_loss(delta, reduction, input.numel())
