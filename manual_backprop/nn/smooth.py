"""Smooth activations."""

from __future__ import annotations

import torch
from torch import Tensor

from .. import functional as F


class Sigmoid(torch.nn.Sigmoid):
    """torch.nn.Sigmoid with the explicit backward of `mb.rules.Sigmoid`."""

    def forward(self, input: Tensor) -> Tensor:
        return F.sigmoid(input)


class LogSigmoid(torch.nn.LogSigmoid):
    """torch.nn.LogSigmoid with the explicit backward of `mb.rules.LogSigmoid`."""

    def forward(self, input: Tensor) -> Tensor:
        return F.logsigmoid(input)


class Tanh(torch.nn.Tanh):
    """torch.nn.Tanh with the explicit backward of `mb.rules.Tanh`."""

    def forward(self, input: Tensor) -> Tensor:
        return F.tanh(input)


class Tanhshrink(torch.nn.Tanhshrink):
    """torch.nn.Tanhshrink with the explicit backward of `mb.rules.Tanhshrink`."""

    def forward(self, input: Tensor) -> Tensor:
        return F.tanhshrink(input)


class Softplus(torch.nn.Softplus):
    """torch.nn.Softplus with the explicit backward of `mb.rules.Softplus`."""

    def forward(self, input: Tensor) -> Tensor:
        return F.softplus(input, self.beta, self.threshold)


class Softsign(torch.nn.Softsign):
    """torch.nn.Softsign with the explicit backward of `mb.rules.Softsign`."""

    def forward(self, input: Tensor) -> Tensor:
        return F.softsign(input)


class SiLU(torch.nn.SiLU):
    """torch.nn.SiLU with the explicit backward of `mb.rules.SiLU`."""

    def forward(self, input: Tensor) -> Tensor:
        return F.silu(input, self.inplace)


class Mish(torch.nn.Mish):
    """torch.nn.Mish with the explicit backward of `mb.rules.Mish`."""

    def forward(self, input: Tensor) -> Tensor:
        return F.mish(input, self.inplace)
