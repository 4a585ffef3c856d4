"""Distances between all pairs of points, in a p-norm.

The derivative of |d| counts as 0 where d is 0, so also where two points are equal, as in torch.
"""

from __future__ import annotations

import torch
from torch import Tensor

from ..engine.rule import Rule
from ..engine.terms import sum_to

FLOAT32 = {"cpu": "float32", "cuda": "float32"}


def slope(difference: Tensor, distance: Tensor, p: float) -> Tensor:
    """The derivatives of |d|_p by the coordinates of d.

    sign(d) |d|^(p-1) / |d|_p^(p-1). For p = inf: sign(d) at the largest coordinates, else 0. For p = 0, which counts
    the coordinates that are not 0: zeros.
    """
    if p == 0:
        return torch.zeros_like(difference)
    if p == 1:
        return sign(difference)
    if p == float("inf"):
        gap = difference.abs() - distance
        return sign(difference) * torch.where(gap.isnan(), gap, (gap == 0).to(gap.dtype))
    apart, off = distance != 0, difference != 0
    distance = torch.where(apart, distance, 1)
    if p == 2:
        return torch.where(apart, difference / distance, 0)
    size = torch.where(off, difference.abs(), 1)
    return torch.where(apart & off, difference.sign() * (size ** (p - 1) / distance ** (p - 1)), 0)


def sign(difference: Tensor) -> Tensor:
    """-1, 0 or 1; NaN stays NaN."""
    return torch.where(difference.isnan(), difference, difference.sign())


ENOUGH = 2**22
"""The largest number of coordinate differences in memory at a time."""


def some(points: Tensor, distances: Tensor) -> tuple[Tensor, ...]:
    """The points in chunks of coordinates: the differences of all pairs in all coordinates may not fit in memory."""
    return points.split(max(1, ENOUGH // max(1, distances.numel())), -1)


class Cdist(Rule):
    """y_ij = |a_i - b_j|_p

    x1 (*, P, M)   x2 (*, R, M)   p: the norm   output, delta (*, P, R)

    delta_x1_i = sum over j of delta_ij s_ij     delta_x2_j = - sum over i of delta_ij s_ij
    s_ij = the slope of |d|_p at d = a_i - b_j,   each summed over broadcast axes

    Source: Griewank, Walther 2008, "Evaluating Derivatives": the chain rule through the p-norm.
    """

    autocast = FLOAT32

    def forward(x1: Tensor, x2: Tensor, p: float, compute_mode: str) -> Tensor:
        return torch.cdist(x1, x2, p, compute_mode)

    def deltas(delta: Tensor, x1: Tensor, x2: Tensor, output: Tensor, p: float) -> tuple[Tensor, Tensor]:
        delta, output = delta.unsqueeze(-1), output.unsqueeze(-1)
        of_x1, of_x2 = [], []
        for a, b in zip(some(x1, output), some(x2, output), strict=True):
            pulls = delta * slope(a.unsqueeze(-2) - b.unsqueeze(-3), output, p)
            of_x1.append(pulls.sum(-2))
            of_x2.append(-pulls.sum(-3))
        return torch.cat(of_x1, -1), torch.cat(of_x2, -1)

    def delta_x1(deltas: tuple, x1_shape: torch.Size) -> Tensor:
        return sum_to(deltas[0], x1_shape)

    def delta_x2(deltas: tuple, x2_shape: torch.Size) -> Tensor:
        return sum_to(deltas[1], x2_shape)

    def tangent(inputs: tuple, tangents: tuple, output: Tensor) -> Tensor:
        (x1, x2, p, _), (t_x1, t_x2, *_) = inputs, tangents
        moved: Tensor | float = 0.0 if t_x1 is None else t_x1.unsqueeze(-2)
        moved = moved if t_x2 is None else moved - t_x2.unsqueeze(-3)
        return (moved * slope(x1.unsqueeze(-2) - x2.unsqueeze(-3), output.unsqueeze(-1), p)).sum(-1)


class EuclideanDistances(Rule):
    """y_ij = |a_i - b_j| = sqrt(|a_i|^2 + |b_j|^2 - 2 a_i · b_j), by one product of matrices

    x1 (*, P, M)   x2 (*, R, M)   output, delta (*, P, R)

    w_ij = delta_ij / y_ij, 0 where y_ij is 0
    delta_x1_i = a_i sum over j of w_ij - sum over j of w_ij b_j
    delta_x2_j = b_j sum over i of w_ij - sum over i of w_ij a_i

    Source: Griewank, Walther 2008, "Evaluating Derivatives": the chain rule through the Euclidean norm.
    """

    autocast = FLOAT32

    def forward(x1: Tensor, x2: Tensor) -> Tensor:
        return torch.cdist(x1, x2, 2.0, "use_mm_for_euclid_dist")

    def weights(delta: Tensor, output: Tensor) -> Tensor:
        apart = output != 0
        return torch.where(apart, delta / torch.where(apart, output, 1), 0)

    def delta_x1(weights: Tensor, x1: Tensor, x2: Tensor) -> Tensor:
        return sum_to(x1 * weights.sum(-1, keepdim=True) - weights @ x2, x1.shape)

    def delta_x2(weights: Tensor, x1: Tensor, x2: Tensor) -> Tensor:
        return sum_to(x2 * weights.sum(-2).unsqueeze(-1) - weights.mT @ x1, x2.shape)

    def tangent(inputs: tuple, tangents: tuple, output: Tensor) -> Tensor:
        (x1, x2), (t_x1, t_x2) = inputs, tangents
        moved: Tensor | float = 0.0
        if t_x1 is not None:
            moved = moved + (t_x1 * x1).sum(-1, keepdim=True) - t_x1 @ x2.mT
        if t_x2 is not None:
            moved = moved + (t_x2 * x2).sum(-1).unsqueeze(-2) - x1 @ t_x2.mT
        assert isinstance(moved, Tensor)
        return EuclideanDistances.weights(moved, output)
