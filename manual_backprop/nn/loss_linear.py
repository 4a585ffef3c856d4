"""Linear and cross-entropy in one layer. torch has its own since 2.13; in older versions only ours exists."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from .. import functional as F
from .linear import Linear


class _Former(torch.nn.Module):
    """The constructor, buffers and repr of torch.nn.LinearCrossEntropyLoss, for a torch that does not have it."""

    def __init__(
        self, in_features: int, num_classes: int, *, out_features: tuple[int, ...] = (), bias: bool = False,
        device: Any = None, dtype: Any = None, reduction: str = "mean", weight: Tensor | None = None,
        ignore_index: int | None = None, label_smoothing: float = 0.0, options: Any = None,
    ) -> None:  # fmt: skip
        if weight is not None and weight.shape != (num_classes,):
            raise RuntimeError(f"expected weight shape to be {(num_classes,)}, got {tuple(weight.shape)}")
        if not 0 <= label_smoothing <= 1:
            raise RuntimeError(f"expected label_smoothing to be in range [0, 1], got {label_smoothing}")
        super().__init__()
        self.reduction = reduction
        self.register_buffer("weight", weight)
        self.num_classes, self.out_features = num_classes, out_features
        self.ignore_index, self.label_smoothing, self.options = ignore_index, label_smoothing, options
        self.linear = Linear(in_features, math.prod(out_features, start=num_classes), bias, device, dtype)

    def extra_repr(self) -> str:
        shown = "num_classes", "out_features", "bias", "reduction", "ignore_index", "label_smoothing", "options"
        facts = {**vars(self), "bias": self.linear.bias is not None}
        return ", ".join([f"in_features={self.linear.in_features}", *(f"{name}={facts[name]}" for name in shown)])


if TYPE_CHECKING:
    Twin = torch.nn.LinearCrossEntropyLoss
else:
    Twin = getattr(torch.nn, "LinearCrossEntropyLoss", _Former)


class LinearCrossEntropyLoss(Twin):
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
