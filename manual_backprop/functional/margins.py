"""Losses with a margin."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from .. import rules
from ._autocast import cast_arguments
from ._call import call
from ._losses import common_shape, constant, reduction_of, refuse_gradient
from .similarity import pairwise_distance

Distance = Callable[[Tensor, Tensor], Tensor]


def margin_ranking_loss(
    input1: Tensor,
    input2: Tensor,
    target: Tensor,
    margin: float = 0,
    size_average: bool | None = None,
    reduce: bool | None = None,
    reduction: str = "mean",
) -> Tensor:
    """max(0, margin - y (x1 - x2)), as torch.nn.functional.margin_ranking_loss; rule: `mb.rules.MarginRankingLoss`.

    ValueError for an unknown reduction, RuntimeError where the numbers of axes differ or the sizes cannot be broadcast.
    """
    reduction = reduction_of(reduction, size_average, reduce)
    if not input1.dim() == input2.dim() == target.dim():
        raise RuntimeError(
            f"margin_ranking_loss : All input tensors should have same dimension but got sizes: "
            f"input1: {input1.size()}, input2: {input2.size()}, target: {target.size()} "
        )
    input1, input2, target = common_shape(input1, input2, target)
    return call(rules.MarginRankingLoss, input1, input2, target, margin, reduction)[0]


def hinge_embedding_loss(
    input: Tensor,
    target: Tensor,
    margin: float = 1.0,
    size_average: bool | None = None,
    reduce: bool | None = None,
    reduction: str = "mean",
) -> Tensor:
    """x where y = 1, max(0, margin - x) where y = -1, as torch.nn.functional.hinge_embedding_loss.

    Rule: `mb.rules.HingeEmbeddingLoss`. ValueError for an unknown reduction, RuntimeError where the sizes cannot be
    broadcast.
    """
    reduction = reduction_of(reduction, size_average, reduce)
    input, target = common_shape(input, constant(target))
    return call(rules.HingeEmbeddingLoss, input, target, margin, reduction)[0]


def triplet_margin_loss(
    anchor: Tensor,
    positive: Tensor,
    negative: Tensor,
    margin: float = 1.0,
    p: float = 2,
    eps: float = 1e-6,
    swap: bool = False,
    size_average: bool | None = None,
    reduce: bool | None = None,
    reduction: str = "mean",
) -> Tensor:
    """max(0, margin + |a - p| - |a - n|), as torch.nn.functional.triplet_margin_loss.

    Rules: `mb.rules.PairwiseDistance` and `mb.rules.TripletMarginLoss`. With swap, |p - n| replaces |a - n| where it is
    smaller. ValueError for an unknown reduction or a margin that is not positive, RuntimeError where the numbers of
    axes differ.
    """
    reduction = reduction_of(reduction, size_average, reduce)

    device = anchor.device.type
    if device != "meta" and torch.is_autocast_enabled(device):  # autocast casts the whole loss, not each distance
        anchor, positive, negative = cast_arguments("float32", device, (anchor, positive, negative))

    def distance(one: Tensor, other: Tensor) -> Tensor:
        return pairwise_distance(one, other, p, eps)

    return _triplet(anchor, positive, negative, distance, margin, swap, reduction)


def triplet_margin_with_distance_loss(
    anchor: Tensor,
    positive: Tensor,
    negative: Tensor,
    *,
    distance_function: Distance | None = None,
    margin: float = 1.0,
    swap: bool = False,
    reduction: str = "mean",
) -> Tensor:
    """max(0, margin + d(a, p) - d(a, n)), as torch.nn.functional.triplet_margin_with_distance_loss.

    Rule: `mb.rules.TripletMarginLoss`. The distance is `pairwise_distance`, or your function; calls of torch in it run
    on rules. With swap, d(p, n) replaces d(a, n) where it is smaller. ValueError for an unknown reduction or a margin
    that is not positive, RuntimeError where the numbers of axes differ.
    """
    if reduction not in ("mean", "sum", "none"):
        raise ValueError(f"{reduction} is not a valid value for reduction")
    distance = pairwise_distance if distance_function is None else _on_rules(distance_function)
    return _triplet(anchor, positive, negative, distance, margin, swap, reduction)


def _on_rules(distance: Distance) -> Distance:
    from ..explicit import explicit  # imported here, because that module imports this folder

    def run(one: Tensor, other: Tensor) -> Tensor:
        with explicit():
            return distance(one, other)

    return run


def _triplet(
    anchor: Tensor,
    positive: Tensor,
    negative: Tensor,
    distance: Distance,
    margin: float,
    swap: bool,
    reduction: str,
) -> Tensor:
    if margin <= 0:
        raise ValueError(f"margin must be greater than 0, got {margin}")
    if not anchor.dim() == positive.dim() == negative.dim():
        raise RuntimeError(
            f"The anchor, positive, and negative tensors are expected to have the same number of dimensions, but got: "
            f"anchor {anchor.dim()}D, positive {positive.dim()}D, and negative {negative.dim()}D inputs"
        )
    near, far = distance(anchor, positive), distance(anchor, negative)
    if not swap:
        near, far = common_shape(near, far)
        return call(rules.TripletMarginLoss, near, far, None, margin, reduction)
    near, far, swapped = common_shape(near, far, distance(positive, negative))
    return call(rules.TripletMarginLoss, near, far, swapped, margin, reduction)


def multi_margin_loss(
    input: Tensor,
    target: Tensor,
    p: int = 1,
    margin: float = 1.0,
    weight: Tensor | None = None,
    size_average: bool | None = None,
    reduce: bool | None = None,
    reduction: str = "mean",
) -> Tensor:
    """Mean over the other classes of max(0, margin - x_y + x_j)^p, as torch.nn.functional.multi_margin_loss.

    Rule: `mb.rules.MultiMarginLoss`. ValueError for an unknown reduction, a p other than 1 and 2, or a weight that is
    not a vector; RuntimeError for a weight that requires a gradient.
    """
    reduction = reduction_of(reduction, size_average, reduce)
    if p not in (1, 2):
        raise ValueError(f"only p == 1 and p == 2 supported. got: {p}")
    if weight is not None and weight.dim() != 1:
        raise ValueError(f"weight must be one-dimensional. got: {tuple(weight.shape)}")
    refuse_gradient("weight", weight)
    return call(rules.MultiMarginLoss, input, target, p, margin, weight, reduction)
