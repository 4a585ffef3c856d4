"""Activations that return positive inputs unchanged (Threshold: those above its threshold)."""

from __future__ import annotations

import torch
from torch import Tensor

from .. import functional as F


class ReLU(torch.nn.ReLU):
    """torch.nn.ReLU with the explicit backward of `mb.rules.ReLU`."""

    def forward(self, input: Tensor) -> Tensor:
        return F.relu(input, inplace=self.inplace)


class Threshold(torch.nn.Threshold):
    """torch.nn.Threshold with the explicit backward of `mb.rules.Threshold`."""

    def forward(self, input: Tensor) -> Tensor:
        return F.threshold(input, self.threshold, self.value, self.inplace)


class LeakyReLU(torch.nn.LeakyReLU):
    """torch.nn.LeakyReLU with the explicit backward of `mb.rules.LeakyReLU`."""

    def forward(self, input: Tensor) -> Tensor:
        return F.leaky_relu(input, self.negative_slope, self.inplace)


class PReLU(torch.nn.PReLU):
    """torch.nn.PReLU with the explicit backward of `mb.rules.PReLU`."""

    def forward(self, input: Tensor) -> Tensor:
        return F.prelu(input, self.weight)


class RReLU(torch.nn.RReLU):
    """torch.nn.RReLU with the explicit backward of `mb.rules.RReLU`."""

    def forward(self, input: Tensor) -> Tensor:
        return F.rrelu(input, self.lower, self.upper, self.training, self.inplace)
