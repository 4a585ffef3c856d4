"""The same elements in another shape, or just the input itself."""

from __future__ import annotations

import torch
from torch import Tensor


class Identity(torch.nn.Identity):
    """torch.nn.Identity: returns its input itself, so it adds no backward node."""

    def forward(self, input: Tensor) -> Tensor:
        return input


class Flatten(torch.nn.Flatten):
    """torch.nn.Flatten: returns a view, through torch's own node, which computes nothing."""


class Unflatten(torch.nn.Unflatten):
    """torch.nn.Unflatten: returns a view, through torch's own node, which computes nothing."""
