"""Activations that weight a value by a gate between 0 and 1."""

from __future__ import annotations

import torch
from torch import Tensor

from .. import functional as F


class GELU(torch.nn.GELU):
    """torch.nn.GELU with the explicit backward of `mb.rules.GELU`."""

    def forward(self, input: Tensor) -> Tensor:
        return F.gelu(input, approximate=self.approximate)


class GLU(torch.nn.GLU):
    """torch.nn.GLU with the explicit backward of `mb.rules.GLU`."""

    def forward(self, input: Tensor) -> Tensor:
        return F.glu(input, self.dim)
