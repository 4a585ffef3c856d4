"""Activations made of line and parabola segments."""

from __future__ import annotations

import torch
from torch import Tensor

from .. import functional as F


class Hardtanh(torch.nn.Hardtanh):
    """torch.nn.Hardtanh with the explicit backward of `mb.rules.Hardtanh`."""

    def forward(self, input: Tensor) -> Tensor:
        return F.hardtanh(input, self.min_val, self.max_val, self.inplace)


class ReLU6(torch.nn.ReLU6):
    """torch.nn.ReLU6 with the explicit backward of `mb.rules.Hardtanh`."""

    def forward(self, input: Tensor) -> Tensor:
        return F.hardtanh(input, self.min_val, self.max_val, self.inplace)


class Hardshrink(torch.nn.Hardshrink):
    """torch.nn.Hardshrink with the explicit backward of `mb.rules.Hardshrink`."""

    def forward(self, input: Tensor) -> Tensor:
        return F.hardshrink(input, self.lambd)


class Softshrink(torch.nn.Softshrink):
    """torch.nn.Softshrink with the explicit backward of `mb.rules.Softshrink`."""

    def forward(self, input: Tensor) -> Tensor:
        return F.softshrink(input, self.lambd)


class Hardsigmoid(torch.nn.Hardsigmoid):
    """torch.nn.Hardsigmoid with the explicit backward of `mb.rules.Hardsigmoid`."""

    def forward(self, input: Tensor) -> Tensor:
        return F.hardsigmoid(input, self.inplace)


class Hardswish(torch.nn.Hardswish):
    """torch.nn.Hardswish with the explicit backward of `mb.rules.Hardswish`."""

    def forward(self, input: Tensor) -> Tensor:
        return F.hardswish(input, self.inplace)
