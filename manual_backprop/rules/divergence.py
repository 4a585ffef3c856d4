"""Losses that compare whole distributions: SoftCrossEntropyLoss (cross-entropy with class probabilities), KLDivLoss."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.autograd import forward_ad

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

    log p and, with smoothing, q are outputs, too, and kept in place of x and y.

    Source: Bridle 1990, "Probabilistic interpretation of feedforward classification network outputs"; smoothing:
    Szegedy et al. 2016, "Rethinking the Inception architecture for computer vision", section 7.
    """

    autocast = FLOAT32
    tangent_reads = (1, 2)

    @staticmethod
    def forward(
        input: Tensor, target: Tensor, weight: Tensor | None, reduction: str, smoothing: float
    ) -> tuple[Tensor, Tensor, Tensor | None]:
        axis = class_axis(input.dim())
        log_probs, q = input.log_softmax(axis), SoftCrossEntropyLoss.smoothed(target, smoothing, axis)
        terms = log_probs * q
        if weight is not None:
            terms = terms * along_classes(weight, input.dim())
        loss = -(terms.sum(axis) if reduction == "none" else terms.sum())
        if reduction == "mean":
            loss = loss / (input.numel() // input.shape[axis]) if input.numel() else loss * torch.nan
        return loss, log_probs, q if smoothing else None

    @staticmethod
    def inner(inputs: tuple) -> tuple:
        return LogSoftmax, (inputs[0], class_axis(inputs[0].dim()), None)

    @staticmethod
    def smoothed(target: Tensor, smoothing: float, axis: int) -> Tensor:
        return target if smoothing == 0 else target * (1 - smoothing) + smoothed(smoothing, target.shape[axis])

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple, output: tuple) -> None:
        input, target, weight, ctx.reduction, ctx.smoothing = inputs
        _, log_probs, q = output
        needs_input, _, needs_weight, *_ = ctx.needs_input_grad
        ctx.set_materialize_grads(False)
        ctx.dtypes = input.dtype, target.dtype
        q = target if q is None else q
        ctx.save_for_backward(log_probs, q if needs_input or needs_weight else None, weight)

    @staticmethod
    def backward(ctx: Any, delta: Tensor | None, delta_log_probs: Tensor | None, delta_q: Tensor | None) -> tuple:
        log_probs, q, weight = ctx.saved_tensors
        needs_input, needs_target, needs_weight, *_ = ctx.needs_input_grad
        delta_input = delta_target = grad_weight = None
        if delta is not None:
            if needs_input:
                formula = choose(SoftCrossEntropyLoss.delta_input)
                delta_input = in_opmath(formula, delta, log_probs, q, weight, ctx.reduction).to(ctx.dtypes[0])
            if needs_target:
                formula = choose(SoftCrossEntropyLoss.delta_target)
                facts = ctx.reduction, ctx.smoothing
                delta_target = in_opmath(formula, delta, log_probs, weight, *facts).to(ctx.dtypes[1])
            if needs_weight:
                formula = choose(SoftCrossEntropyLoss.grad_weight)
                grad_weight = in_opmath(formula, delta, log_probs, q, ctx.reduction).to(weight.dtype)
        if delta_log_probs is not None and needs_input:
            axis = class_axis(log_probs.dim())
            delta_input = total(delta_input, LogSoftmax.delta_input(delta_log_probs, log_probs, axis))
        if delta_q is not None and needs_target:
            delta_target = total(delta_target, (1 - ctx.smoothing) * delta_q)
        return delta_input, delta_target, grad_weight, None, None

    @staticmethod
    def per_class(delta: Tensor, log_probs: Tensor, reduction: str) -> Tensor:
        """The delta of every row, to be broadcast along the classes."""
        axis = class_axis(log_probs.dim())
        if reduction == "mean":
            return per_loss(delta, reduction, log_probs.numel() // max(log_probs.shape[axis], 1))
        return delta.unsqueeze(axis) if reduction == "none" else delta

    @staticmethod
    def delta_input(delta: Tensor, log_probs: Tensor, q: Tensor, weight: Tensor | None, reduction: str) -> Tensor:
        pull = q * SoftCrossEntropyLoss.per_class(delta, log_probs, reduction)
        if weight is not None:
            pull = pull * along_classes(weight, log_probs.dim())
        return log_probs.exp() * pull.sum(class_axis(log_probs.dim()), keepdim=True) - pull

    @staticmethod
    def delta_target(
        delta: Tensor, log_probs: Tensor, weight: Tensor | None, reduction: str, smoothing: float
    ) -> Tensor:
        delta = SoftCrossEntropyLoss.per_class(delta, log_probs, reduction) * (smoothing - 1)
        terms = log_probs if weight is None else log_probs * along_classes(weight, log_probs.dim())
        return terms * delta

    @staticmethod
    def grad_weight(delta: Tensor, log_probs: Tensor, q: Tensor, reduction: str) -> Tensor:
        axis = class_axis(log_probs.dim())
        terms = log_probs * q * -SoftCrossEntropyLoss.per_class(delta, log_probs, reduction)
        return terms.sum([i for i in range(terms.dim()) if i != axis]) if terms.dim() > 1 else terms

    @staticmethod
    def tangent(inputs: tuple, tangents: tuple, output: tuple) -> tuple:
        _, target, weight, reduction, smoothing = inputs
        t_input, t_target, t_weight, *_ = tangents
        loss, log_probs, q = output
        axis, ones = class_axis(log_probs.dim()), torch.ones_like(loss)
        q = target if q is None else q
        rule = SoftCrossEntropyLoss
        moved = total(
            None if t_input is None else rule.delta_input(ones, log_probs, q, weight, reduction) * t_input,
            None if t_target is None else rule.delta_target(ones, log_probs, weight, reduction, smoothing) * t_target,
            None if t_weight is None else rule.delta_target(ones, log_probs, t_weight, reduction, 0.0) * q,
        )
        t_loss = moved.sum(axis) if reduction == "none" else moved.sum()  # type: ignore[union-attr]
        t_log_probs = torch.zeros_like(log_probs)
        if t_input is not None:
            t_log_probs = LogSoftmax.tangent((None, axis, None), tangents, log_probs)
        t_q = torch.zeros_like(q) if t_target is None else (1 - smoothing) * t_target
        return t_loss, t_log_probs, t_q if smoothing else None

    @staticmethod
    def hints(*args: Any) -> list[str]:
        return hints_for_weight(args[0], args[2])


class KLDivLoss(Rule):
    """l = y (log y - x), or e^y (y - x) when the target holds logarithms, or the mean or sum of all; 0 log 0 = 0

    input (*), logarithms of probabilities   target (*), probabilities or with log_target their logarithms
    reduction: "none", "mean" or "sum"   output, delta (*), or () when reduced

    delta_input = - y delta      delta_target = (log y + 1 - x) delta            with delta / n for a mean
    delta_input = - e^y delta    delta_target = e^y (y - x + 1) delta            with log_target

    With log_target e^y and y - x are outputs, too, and all that is kept.

    Source: Kullback, Leibler 1951, "On information and sufficiency".
    """

    autocast = FLOAT32
    tangent_reads = ()

    @staticmethod
    def forward(
        input: Tensor, target: Tensor, reduction: str, log_target: bool
    ) -> tuple[Tensor, Tensor | None, Tensor | None]:
        if not log_target:
            return reduced(torch.xlogy(target, target) - target * input, reduction), None, None
        probs, gap = target.exp(), target - input
        return reduced(probs * gap, reduction), probs, gap

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple, output: tuple) -> None:
        input, target, ctx.reduction, ctx.log_target = inputs
        ctx.dtypes = input.dtype, target.dtype
        ctx.set_materialize_grads(False)
        probs, gap = output[1:] if ctx.log_target else (target, input)
        if ctx.log_target and not ctx.needs_input_grad[1] and forward_ad._current_level < 0:
            ctx.mark_non_differentiable(probs)  # then delta_input is no function of what is differentiated
        ctx.save_for_backward(probs, gap if ctx.needs_input_grad[1] else None)

    @staticmethod
    def backward(ctx: Any, delta: Tensor | None, delta_probs: Tensor | None, delta_gap: Tensor | None) -> tuple:
        probs, other = ctx.saved_tensors
        needs_input, needs_target, *_ = ctx.needs_input_grad
        delta_input = delta_target = None
        if delta is not None and needs_input:
            delta_input = in_opmath(choose(KLDivLoss.delta_input), delta, probs, ctx.reduction)
        if delta is not None and needs_target:
            formula = KLDivLoss.delta_log_target if ctx.log_target else KLDivLoss.delta_target
            delta_target = in_opmath(choose(formula), delta, other, probs, ctx.reduction)
        if delta_gap is not None:
            delta_input, delta_target = total(delta_input, -delta_gap), total(delta_target, delta_gap)
        if delta_probs is not None:
            delta_target = total(delta_target, probs * delta_probs)
        return (
            delta_input.to(ctx.dtypes[0]) if needs_input and delta_input is not None else None,
            delta_target.to(ctx.dtypes[1]) if needs_target and delta_target is not None else None,
            None,
            None,
        )

    @staticmethod
    def delta_input(delta: Tensor, probs: Tensor, reduction: str) -> Tensor:
        return probs * -per_loss(delta, reduction, probs.numel())

    @staticmethod
    def delta_target(delta: Tensor, input: Tensor, target: Tensor, reduction: str) -> Tensor:
        delta = per_loss(delta, reduction, target.numel())
        return (target.log() + target / target - input) * delta  # y / y: 1, but NaN at 0 as in the twin

    @staticmethod
    def delta_log_target(delta: Tensor, gap: Tensor, probs: Tensor, reduction: str) -> Tensor:
        return probs * (gap + 1) * per_loss(delta, reduction, probs.numel())

    @staticmethod
    def tangent(inputs: tuple, tangents: tuple, output: tuple) -> tuple[Tensor, Tensor | None, Tensor | None]:
        input, target, reduction, log_target = inputs
        t_input, t_target, *_ = tangents
        if log_target:
            probs, gap = target.exp(), target - input
            t_probs = torch.zeros_like(probs) if t_target is None else probs * t_target
            t_gap = total(t_target, None if t_input is None else -t_input)
            assert t_gap is not None
            return reduced(t_probs * gap + probs * t_gap, reduction), t_probs, t_gap
        moved = total(
            None if t_input is None else KLDivLoss.delta_input(t_input, target, "none"),
            None if t_target is None else KLDivLoss.delta_target(t_target, input, target, "none"),
        )
        return reduced(moved, reduction), None, None  # type: ignore[arg-type]
