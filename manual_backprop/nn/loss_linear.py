"""Linear and loss in one; the twin came with torch 2.13."""

from __future__ import annotations

import torch
from torch import Tensor

from .. import functional as F


class LinearCrossEntropyLoss(torch.nn.LinearCrossEntropyLoss):
    """torch.nn.LinearCrossEntropyLoss with the explicit backward of `mb.rules.LinearCrossEntropyLoss`."""

    def forward(self, input: Tensor, target: Tensor) -> Tensor:
        weight = F.reshape(self.linear.weight, (self.num_classes, *self.out_features, self.linear.in_features))
        bias = self.linear.bias
        return F.linear_cross_entropy(
            input,
            weight,
            target,
            linear_bias=None if bias is None else F.reshape(bias, (self.num_classes, *self.out_features)),
            weight=self.weight,
            reduction=self.reduction,
            ignore_index=self.ignore_index,
            label_smoothing=self.label_smoothing,
            options=self.options,
        )
