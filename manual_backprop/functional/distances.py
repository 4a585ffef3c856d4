"""Distances between all pairs of points, with torch's signatures."""

from __future__ import annotations

from torch import Tensor

from .. import rules
from ._call import call
from ._overloads import stands_for

MODES = "use_mm_for_euclid_dist_if_necessary", "use_mm_for_euclid_dist", "donot_use_mm_for_euclid_dist"
"""How to compute Euclidean distances, in the order of torch's numbers; None means the first."""

MANY = 25
"""With more points than this in either argument, torch computes Euclidean distances by a matmul."""


def cdist(x1: Tensor, x2: Tensor, p: float = 2.0, compute_mode: str = MODES[0]) -> Tensor:
    """|a_i - b_j|_p, as torch.cdist; rules: `mb.rules.Cdist`, `mb.rules.EuclideanDistances`."""
    many = compute_mode == MODES[0] and (x1.dim() > 1 < x2.dim()) and max(x1.shape[-2], x2.shape[-2]) > MANY
    if p == 2 and x1.shape[-1] and (many or compute_mode == MODES[1]):
        return call(rules.EuclideanDistances, x1, x2)
    return call(rules.Cdist, x1, x2, p, compute_mode)


@stands_for("_cdist_forward")
def _cdist(x1: Tensor, x2: Tensor, p: float, compute_mode: int | None) -> Tensor:
    return call(rules.Cdist, x1, x2, p, MODES[compute_mode or 0])


@stands_for("_euclidean_dist")
def _euclidean(x1: Tensor, x2: Tensor) -> Tensor:
    return call(rules.EuclideanDistances, x1, x2)
