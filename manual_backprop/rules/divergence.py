"""Losses that compare whole distributions: SoftCrossEntropyLoss (cross-entropy with class probabilities), KLDivLoss."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from ._rule import Rule, choose, in_opmath, total
from .cross_entropy import along_classes, class_axis, hints_for_weight, smoothed
from .loss import FLOAT32, per_loss, reduced
from .softmax import LogSoftmax


class SoftCrossEntropyLoss(Rule):
    """l_n = - sum over c of w_c q_nc log p_nc with p = softmax(x), q = (1 - e) y + e / C; their sum, or mean over n

    input (C,) or (N, C, *), logits   target as input, probabilities   weight (C,) or None
    reduction: "none", "mean" or "sum"   output, delta (N, *), or () when reduced

    delta_input = (p sum over c of w_c q_c - w q) delta      delta_target = - (1 - e) w log p delta
    grad_weight = - sum over n of q log p delta              with delta / n in place of delta for a mean

    Source: Bridle 1990, "Probabilistic interpretation of feedforward classification network outputs"; smoothing:
    Szegedy et al. 2016, "Rethinking the Inception architecture for computer vision", section 7.
    """

    autocast = FLOAT32
    tangent_reads = (1,)

    @staticmethod
    def forward(
        input: Tensor, target: Tensor, weight: Tensor | None, reduction: str, smoothing: float
    ) -> tuple[Tensor, Tensor]:
        axis = class_axis(input.dim())
        log_probs = input.log_softmax(axis)
        terms = log_probs * SoftCrossEntropyLoss.smoothed(target, smoothing, axis)
        if weight is not None:
            terms = terms * along_classes(weight, input.dim())
        if reduction == "none":
            return -terms.sum(axis), log_probs
        loss = -terms.sum()
        if reduction == "mean":
            loss = loss / (input.numel() // input.shape[axis]) if input.numel() else loss * torch.nan
        return loss, log_probs

    @staticmethod
    def smoothed(target: Tensor, smoothing: float, axis: int) -> Tensor:
        return target if smoothing == 0 else target * (1 - smoothing) + smoothed(smoothing, target.shape[axis])

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple, output: tuple) -> None:
        input, target, weight, *ctx.facts = inputs
        ctx.set_materialize_grads(False)
        ctx.dtypes = input.dtype, target.dtype
        ctx.save_for_backward(output[1], target if ctx.needs_input_grad[0] or ctx.needs_input_grad[2] else None, weight)

    @staticmethod
    def backward(ctx: Any, delta: Tensor | None, delta_log_probs: Tensor | None) -> tuple:
        log_probs, target, weight = ctx.saved_tensors
        needs_input, needs_target, needs_weight, *_ = ctx.needs_input_grad
        delta_input = delta_target = grad_weight = None
        if delta is not None:
            if needs_input:
                formula = choose(SoftCrossEntropyLoss.delta_input)
                delta_input = in_opmath(formula, delta, log_probs, target, weight, *ctx.facts).to(ctx.dtypes[0])
            if needs_target:
                formula = choose(SoftCrossEntropyLoss.delta_target)
                delta_target = in_opmath(formula, delta, log_probs, weight, *ctx.facts).to(ctx.dtypes[1])
            if needs_weight:
                formula = choose(SoftCrossEntropyLoss.grad_weight)
                grad_weight = in_opmath(formula, delta, log_probs, target, *ctx.facts).to(weight.dtype)
        if delta_log_probs is not None and needs_input:
            axis = class_axis(log_probs.dim())
            delta_input = total(delta_input, LogSoftmax.delta_input(delta_log_probs, log_probs, axis))
        return delta_input, delta_target, grad_weight, None, None

    @staticmethod
    def per_class(delta: Tensor, log_probs: Tensor, reduction: str) -> Tensor:
        """The delta of every row, to be broadcast along the classes."""
        axis = class_axis(log_probs.dim())
        if reduction == "mean":
            return per_loss(delta, reduction, log_probs.numel() // max(log_probs.shape[axis], 1))
        return delta.unsqueeze(axis) if reduction == "none" else delta

    @staticmethod
    def delta_input(
        delta: Tensor, log_probs: Tensor, target: Tensor, weight: Tensor | None, reduction: str, smoothing: float
    ) -> Tensor:
        axis = class_axis(log_probs.dim())
        delta = SoftCrossEntropyLoss.per_class(delta, log_probs, reduction)
        pull = SoftCrossEntropyLoss.smoothed(target, smoothing, axis) * delta
        if weight is not None:
            pull = pull * along_classes(weight, log_probs.dim())
        return log_probs.exp() * pull.sum(axis, keepdim=True) - pull

    @staticmethod
    def delta_target(
        delta: Tensor, log_probs: Tensor, weight: Tensor | None, reduction: str, smoothing: float
    ) -> Tensor:
        delta = SoftCrossEntropyLoss.per_class(delta, log_probs, reduction) * (smoothing - 1)
        terms = log_probs if weight is None else log_probs * along_classes(weight, log_probs.dim())
        return terms * delta

    @staticmethod
    def grad_weight(delta: Tensor, log_probs: Tensor, target: Tensor, reduction: str, smoothing: float) -> Tensor:
        axis = class_axis(log_probs.dim())
        delta = SoftCrossEntropyLoss.per_class(delta, log_probs, reduction)
        terms = log_probs * SoftCrossEntropyLoss.smoothed(target, smoothing, axis) * -delta
        return terms.sum([i for i in range(terms.dim()) if i != axis]) if terms.dim() > 1 else terms

    @staticmethod
    def tangent(inputs: tuple, tangents: tuple, output: tuple) -> tuple:
        _, target, weight, reduction, smoothing = inputs
        t_input, t_target, t_weight, *_ = tangents
        loss, log_probs = output
        axis, ones = class_axis(log_probs.dim()), torch.ones_like(loss)
        rule, facts = SoftCrossEntropyLoss, (reduction, smoothing)
        moved = total(
            None if t_input is None else rule.delta_input(ones, log_probs, target, weight, *facts) * t_input,
            None if t_target is None else rule.delta_target(ones, log_probs, weight, *facts) * t_target,
            None
            if t_weight is None
            else rule.delta_target(ones, log_probs, t_weight, reduction, 0.0) * rule.smoothed(target, smoothing, axis),
        )
        t_loss = moved.sum(axis) if reduction == "none" else moved.sum()  # type: ignore[union-attr]
        if t_input is None:
            return t_loss, torch.zeros_like(log_probs)
        return t_loss, LogSoftmax.tangent((None, axis, None), tangents, log_probs)

    @staticmethod
    def hints(*args: Any) -> list[str]:
        return hints_for_weight(args[0], args[2])


class KLDivLoss(Rule):
    """l = y (log y - x), or e^y (y - x) when the target holds logarithms, or the mean or sum of all; 0 log 0 = 0

    input (*), logarithms of probabilities   target (*), probabilities or with log_target their logarithms
    reduction: "none", "mean" or "sum"   output, delta (*), or () when reduced

    delta_input = - y delta      delta_target = (log y + 1 - x) delta            with delta / n for a mean
    delta_input = - e^y delta    delta_target = e^y (y + 1 - x) delta            with log_target

    Source: Kullback, Leibler 1951, "On information and sufficiency".
    """

    autocast = FLOAT32
    tangent_reads = ()

    @staticmethod
    def forward(input: Tensor, target: Tensor, reduction: str, log_target: bool) -> Tensor:
        if log_target:
            return reduced(target.exp() * (target - input), reduction)
        return reduced(torch.xlogy(target, target) - target * input, reduction)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple, output: Tensor) -> None:
        input, target, ctx.reduction, ctx.log_target = inputs
        ctx.dtype = input.dtype
        ctx.save_for_backward(input if ctx.needs_input_grad[1] else None, target)

    @staticmethod
    def backward(ctx: Any, delta: Tensor) -> tuple:
        input, target = ctx.saved_tensors
        needs_input, needs_target, _, _ = ctx.needs_input_grad
        facts = ctx.reduction, ctx.log_target
        delta_input, delta_target = choose(KLDivLoss.delta_input), choose(KLDivLoss.delta_target)
        return (
            in_opmath(delta_input, delta, target, *facts).to(ctx.dtype) if needs_input else None,
            in_opmath(delta_target, delta, input, target, *facts).to(target.dtype) if needs_target else None,
            None,
            None,
        )

    @staticmethod
    def delta_input(delta: Tensor, target: Tensor, reduction: str, log_target: bool) -> Tensor:
        return (target.exp() if log_target else target) * -per_loss(delta, reduction, target.numel())

    @staticmethod
    def delta_target(delta: Tensor, input: Tensor, target: Tensor, reduction: str, log_target: bool) -> Tensor:
        delta = per_loss(delta, reduction, target.numel())
        if log_target:
            return target.exp() * (target + 1 - input) * delta
        return (target.log() + target / target - input) * delta  # y / y: 1, but NaN at 0 as in the twin

    @staticmethod
    def tangent(inputs: tuple, tangents: tuple, output: Tensor) -> Tensor:
        input, target, reduction, log_target = inputs
        t_input, t_target, *_ = tangents
        moved = total(
            None if t_input is None else KLDivLoss.delta_input(t_input, target, "none", log_target),
            None if t_target is None else KLDivLoss.delta_target(t_target, input, target, "none", log_target),
        )
        return reduced(moved, reduction)  # type: ignore[arg-type]
