"""Lengths and angles of vectors: PairwiseDistance, PDist, CosineSimilarity, CosineEmbeddingLoss, Normalize.

Where a length has no derivative, the rules take torch's subgradient: zero at the zero vector, and equal shares for
equal maxima.
"""

from __future__ import annotations

import math
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from ..engine.rule import Rule
from ..engine.terms import reduced
from .arithmetic import conj
from .loss import FLOAT32, per_loss

FLOAT32_CUDA = {"cuda": "float32"}


def along_norm(delta: Tensor, x: Tensor, norm: Tensor, p: float, dim: int) -> Tensor:
    """The delta of x, where n = (sum |x|^p)^(1/p) over an axis that delta and norm have with size 1:
    sign(x) |x|^(p - 1) / n^(p - 1) delta; for p = inf sign(x) delta at the largest |x|, for p = 0 zero."""
    if p == 0:
        return torch.zeros_like(x)
    if p == 1:
        return x.sgn() * delta
    if p == 2:
        return x * (delta / norm).masked_fill(norm == 0, 0)
    if math.isinf(p):
        size = x.abs()
        largest = (size == norm) | size.isnan()
        return x.sgn() * (delta / largest.sum(dim, keepdim=True) * largest)
    if p < 1:  # the infinite derivative at zero counts as zero
        return x.sgn() * x.abs().pow(p - 1).masked_fill(x == 0, 0) * delta * norm.pow(1 - p)
    scale = (delta / norm.pow(p - 1)).masked_fill(norm == 0, 0)
    return (x.sgn() * x.abs().pow(p - 1) if p < 2 else x * x.abs().pow(p - 2)) * scale


class PairwiseDistance(Rule):
    """y = |d|_p, the p-norm along the last axis of d = x1 - x2 + eps

    x1, x2 (*, D), broadcast   p, eps: numbers   keepdim: truth value   output, delta (*), or (*, 1) with keepdim

    delta_x1 = sign(d) |d|^(p - 1) / y^(p - 1) delta     delta_x2 = -delta_x1

    Source: Griewank, Walther 2008, "Evaluating Derivatives", table of elemental adjoints: chain rule of a p-norm.
    """

    broadcasts = True

    def forward(x1: Tensor, x2: Tensor, p: float, eps: float, keepdim: bool) -> Tensor:
        return F.pairwise_distance(x1, x2, p, eps, keepdim)

    def delta_x1(delta: Tensor, x1: Tensor, x2: Tensor, output: Tensor, p: float, eps: float, keepdim: bool) -> Tensor:
        norm = output if keepdim else output.unsqueeze(-1)
        return along_norm(delta if keepdim else delta.unsqueeze(-1), x1 - x2 + eps, norm, p, -1)

    def delta_x2(delta_x1: Tensor) -> Tensor:
        return -delta_x1

    def tangent(inputs: tuple, tangents: tuple, output: Tensor) -> Tensor:
        x1, x2, p, eps, keepdim = inputs
        slopes = conj(PairwiseDistance.delta_x1(torch.ones_like(output), x1, x2, output, p, eps, keepdim))
        t_x1, t_x2 = [0 if t is None else t for t in tangents[:2]]
        moved = (slopes * (t_x1 - t_x2)).sum(-1, keepdim=keepdim)
        return moved.real if moved.is_complex() else moved


class PDist(Rule):
    """y = |x_i - x_j|_p for each pair i < j

    input x (N, D)   p: number   output, delta (N (N - 1) / 2), the pairs (0, 1), (0, 2), ..., (1, 2), ...

    delta_input_i = sum over j of sign(d) |d|^(p - 1) / y^(p - 1) delta,  d = x_i - x_j

    Source: Griewank, Walther 2008, "Evaluating Derivatives", table of elemental adjoints: chain rule of a p-norm.
    """

    autocast = FLOAT32_CUDA
    tangent_reads = (0,)

    def forward(input: Tensor, p: float) -> Tensor:
        return F.pdist(input, p)

    def delta_input(delta: Tensor, input: Tensor, output: Tensor, p: float) -> Tensor:
        first, second = pairs(input)
        moved = PDist.slopes(input, output, p) * delta.unsqueeze(1)
        return torch.zeros_like(input).index_add(0, first, moved).index_add(0, second, -moved)

    def slopes(input: Tensor, output: Tensor, p: float) -> Tensor:
        """(pairs, D): the derivative of each distance by the first vector of its pair."""
        first, second = pairs(input)
        difference, distance = input[first] - input[second], output.unsqueeze(1)
        if math.isinf(p):  # here every one of several equal maxima counts in full
            return difference.sgn() * (difference.abs() == distance)
        return along_norm(torch.ones_like(distance), difference, distance, p, 1)

    def tangent(inputs: tuple, tangents: tuple, output: Tensor) -> Tensor:
        first, second = pairs(inputs[0])
        return (PDist.slopes(inputs[0], output, inputs[1]) * (tangents[0][first] - tangents[0][second])).sum(1)


def pairs(input: Tensor) -> tuple[Tensor, Tensor]:
    """The first and the second row index of each pair i < j."""
    first, second = torch.triu_indices(len(input), len(input), 1, device=input.device)
    return first, second


class CosineSimilarity(Rule):
    """y = sum of x1 x2 / (n1 n2) along an axis,   n = max(|x|, eps)

    x1, x2 (*, D, *), broadcast   dim: the axis of D   eps: number   output, delta (*, *), without that axis

    delta_x1 = (x2 / n2 - y x1 / |x1|) / n1 delta     delta_x2 = (x1 / n1 - y x2 / |x2|) / n2 delta
    also where a length is below eps; the second term is zero where it is zero

    Source: Luo, Zhan, Xue, Wang, Ren, Yang 2018, "Cosine normalization", equation 5.
    """

    broadcasts = True
    upcast = True
    autocast = FLOAT32_CUDA

    def forward(x1: Tensor, x2: Tensor, dim: int, eps: float) -> Tensor:
        return F.cosine_similarity(x1, x2, dim, eps)

    def delta_x1(delta: Tensor, x1: Tensor, x2: Tensor, dim: int, eps: float) -> Tensor:
        x1, x2 = torch.broadcast_tensors(x1, x2)
        length = torch.linalg.vector_norm(x1, 2, dim, keepdim=True)
        length1, other = clamped(length, eps), normed(x2, dim, eps)
        cosine = (x1 / length1 * other).sum(dim, keepdim=True)
        return (
            (other - cosine * along_norm(torch.ones_like(length), x1, length, 2, dim)) / length1 * delta.unsqueeze(dim)
        )

    def delta_x2(delta: Tensor, x1: Tensor, x2: Tensor, dim: int, eps: float) -> Tensor:
        return CosineSimilarity.delta_x1(delta, x2, x1, dim, eps)

    def tangent(inputs: tuple, tangents: tuple, output: Tensor) -> Tensor:
        x1, x2, dim, eps = inputs
        t_x1, t_x2 = tangents[:2]
        ones, moved = torch.ones_like(output), torch.zeros_like(output)
        if t_x1 is not None:
            moved = moved + (CosineSimilarity.delta_x1(ones, x1, x2, dim, eps) * t_x1).sum(dim)
        if t_x2 is not None:
            moved = moved + (CosineSimilarity.delta_x1(ones, x2, x1, dim, eps) * t_x2).sum(dim)
        return moved


def clamped(length: Tensor, eps: float) -> Tensor:
    """max(length, eps), whose derivative by length counts as 1 everywhere."""
    return torch.where(length < eps, length - length.detach() + eps, length)


def normed(x: Tensor, dim: int, eps: float) -> Tensor:
    """x / max(|x|, eps)."""
    return x / clamped(torch.linalg.vector_norm(x, 2, dim, keepdim=True), eps)


class CosineEmbeddingLoss(Rule):
    """l = 1 - c where y = 1, max(0, c - margin) where y = -1,   c = sum of x1 x2 / (n1 n2),   n^2 = |x|^2 + 1e-12,
    or the mean or sum of all

    input1, input2 (N, D) or (D,)   target y (N) or ()   margin: number   reduction: "none", "mean" or "sum"
    output, delta (N), or () when reduced

    delta_input1 = s (x2 / n2 - c x1 / n1) / n1 delta     delta_input2 = s (x1 / n1 - c x2 / n2) / n2 delta
    s = -1 where y = 1, 1 where y = -1 and c > margin, else 0                              with delta / n for a mean

    Source: Luo, Zhan, Xue, Wang, Ren, Yang 2018, "Cosine normalization", equation 5.
    """

    upcast = True
    broadcasts = True
    autocast = FLOAT32
    tangent_reads = ()

    def forward(input1: Tensor, input2: Tensor, target: Tensor, margin: float, reduction: str) -> Tensor:
        return F.cosine_embedding_loss(input1, input2, target, margin, reduction=reduction)

    def delta_input1(
        delta: Tensor, input1: Tensor, input2: Tensor, target: Tensor, margin: float, reduction: str
    ) -> Tensor:
        slopes, signs = CosineEmbeddingLoss.slopes(input1, input2, target, margin)
        return slopes * (signs * per_loss(delta, reduction, signs.numel())).unsqueeze(-1)

    def delta_input2(
        delta: Tensor, input1: Tensor, input2: Tensor, target: Tensor, margin: float, reduction: str
    ) -> Tensor:
        return CosineEmbeddingLoss.delta_input1(delta, input2, input1, target, margin, reduction)

    def slopes(input1: Tensor, input2: Tensor, target: Tensor, margin: float) -> tuple[Tensor, Tensor]:
        """The derivative of the cosines by the first vectors, and that of the losses by the cosines."""
        length1, length2 = [((x * x).sum(-1, keepdim=True) + 1e-12).sqrt() for x in (input1, input2)]
        other = input2 / length2
        cosine = (input1 / length1 * other).sum(-1, keepdim=True)
        far = (target == -1) & (cosine.squeeze(-1) > margin)
        return (other - cosine * input1 / length1) / length1, far.to(cosine.dtype) - (target == 1).to(cosine.dtype)

    def tangent(inputs: tuple, tangents: tuple, output: Tensor) -> Tensor:
        input1, input2, target, margin, reduction = inputs
        moved = torch.zeros_like(output)
        for one, other, tangent in ((input1, input2, tangents[0]), (input2, input1, tangents[1])):
            if tangent is not None:
                slopes, signs = CosineEmbeddingLoss.slopes(one, other, target, margin)
                moved = moved + reduced((slopes * tangent).sum(-1) * signs, reduction)
        return moved.to(output.dtype)


class Normalize(Rule):
    """y = x / n,   n = max(|x|_p, eps), the p-norm along an axis

    input (*)   p, eps: numbers   dim: the axis, or several   output, delta (*)

    delta_input = delta / n - s sign(x) |x|^(p - 1) / n^(p - 1),   s = sum of delta y / n along the axis
    without the second term where |x|_p <= eps

    Source: Salimans, Kingma 2016, "Weight normalization", equation 3, there for a 2-norm.
    """

    tangent_reads = (0,)

    def forward(input: Tensor, p: float, dim: Any, eps: float) -> Tensor:
        return F.normalize(input, p, dim, eps)

    def delta_input(delta: Tensor, input: Tensor, p: float, dim: Any, eps: float) -> Tensor:
        length = torch.linalg.vector_norm(input, p, dim, keepdim=True)
        clamped = length.clamp(min=eps)
        along = (delta * conj(input)).sum(dim, keepdim=True)
        along = (along.real if along.is_complex() else along) / (clamped * clamped)
        return delta / clamped - along_norm(along.masked_fill(length <= eps, 0), input, length, p, dim)

    def tangent(inputs: tuple, tangents: tuple, output: Tensor) -> Tensor:
        input, p, dim, eps = inputs
        length = torch.linalg.vector_norm(input, p, dim, keepdim=True)
        clamped = length.clamp(min=eps)
        slopes = along_norm((length > eps).to(length.dtype), input, length, p, dim)
        longer = (conj(slopes) * tangents[0]).sum(dim, keepdim=True)
        longer = longer.real if longer.is_complex() else longer
        return (tangents[0] - output * longer) / clamped
