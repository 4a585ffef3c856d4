"""Distances and angles of vectors."""

from __future__ import annotations

import torch
from torch import Tensor

from .. import functional as F


class PairwiseDistance(torch.nn.PairwiseDistance):
    """torch.nn.PairwiseDistance with the explicit backward of `mb.rules.PairwiseDistance`."""

    def forward(self, x1: Tensor, x2: Tensor) -> Tensor:
        return F.pairwise_distance(x1, x2, self.norm, self.eps, self.keepdim)


class CosineSimilarity(torch.nn.CosineSimilarity):
    """torch.nn.CosineSimilarity with the explicit backward of `mb.rules.CosineSimilarity`."""

    def forward(self, x1: Tensor, x2: Tensor) -> Tensor:
        return F.cosine_similarity(x1, x2, self.dim, self.eps)


class CosineEmbeddingLoss(torch.nn.CosineEmbeddingLoss):
    """torch.nn.CosineEmbeddingLoss with the explicit backward of `mb.rules.CosineEmbeddingLoss`."""

    def forward(self, input1: Tensor, input2: Tensor, target: Tensor) -> Tensor:
        return F.cosine_embedding_loss(input1, input2, target, self.margin, reduction=self.reduction)
