"""Losses that compare two tensors element by element: MSELoss, L1Loss, SmoothL1Loss, HuberLoss.

Each element has its own loss, which depends on no other element; the result is their sum, their mean or all of them.
So the Jacobian of the elements' losses is diagonal, and one formula serves for deltas and for tangents (forward mode).
"""

from __future__ import annotations

from typing import Any

import torch.nn.functional as F
from torch import Tensor

from ..engine.rule import Rule
from ..engine.terms import reduced, total
from .arithmetic import Sub

FLOAT32 = {"cpu": "float32", "cuda": "float32"}


def per_loss(delta: Any, reduction: str, count: int) -> Any:
    """The delta of each element's loss: for a mean of n elements, delta / n. The mean of an empty tensor has no element
    to pass its delta to, and its derivative is zero."""
    return delta / max(count, 1) if reduction == "mean" else delta


class MSELoss(Rule):
    """l = (x - y)^2, or the mean or sum of all

    input, target (*)   reduction: "none", "mean" or "sum"   output, delta (*), or () when reduced

    delta_input = 2 (x - y) delta      delta_target = 2 (y - x) delta      with delta / n in place of delta for a mean

    Source: Legendre 1805, "Nouvelles méthodes pour la détermination des orbites des comètes" (least squares).
    """

    elementwise = True
    upcast = True
    autocast = FLOAT32

    def forward(input: Tensor, target: Tensor, reduction: str) -> Tensor:
        return F.mse_loss(input, target, reduction=reduction)

    def delta_input(delta: Tensor, input: Tensor, target: Tensor, reduction: str) -> Tensor:
        return MSELoss.scaled(input, target, 2 * per_loss(delta, reduction, input.numel()))

    def scaled(input: Tensor, target: Tensor, factor: float | Tensor) -> Tensor:
        return (input - target) * factor

    def delta_target(delta: Tensor, input: Tensor, target: Tensor, reduction: str) -> Tensor:
        return MSELoss.delta_input(delta, target, input, reduction)


class L1Loss(Rule):
    """l = |d| with d = x - y, or the mean or sum of all

    input, target (*), real or complex   reduction: "none", "mean" or "sum"   output, delta (*), or () when reduced

    delta_input = sign(d) delta      delta_target = - delta_input      with delta / n in place of delta for a mean;
    sign(0) = 0, and sign(d) = d / |d| for complex d, which is also an output, and all that is kept

    Source: Laplace 1793, "Sur quelques points du système du monde" (least absolute deviations).
    """

    results = "output", "difference"
    upcast = True
    broadcasts = True
    autocast = FLOAT32
    tangent_reads = (1,)

    def forward(input: Tensor, target: Tensor, reduction: str) -> tuple[Tensor, Tensor]:
        difference = input - target
        return reduced(difference.abs(), reduction), difference

    def inner(inputs: tuple) -> tuple:
        return Sub, (inputs[0], inputs[1], 1)

    def delta_input(delta: Tensor, difference: Tensor, reduction: str) -> Tensor:
        return difference.sgn() * per_loss(delta, reduction, difference.numel())

    def delta_target(delta_input: Tensor) -> Tensor:
        return -delta_input

    def delta_input_from_difference(delta_difference: Tensor) -> Tensor:
        return delta_difference

    def delta_target_from_difference(delta_difference: Tensor) -> Tensor:
        return -delta_difference

    def tangent(inputs: tuple, tangents: tuple, output: tuple) -> tuple:
        t_input, t_target, _ = tangents
        moved = total(t_input, None if t_target is None else -t_target)
        along = output[1].sgn().conj() * moved
        return reduced(along.real if along.is_complex() else along, inputs[2]), moved


class SmoothL1Loss(Rule):
    """l = (x - y)^2 / (2 beta) where |x - y| < beta, else |x - y| - beta / 2, or the mean or sum of all

    input, target (*)   beta > 0   reduction: "none", "mean" or "sum"   output, delta (*), or () when reduced

    delta_input = clamp(x - y, -beta, beta) / beta delta     delta_target = - delta_input     with delta / n for a mean

    Source: Girshick 2015, "Fast R-CNN", equation 3.
    """

    elementwise = True
    upcast = True
    autocast = FLOAT32

    def forward(input: Tensor, target: Tensor, reduction: str, beta: float) -> Tensor:
        return F.smooth_l1_loss(input, target, reduction=reduction, beta=beta)

    def delta_input(delta: Tensor, input: Tensor, target: Tensor, reduction: str, beta: float) -> Tensor:
        return HuberLoss.scaled(input, target, beta, per_loss(delta, reduction, input.numel()) / beta)

    def delta_target(delta: Tensor, input: Tensor, target: Tensor, reduction: str, beta: float) -> Tensor:
        return SmoothL1Loss.delta_input(delta, target, input, reduction, beta)


class HuberLoss(Rule):
    """l = (x - y)^2 / 2 where |x - y| < bound, else bound (|x - y| - bound / 2), or the mean or sum of all

    input, target (*)   bound > 0 (torch's argument delta)   reduction: "none", "mean" or "sum"
    output, delta (*), or () when reduced

    delta_input = clamp(x - y, -bound, bound) delta      delta_target = - delta_input      with delta / n for a mean

    Source: Huber 1964, "Robust estimation of a location parameter".
    """

    elementwise = True
    upcast = True
    autocast = FLOAT32

    def forward(input: Tensor, target: Tensor, reduction: str, bound: float) -> Tensor:
        return F.huber_loss(input, target, reduction=reduction, delta=bound)

    def delta_input(delta: Tensor, input: Tensor, target: Tensor, reduction: str, bound: float) -> Tensor:
        return HuberLoss.scaled(input, target, bound, per_loss(delta, reduction, input.numel()))

    def scaled(input: Tensor, target: Tensor, bound: float, factor: float | Tensor) -> Tensor:
        return (input - target).clamp(-bound, bound) * factor

    def delta_target(delta: Tensor, input: Tensor, target: Tensor, reduction: str, bound: float) -> Tensor:
        return HuberLoss.delta_input(delta, target, input, reduction, bound)
