"""Lookup of bags of rows in a table of learned rows."""

from __future__ import annotations

import torch
from torch import Tensor

from .. import functional as F


class EmbeddingBag(torch.nn.EmbeddingBag):
    """torch.nn.EmbeddingBag with the explicit backward of `mb.rules.EmbeddingBag`."""

    def forward(self, input: Tensor, offsets: Tensor | None = None, per_sample_weights: Tensor | None = None) -> Tensor:
        return F.embedding_bag(
            input,
            self.weight,
            offsets,
            self.max_norm,
            self.norm_type,
            self.scale_grad_by_freq,
            self.mode,
            self.sparse,
            per_sample_weights,
            self.include_last_offset,
            self.padding_idx,
        )
