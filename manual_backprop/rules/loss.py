"""Losses of two tensors compared element by element: MSELoss, L1Loss, SmoothL1Loss, HuberLoss.

Each loss is a sum, a mean or just the list of single losses, and a single loss depends on its own elements alone. So
the Jacobian of the single losses is diagonal, and its product with a tangent (left to right) is the formula of its
product with a delta (right to left).
"""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from ._rule import Rule, choose, in_opmath, total
from .arithmetic import Sub

FLOAT32 = {"cpu": "float32", "cuda": "float32"}


def per_loss(delta: Any, reduction: str, count: int) -> Any:
    """The delta of every single loss: an n-th of the delta of a mean of n. That of a mean of none reaches nothing, and
    has derivative zero."""
    return delta / max(count, 1) if reduction == "mean" else delta


def reduced(losses: Tensor, reduction: str) -> Tensor:
    """The single losses themselves, their sum or their mean."""
    if reduction == "none":
        return losses
    return losses.sum() if reduction == "sum" else losses.mean()


def as_kind(gradient: Tensor, dtype: torch.dtype) -> Tensor:
    """Undo promotion: the gradient by a real tensor is real."""
    if gradient.is_complex() and not dtype.is_complex:
        gradient = gradient.real
    return gradient.to(dtype)


class MSELoss(Rule):
    """l = (x - y)^2, or the mean or sum of all

    input, target (*)   reduction: "none", "mean" or "sum"   output, delta (*), or () when reduced

    delta_input = 2 (x - y) delta      delta_target = 2 (y - x) delta      with delta / n in place of delta for a mean

    Source: Legendre 1805, "Nouvelles méthodes pour la détermination des orbites des comètes" (least squares).
    """

    autocast = FLOAT32
    tangent_reads = ()

    @staticmethod
    def forward(input: Tensor, target: Tensor, reduction: str) -> Tensor:
        return F.mse_loss(input, target, reduction=reduction)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple, output: Tensor) -> None:
        input, target, ctx.reduction = inputs
        ctx.save_for_backward(input, target)

    @staticmethod
    def backward(ctx: Any, delta: Tensor) -> tuple:
        input, target = ctx.saved_tensors
        needs_input, needs_target, _ = ctx.needs_input_grad
        delta_input, delta_target = choose(MSELoss.delta_input), choose(MSELoss.delta_target)
        return (
            in_opmath(delta_input, delta, input, target, ctx.reduction).to(input.dtype) if needs_input else None,
            in_opmath(delta_target, delta, input, target, ctx.reduction).to(target.dtype) if needs_target else None,
            None,
        )

    @staticmethod
    def delta_input(delta: Tensor, input: Tensor, target: Tensor, reduction: str) -> Tensor:
        return MSELoss.scaled(input, target, 2 * per_loss(delta, reduction, input.numel()))

    @staticmethod
    def scaled(input: Tensor, target: Tensor, factor: float | Tensor) -> Tensor:
        return (input - target) * factor

    @staticmethod
    def delta_target(delta: Tensor, input: Tensor, target: Tensor, reduction: str) -> Tensor:
        return MSELoss.delta_input(delta, target, input, reduction)

    @staticmethod
    def tangent(inputs: tuple, tangents: tuple, output: Tensor) -> Tensor:
        input, target, reduction = inputs
        t_input, t_target, _ = tangents
        moved = total(
            None if t_input is None else MSELoss.delta_input(t_input, input, target, "none"),
            None if t_target is None else MSELoss.delta_target(t_target, input, target, "none"),
        )
        return reduced(moved, reduction)  # type: ignore[arg-type]


class L1Loss(Rule):
    """l = |d| with d = x - y, or the mean or sum of all

    input, target (*), real or complex   reduction: "none", "mean" or "sum"   output, delta (*), or () when reduced

    delta_input = sign(d) delta      delta_target = - delta_input      with delta / n in place of delta for a mean;
    sign(0) = 0, and sign(d) = d / |d| for complex d, which is also an output, and all that is kept

    Source: Laplace 1793, "Sur quelques points du système du monde" (least absolute deviations).
    """

    autocast = FLOAT32
    tangent_reads = (1,)

    @staticmethod
    def forward(input: Tensor, target: Tensor, reduction: str) -> tuple[Tensor, Tensor]:
        difference = input - target
        return reduced(difference.abs(), reduction), difference

    @staticmethod
    def inner(inputs: tuple) -> tuple:
        return Sub, (inputs[0], inputs[1], 1)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple, output: tuple) -> None:
        input, target, ctx.reduction = inputs
        ctx.dtypes = input.dtype, target.dtype
        ctx.set_materialize_grads(False)
        ctx.save_for_backward(output[1])

    @staticmethod
    def backward(ctx: Any, delta: Tensor | None, delta_difference: Tensor | None) -> tuple:
        (difference,) = ctx.saved_tensors
        if delta is not None:
            along = in_opmath(choose(L1Loss.delta_input), delta, difference, ctx.reduction)
            delta_difference = total(along, delta_difference)
        if delta_difference is None:
            return None, None, None
        needs_input, needs_target, _ = ctx.needs_input_grad
        return (
            as_kind(delta_difference, ctx.dtypes[0]) if needs_input else None,
            as_kind(-delta_difference, ctx.dtypes[1]) if needs_target else None,
            None,
        )

    @staticmethod
    def delta_input(delta: Tensor, difference: Tensor, reduction: str) -> Tensor:
        return difference.sgn() * per_loss(delta, reduction, difference.numel())

    @staticmethod
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

    autocast = FLOAT32
    tangent_reads = ()

    @staticmethod
    def forward(input: Tensor, target: Tensor, reduction: str, beta: float) -> Tensor:
        return F.smooth_l1_loss(input, target, reduction=reduction, beta=beta)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple, output: Tensor) -> None:
        input, target, ctx.reduction, ctx.beta = inputs
        ctx.save_for_backward(input, target)

    @staticmethod
    def backward(ctx: Any, delta: Tensor) -> tuple:
        input, target = ctx.saved_tensors
        needs_input, needs_target, _, _ = ctx.needs_input_grad
        facts = ctx.reduction, ctx.beta
        delta_input, delta_target = choose(SmoothL1Loss.delta_input), choose(SmoothL1Loss.delta_target)
        return (
            in_opmath(delta_input, delta, input, target, *facts).to(input.dtype) if needs_input else None,
            in_opmath(delta_target, delta, input, target, *facts).to(target.dtype) if needs_target else None,
            None,
            None,
        )

    @staticmethod
    def delta_input(delta: Tensor, input: Tensor, target: Tensor, reduction: str, beta: float) -> Tensor:
        return HuberLoss.scaled(input, target, beta, per_loss(delta, reduction, input.numel()) / beta)

    @staticmethod
    def delta_target(delta: Tensor, input: Tensor, target: Tensor, reduction: str, beta: float) -> Tensor:
        return SmoothL1Loss.delta_input(delta, target, input, reduction, beta)

    @staticmethod
    def tangent(inputs: tuple, tangents: tuple, output: Tensor) -> Tensor:
        input, target, reduction, beta = inputs
        t_input, t_target, *_ = tangents
        moved = total(
            None if t_input is None else SmoothL1Loss.delta_input(t_input, input, target, "none", beta),
            None if t_target is None else SmoothL1Loss.delta_target(t_target, input, target, "none", beta),
        )
        return reduced(moved, reduction)  # type: ignore[arg-type]


class HuberLoss(Rule):
    """l = (x - y)^2 / 2 where |x - y| < bound, else bound (|x - y| - bound / 2), or the mean or sum of all

    input, target (*)   bound > 0 (torch's argument delta)   reduction: "none", "mean" or "sum"
    output, delta (*), or () when reduced

    delta_input = clamp(x - y, -bound, bound) delta      delta_target = - delta_input      with delta / n for a mean

    Source: Huber 1964, "Robust estimation of a location parameter".
    """

    autocast = FLOAT32
    tangent_reads = ()

    @staticmethod
    def forward(input: Tensor, target: Tensor, reduction: str, bound: float) -> Tensor:
        return F.huber_loss(input, target, reduction=reduction, delta=bound)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple, output: Tensor) -> None:
        input, target, ctx.reduction, ctx.bound = inputs
        ctx.save_for_backward(input, target)

    @staticmethod
    def backward(ctx: Any, delta: Tensor) -> tuple:
        input, target = ctx.saved_tensors
        needs_input, needs_target, _, _ = ctx.needs_input_grad
        facts = ctx.reduction, ctx.bound
        delta_input, delta_target = choose(HuberLoss.delta_input), choose(HuberLoss.delta_target)
        return (
            in_opmath(delta_input, delta, input, target, *facts).to(input.dtype) if needs_input else None,
            in_opmath(delta_target, delta, input, target, *facts).to(target.dtype) if needs_target else None,
            None,
            None,
        )

    @staticmethod
    def delta_input(delta: Tensor, input: Tensor, target: Tensor, reduction: str, bound: float) -> Tensor:
        return HuberLoss.scaled(input, target, bound, per_loss(delta, reduction, input.numel()))

    @staticmethod
    def scaled(input: Tensor, target: Tensor, bound: float, factor: float | Tensor) -> Tensor:
        return (input - target).clamp(-bound, bound) * factor

    @staticmethod
    def delta_target(delta: Tensor, input: Tensor, target: Tensor, reduction: str, bound: float) -> Tensor:
        return HuberLoss.delta_input(delta, target, input, reduction, bound)

    @staticmethod
    def tangent(inputs: tuple, tangents: tuple, output: Tensor) -> Tensor:
        input, target, reduction, bound = inputs
        t_input, t_target, *_ = tangents
        moved = total(
            None if t_input is None else HuberLoss.delta_input(t_input, input, target, "none", bound),
            None if t_target is None else HuberLoss.delta_target(t_target, input, target, "none", bound),
        )
        return reduced(moved, reduction)  # type: ignore[arg-type]
