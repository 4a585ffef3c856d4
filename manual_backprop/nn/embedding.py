"""Lookup in a table of learned rows."""

from __future__ import annotations

import torch
from torch import Tensor

from .. import functional as F


class Embedding(torch.nn.Embedding):
    """torch.nn.Embedding with the explicit backward of `mb.rules.Embedding`."""

    def forward(self, input: Tensor) -> Tensor:
        return F.embedding(
            input, self.weight, self.padding_idx, self.max_norm, self.norm_type, self.scale_grad_by_freq, self.sparse
        )
