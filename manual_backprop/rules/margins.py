"""Losses with a margin, which are zero where the margin holds: MarginRankingLoss, HingeEmbeddingLoss,
TripletMarginLoss, MultiMarginLoss, MultiLabelMarginLoss.

At the kink, where a margin holds with equality, the derivative counts as zero, as in torch.
"""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from ..engine.rule import Rule
from ..engine.terms import reduced
from .loss import FLOAT32, per_loss


def where(condition: Tensor, delta: Tensor) -> Tensor:
    """The delta where the condition holds, that is, where a margin is violated; else zero."""
    return torch.where(condition, delta, torch.zeros((), dtype=delta.dtype, device=delta.device))


class MarginRankingLoss(Rule):
    """l = max(0, margin - y (x1 - x2)), or the mean or sum of all

    input1, input2 (*)   target y (*), each -1 or 1   margin: number   reduction: "none", "mean" or "sum"
    output, delta (*), or () when reduced   mask (*): true where y (x1 - x2) < margin

    delta_input1 = -y delta     delta_input2 = y delta     delta_target = (x2 - x1) delta
    each where mask is true, else 0                                                    with delta / n for a mean

    Source: Herbrich, Graepel, Obermayer 2000, "Large margin rank boundaries for ordinal regression".
    """

    results = "output", "mask"
    elementwise = True
    upcast = True
    autocast = FLOAT32

    def forward(input1: Tensor, input2: Tensor, target: Tensor, margin: float, reduction: str) -> tuple[Tensor, Tensor]:
        """The mask is kept, so that input1 and input2 may be overwritten before the backward, as in torch."""
        # torch's own operator does not support vmap
        excess = -target * (input1 - input2) + margin
        return reduced(excess.clamp_min(0), reduction), excess > 0

    def delta_input1(delta_input2: Tensor) -> Tensor:
        return -delta_input2

    def delta_input2(delta: Tensor, target: Tensor, mask: Tensor, reduction: str) -> Tensor:
        return MarginRankingLoss.scaled(target, mask, per_loss(delta, reduction, mask.numel()))

    def scaled(target: Tensor, mask: Tensor, factor: float | Tensor) -> Tensor:
        return target * torch.where(mask, factor, 0.0)

    def delta_target(delta: Tensor, input1: Tensor, input2: Tensor, mask: Tensor, reduction: str) -> Tensor:
        return (input2 - input1) * where(mask, per_loss(delta, reduction, mask.numel()))


class HingeEmbeddingLoss(Rule):
    """l = x where y = 1, max(0, margin - x) where y = -1, or the mean or sum of all

    input x (*), distances   target y (*), each -1 or 1   margin: number   reduction: "none", "mean" or "sum"
    output, delta (*), or () when reduced   alike, close (*): true where y = 1, and where y = -1 and margin - x > 0

    delta_input = delta where alike;   -delta where close;   else 0                        with delta / n for a mean
    (any other y counts as both)

    Source: Hadsell, Chopra, LeCun 2006, "Dimensionality reduction by learning an invariant mapping".
    """

    results = "output", "alike", "close"
    elementwise = True
    upcast = True
    autocast = FLOAT32

    def forward(input: Tensor, target: Tensor, margin: float, reduction: str) -> tuple[Tensor, Tensor, Tensor]:
        """Masks are kept, as torch keeps them: input and target may then be overwritten before the backward."""
        alike, unlike, left = target != -1, target != 1, margin - input
        output = where(alike, input) + where(unlike, left.clamp_min(0))
        return reduced(output, reduction), alike, unlike & (left > 0)

    def delta_input(delta: Tensor, alike: Tensor, close: Tensor, reduction: str) -> Tensor:
        delta = per_loss(delta, reduction, alike.numel())
        return where(alike, delta) - where(close, delta)


class TripletMarginLoss(Rule):
    """l = max(0, margin + p - n), or the mean or sum of all, n the smaller of two distances where there are two

    positive p, negative n, swapped (*) or None: distances   margin: number   reduction: "none", "mean" or "sum"
    output, delta (*), or () when reduced

    delta_positive = delta where margin + p - n > 0, else 0                                 with delta / n for a mean
    delta_negative, delta_swapped = -delta_positive for the smaller one, half of it each where they are equal

    Source: Schroff, Kalenichenko, Philbin 2015, "FaceNet", equation 3; Balntas, Riba, Ponsa, Mikolajczyk 2016,
    "Learning local feature descriptors with triplets and shallow convolutional neural networks", section 3.1 (swap).
    """

    elementwise = True
    upcast = True

    def forward(positive: Tensor, negative: Tensor, swapped: Tensor | None, margin: float, reduction: str) -> Tensor:
        nearest = negative if swapped is None else torch.minimum(negative, swapped)
        return reduced(torch.clamp_min(margin + positive - nearest, 0), reduction)

    def delta_positive(
        delta: Tensor, positive: Tensor, negative: Tensor, swapped: Tensor | None, margin: float, reduction: str
    ) -> Tensor:
        nearest = negative if swapped is None else torch.minimum(negative, swapped)
        return where(margin + positive - nearest > 0, per_loss(delta, reduction, positive.numel()))

    def delta_negative(delta_positive: Tensor, negative: Tensor, swapped: Tensor | None) -> Tensor:
        return -delta_positive if swapped is None else -smaller(delta_positive, negative, swapped)

    def delta_swapped(delta_positive: Tensor, negative: Tensor, swapped: Tensor) -> Tensor:
        return -smaller(delta_positive, swapped, negative)


def smaller(delta: Tensor, one: Tensor, other: Tensor) -> Tensor:
    """The delta of `one` from the delta of min(one, other)."""
    return torch.where(one == other, delta / 2, delta).masked_fill(one > other, 0)


class MultiMarginLoss(Rule):
    """l = w_y sum over j != y of max(0, margin - x_y + x_j)^p / V, or the mean or sum of all

    input (N, V) or (V,)   target y (N) or (), class indices   p: 1 or 2   margin: number   weight w (V) or None
    reduction: "none", "mean" or "sum"   output, delta (N), or () when reduced

    delta_input_j = w_y p max(0, margin - x_y + x_j)^(p - 1) / V delta for j != y, where that margin is broken
    delta_input_y = - the sum of these over j                                               with delta / n for a mean

    Source: Crammer, Singer 2001, "On the algorithmic implementation of multiclass kernel-based vector machines".
    """

    upcast = True
    autocast = FLOAT32
    tangent_reads = ()

    def forward(input: Tensor, target: Tensor, p: int, margin: float, weight: Tensor | None, reduction: str) -> Tensor:
        if not input.numel():  # torch leaves the output uninitialized
            return reduced(torch.zeros_like(target, dtype=input.dtype), reduction)
        return F.multi_margin_loss(input, target, p, margin, weight, reduction=reduction)

    def delta_input(
        delta: Tensor, input: Tensor, target: Tensor, p: int, margin: float, weight: Tensor | None, reduction: str
    ) -> Tensor:
        slopes = MultiMarginLoss.slopes(input, target, p, margin, weight)
        return (slopes * per_loss(delta, reduction, len(slopes)).reshape(-1, 1)).reshape(input.shape)

    def slopes(input: Tensor, target: Tensor, p: int, margin: float, weight: Tensor | None) -> Tensor:
        """(N, V): the derivative of each row's loss by the elements of the row."""
        rows, index = input.reshape(-1, classes(input)), target.reshape(-1, 1)
        excess = margin - rows.gather(1, index) + rows
        slopes = where(excess > 0, torch.ones_like(excess) if p == 1 else 2 * excess) / rows.shape[1]
        if weight is not None:
            slopes = slopes * weight[index]
        others = slopes.scatter(1, index, 0.0)
        return others.scatter(1, index, -others.sum(1, keepdim=True))

    def tangent(inputs: tuple, tangents: tuple, output: Tensor) -> Tensor:
        input, target, p, margin, weight, reduction = inputs
        slopes = MultiMarginLoss.slopes(input, target, p, margin, weight)
        return along(slopes, tangents[0], reduction, output)


class MultiLabelMarginLoss(Rule):
    """l = sum over targets j and others i of max(0, 1 - x_j + x_i) / V, or the mean or sum of all

    input (N, V) or (V,)   target (N, V) or (V,), class indices, the first negative one ends the list
    reduction: "none", "mean" or "sum"   output, delta (N), or () when reduced

    delta_input_i = number of broken margins with i as the other / V delta
    delta_input_j = - number of broken margins with j as the target / V delta               with delta / n for a mean

    Source: Crammer, Singer 2003, "A family of additive online algorithms for category ranking".
    """

    upcast = True
    autocast = FLOAT32
    tangent_reads = ()

    def forward(input: Tensor, target: Tensor, reduction: str) -> Tensor:
        if not input.numel():  # torch leaves the output uninitialized
            return reduced(input.new_zeros(input.shape[:-1]), reduction)
        return F.multilabel_margin_loss(input, target, reduction=reduction)

    def delta_input(delta: Tensor, input: Tensor, target: Tensor, reduction: str) -> Tensor:
        slopes = MultiLabelMarginLoss.slopes(input, target)
        return (slopes * per_loss(delta, reduction, len(slopes)).reshape(-1, 1)).reshape(input.shape)

    def slopes(input: Tensor, target: Tensor) -> Tensor:
        """(N, V): the derivative of each row's loss by the elements of the row."""
        rows, target = input.reshape(-1, classes(input)), target.reshape(-1, classes(input))
        listed = (target >= 0).cumprod(1)
        index = target.clamp(min=0)
        other = torch.zeros_like(listed).scatter_add(1, index, listed) == 0
        excess = 1 - rows.gather(1, index).unsqueeze(2) + rows.unsqueeze(1)  # (N, targets, others)
        broken = ((excess > 0) & other.unsqueeze(1)).to(rows.dtype) * listed.unsqueeze(2)
        return (broken.sum(1) - torch.zeros_like(rows).scatter_add(1, index, broken.sum(2))) / rows.shape[1]

    def tangent(inputs: tuple, tangents: tuple, output: Tensor) -> Tensor:
        input, target, reduction = inputs
        return along(MultiLabelMarginLoss.slopes(input, target), tangents[0], reduction, output)


def classes(input: Tensor) -> int:
    """The size of the last axis; 1 for a tensor without axes."""
    return input.shape[-1] if input.dim() else 1


def along(slopes: Tensor, tangent: Tensor, reduction: str, output: Tensor) -> Any:
    """The tangent of the losses, from the tangent of the input."""
    moved = (slopes * tangent.reshape(slopes.shape)).sum(1)
    return reduced(moved, reduction).reshape(output.shape).to(output.dtype)
