"""The same elements in another shape, or just the input itself."""

from __future__ import annotations

import torch
from torch import Tensor

from .. import functional as F


class Identity(torch.nn.Identity):
    """torch.nn.Identity: returns its input itself, so a delta meets no backward node on its way."""

    def forward(self, input: Tensor) -> Tensor:
        return input


class Flatten(torch.nn.Flatten):
    """torch.nn.Flatten with the explicit backward of `mb.rules.Flatten`."""

    def forward(self, input: Tensor) -> Tensor:
        return F.flatten(input, self.start_dim, self.end_dim)


class Unflatten(torch.nn.Unflatten):
    """torch.nn.Unflatten with the explicit backward of `mb.rules.Unflatten`."""

    def forward(self, input: Tensor) -> Tensor:
        return F.unflatten(input, self.dim, self.unflattened_size)
