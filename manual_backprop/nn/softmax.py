"""Softmax, Softmin, Softmax2d and LogSoftmax."""

from __future__ import annotations

import torch
from torch import Tensor

from .. import functional as F


class Softmax(torch.nn.Softmax):
    """torch.nn.Softmax with the explicit backward of `mb.rules.Softmax`."""

    def forward(self, input: Tensor) -> Tensor:
        return F.softmax(input, self.dim, _stacklevel=5)


class Softmin(torch.nn.Softmin):
    """torch.nn.Softmin with the explicit backward of `mb.rules.Softmin`."""

    def forward(self, input: Tensor) -> Tensor:
        return F.softmin(input, self.dim, _stacklevel=5)


class Softmax2d(torch.nn.Softmax2d):
    """torch.nn.Softmax2d with the explicit backward of `mb.rules.Softmax`."""

    def forward(self, input: Tensor) -> Tensor:
        if input.dim() not in (3, 4):
            raise ValueError(f"Softmax2d: expected input to be 3D or 4D, got {input.dim()}D instead")
        return F.softmax(input, -3, _stacklevel=5)


class LogSoftmax(torch.nn.LogSoftmax):
    """torch.nn.LogSoftmax with the explicit backward of `mb.rules.LogSoftmax`."""

    def forward(self, input: Tensor) -> Tensor:
        return F.log_softmax(input, self.dim, _stacklevel=5)
