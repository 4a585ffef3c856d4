"""Losses with a margin."""

from __future__ import annotations

import torch
from torch import Tensor

from .. import functional as F


class MarginRankingLoss(torch.nn.MarginRankingLoss):
    """torch.nn.MarginRankingLoss with the explicit backward of `mb.rules.MarginRankingLoss`."""

    def forward(self, input1: Tensor, input2: Tensor, target: Tensor) -> Tensor:
        return F.margin_ranking_loss(input1, input2, target, self.margin, reduction=self.reduction)


class HingeEmbeddingLoss(torch.nn.HingeEmbeddingLoss):
    """torch.nn.HingeEmbeddingLoss with the explicit backward of `mb.rules.HingeEmbeddingLoss`."""

    def forward(self, input: Tensor, target: Tensor) -> Tensor:
        return F.hinge_embedding_loss(input, target, self.margin, reduction=self.reduction)


class TripletMarginLoss(torch.nn.TripletMarginLoss):
    """torch.nn.TripletMarginLoss with the explicit backward of `mb.rules.PairwiseDistance` and
    `mb.rules.TripletMarginLoss`."""

    def forward(self, anchor: Tensor, positive: Tensor, negative: Tensor) -> Tensor:
        return F.triplet_margin_loss(
            anchor, positive, negative, self.margin, self.p, self.eps, self.swap, reduction=self.reduction
        )


class TripletMarginWithDistanceLoss(torch.nn.TripletMarginWithDistanceLoss):
    """torch.nn.TripletMarginWithDistanceLoss with the explicit backward of `mb.rules.TripletMarginLoss`; the default
    distance is `mb.functional.pairwise_distance`."""

    def forward(self, anchor: Tensor, positive: Tensor, negative: Tensor) -> Tensor:
        given = self.distance_function
        return F.triplet_margin_with_distance_loss(
            anchor,
            positive,
            negative,
            distance_function=F.pairwise_distance if given is torch.nn.functional.pairwise_distance else given,
            margin=self.margin,
            swap=self.swap,
            reduction=self.reduction,
        )


class MultiMarginLoss(torch.nn.MultiMarginLoss):
    """torch.nn.MultiMarginLoss with the explicit backward of `mb.rules.MultiMarginLoss`."""

    def forward(self, input: Tensor, target: Tensor) -> Tensor:
        return F.multi_margin_loss(input, target, self.p, self.margin, self.weight, reduction=self.reduction)


class MultiLabelMarginLoss(torch.nn.MultiLabelMarginLoss):
    """torch.nn.MultiLabelMarginLoss with the explicit backward of `mb.rules.MultiLabelMarginLoss`."""

    def forward(self, input: Tensor, target: Tensor) -> Tensor:
        return F.multilabel_margin_loss(input, target, reduction=self.reduction)
