"""Exponential linear units."""

from __future__ import annotations

import torch
from torch import Tensor

from .. import functional as F


class ELU(torch.nn.ELU):
    """torch.nn.ELU with the explicit backward of `mb.rules.ELU`."""

    def forward(self, input: Tensor) -> Tensor:
        return F.elu(input, self.alpha, self.inplace)


class CELU(torch.nn.CELU):
    """torch.nn.CELU with the explicit backward of `mb.rules.CELU`."""

    def forward(self, input: Tensor) -> Tensor:
        return F.celu(input, self.alpha, self.inplace)


class SELU(torch.nn.SELU):
    """torch.nn.SELU with the explicit backward of `mb.rules.SELU`."""

    def forward(self, input: Tensor) -> Tensor:
        return F.selu(input, self.inplace)
