"""Affine maps."""

from __future__ import annotations

import torch
from torch import Tensor

from .. import functional as F


class Linear(torch.nn.Linear):
    """torch.nn.Linear with the explicit backward of `mb.rules.Linear`."""

    def forward(self, input: Tensor) -> Tensor:
        return F.linear(input, self.weight, self.bias)


class LazyLinear(torch.nn.LazyLinear):
    """torch.nn.LazyLinear: learns in_features from its first input and becomes `mb.nn.Linear`."""

    cls_to_become = Linear

    def forward(self, input: Tensor) -> Tensor:
        return F.linear(input, self.weight, self.bias)


class NonDynamicallyQuantizableLinear(torch.nn.modules.linear.NonDynamicallyQuantizableLinear):
    """The output projection of torch.nn.MultiheadAttention: a Linear that dynamic quantization skips."""

    def forward(self, input: Tensor) -> Tensor:
        return F.linear(input, self.weight, self.bias)


class Bilinear(torch.nn.Bilinear):
    """torch.nn.Bilinear with the explicit backward of `mb.rules.Bilinear`."""

    def forward(self, input1: Tensor, input2: Tensor) -> Tensor:
        return F.bilinear(input1, input2, self.weight, self.bias)
