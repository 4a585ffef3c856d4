"""Distances, angles and norms of vectors."""

from __future__ import annotations

import torch.nn.functional as theirs
from torch import Tensor

from .. import rules
from ._call import call
from ._losses import reduction_of
from ._overloads import stands_for


def pairwise_distance(x1: Tensor, x2: Tensor, p: float = 2.0, eps: float = 1e-6, keepdim: bool = False) -> Tensor:
    """|x1 - x2 + eps| along the last axis, as torch.nn.functional.pairwise_distance; rule: `mb.rules.PairwiseDistance`.

    RuntimeError where the sizes cannot be broadcast.
    """
    return call(rules.PairwiseDistance, x1, x2, p, eps, keepdim)


@stands_for("_pdist_forward")
def pdist(input: Tensor, p: float = 2.0) -> Tensor:
    """|x_i - x_j| for each pair i < j of rows, as torch.nn.functional.pdist; rule: `mb.rules.PDist`.

    RuntimeError for an input that is not a matrix, and for a negative p.
    """
    return call(rules.PDist, input, p)


def cosine_similarity(x1: Tensor, x2: Tensor, dim: int = 1, eps: float = 1e-8) -> Tensor:
    """The cosine of the angle between vectors along an axis, as torch.nn.functional.cosine_similarity.

    Rule: `mb.rules.CosineSimilarity`. RuntimeError where the sizes cannot be broadcast.
    """
    return call(rules.CosineSimilarity, x1, x2, dim, eps)


def cosine_embedding_loss(
    input1: Tensor,
    input2: Tensor,
    target: Tensor,
    margin: float = 0,
    size_average: bool | None = None,
    reduce: bool | None = None,
    reduction: str = "mean",
) -> Tensor:
    """1 - cos(x1, x2) where y = 1, max(0, cos(x1, x2) - margin) where y = -1, as torch.nn.functional's.

    Rule: `mb.rules.CosineEmbeddingLoss`. ValueError for an unknown reduction, RuntimeError for sizes that do not fit.
    """
    reduction = reduction_of(reduction, size_average, reduce)
    return call(rules.CosineEmbeddingLoss, input1, input2, target, margin, reduction)


def normalize(
    input: Tensor, p: float = 2.0, dim: int | tuple = 1, eps: float = 1e-12, out: Tensor | None = None
) -> Tensor:
    """x / max(|x|, eps), the norm taken along one axis or several, as torch.nn.functional.normalize.

    Rule: `mb.rules.Normalize`. With `out`, torch's own function writes the result there; RuntimeError if an argument
    then requires a gradient.
    """
    if out is not None:
        return theirs.normalize(input, p, dim, eps, out)  # type: ignore[arg-type]
    return call(rules.Normalize, input, p, dim, eps)
