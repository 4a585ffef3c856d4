"""Losses that compare distributions: SoftCrossEntropyLoss (cross-entropy with class probabilities), KLDivLoss."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from ..engine.rule import Rule
from ..engine.terms import reduced, total
from .cross_entropy import along_classes, class_axis, hints_for_weight, smoothed
from .loss import FLOAT32, per_loss
from .softmax import LogSoftmax


class LabelSmoothing(Rule):
    """q = (1 - e) y + e / C

    target y (C,) or (N, C, *), probabilities   smoothing e: number   axis: that of the classes
    output, delta as target

    delta_target = (1 - e) delta

    Source: Szegedy et al. 2016, "Rethinking the Inception architecture for computer vision", section 7.
    """

    elementwise = True
    autocast = FLOAT32

    def forward(target: Tensor, smoothing: float, axis: int) -> Tensor:
        return target * (1 - smoothing) + smoothed(smoothing, target.size(axis))

    def delta_target(delta: Tensor, smoothing: float) -> Tensor:
        return (1 - smoothing) * delta


class SoftCrossEntropyLoss(Rule):
    """l_n = - sum over c of w_c y_nc log p_nc with p = softmax(x); their sum, or mean over n

    input (C,) or (N, C, *), logits   target as input, probabilities   weight (C,) or None
    reduction: "none", "mean" or "sum"   output, delta (N, *), or () when reduced

    delta_input = (p sum over c of w_c y_c - w y) delta      delta_target = - w log p delta
    grad_weight = - sum over n of y log p delta              with delta / n in place of delta for a mean

    log p is an output, too, and is saved in place of x.

    Source: Bridle 1990, "Probabilistic interpretation of feedforward classification network outputs".
    """

    results = "output", "log_probs"
    upcast = True
    autocast = FLOAT32
    tangent_reads = (1,)

    def forward(input: Tensor, target: Tensor, weight: Tensor | None, reduction: str) -> tuple[Tensor, Tensor]:
        axis = class_axis(input.dim())
        log_probs = input.log_softmax(axis)
        terms = log_probs * target
        if weight is not None:
            terms = terms * along_classes(weight, input.dim())
        loss = -(terms.sum(axis) if reduction == "none" else terms.sum())
        if reduction == "mean":
            loss = loss / (input.numel() // input.shape[axis]) if input.numel() else loss * torch.nan
        return loss, log_probs

    def inner(inputs: tuple) -> tuple:
        return LogSoftmax, (inputs[0], class_axis(inputs[0].dim()), None)

    def per_class(delta: Tensor, log_probs: Tensor, reduction: str) -> Tensor:
        """The delta of each row, shaped to broadcast along the classes."""
        axis = class_axis(log_probs.dim())
        if reduction == "mean":
            return per_loss(delta, reduction, log_probs.numel() // max(log_probs.shape[axis], 1))
        return delta.unsqueeze(axis) if reduction == "none" else delta

    def delta_input(per_class: Tensor, log_probs: Tensor, target: Tensor, weight: Tensor | None) -> Tensor:
        pull = target * per_class
        if weight is not None:
            pull = pull * along_classes(weight, log_probs.dim())
        return log_probs.exp() * pull.sum(class_axis(log_probs.dim()), keepdim=True) - pull

    def delta_target(per_class: Tensor, log_probs: Tensor, weight: Tensor | None) -> Tensor:
        terms = log_probs if weight is None else log_probs * along_classes(weight, log_probs.dim())
        return terms * -per_class

    def grad_weight(per_class: Tensor, log_probs: Tensor, target: Tensor) -> Tensor:
        axis = class_axis(log_probs.dim())
        terms = log_probs * target * -per_class
        return terms.sum([i for i in range(terms.dim()) if i != axis]) if terms.dim() > 1 else terms

    def delta_input_from_log_probs(delta_log_probs: Tensor, log_probs: Tensor) -> Tensor:
        return LogSoftmax.delta_input(delta_log_probs, log_probs, class_axis(log_probs.dim()))

    def tangent(inputs: tuple, tangents: tuple, output: tuple) -> tuple:
        _, target, weight, reduction = inputs
        t_input, t_target, t_weight, _ = tangents
        loss, log_probs = output
        axis, rule = class_axis(log_probs.dim()), SoftCrossEntropyLoss
        each = rule.per_class(torch.ones_like(loss), log_probs, reduction)
        moved = total(
            None if t_input is None else rule.delta_input(each, log_probs, target, weight) * t_input,
            None if t_target is None else rule.delta_target(each, log_probs, weight) * t_target,
            None if t_weight is None else rule.delta_target(each, log_probs, t_weight) * target,
        )
        t_loss = moved.sum(axis) if reduction == "none" else moved.sum()  # type: ignore[union-attr]
        t_log_probs = torch.zeros_like(log_probs)
        if t_input is not None:
            t_log_probs = LogSoftmax.tangent((None, axis, None), tangents, log_probs)
        return t_loss, t_log_probs

    def hints(*args: Any) -> list[str]:
        return hints_for_weight(args[0], args[2])


class KLDivLoss(Rule):
    """l = y (log y - x), or the mean or sum of all; 0 log 0 = 0

    input (*), logarithms of probabilities   target (*), probabilities   reduction: "none", "mean" or "sum"
    output, delta (*), or () when reduced

    delta_input = - y delta      delta_target = (log y + 1 - x) delta      with delta / n in place of delta for a mean

    Source: Kullback, Leibler 1951, "On information and sufficiency".
    """

    elementwise = True
    upcast = True
    autocast = FLOAT32

    def forward(input: Tensor, target: Tensor, reduction: str) -> Tensor:
        return reduced(torch.xlogy(target, target) - target * input, reduction)

    def delta_input(delta: Tensor, target: Tensor, reduction: str) -> Tensor:
        return target * -per_loss(delta, reduction, target.numel())

    def delta_target(delta: Tensor, input: Tensor, target: Tensor, reduction: str) -> Tensor:
        delta = per_loss(delta, reduction, target.numel())
        return (target.log() + target / target - input) * delta  # y / y is 1, but NaN at 0, as in torch


class KLDivLogTargetLoss(Rule):
    """l = e^y (y - x), or the mean or sum of all

    input, target (*), logarithms of probabilities   reduction: "none", "mean" or "sum"
    output, delta (*), or () when reduced

    delta_input = - e^y delta      delta_target = e^y (y - x + 1) delta      with delta / n in place of delta for a mean

    probs = e^y and gap = y - x are outputs, too; only they are saved.

    Source: Kullback, Leibler 1951, "On information and sufficiency".
    """

    results = "output", "probs", "gap"
    upcast = True
    autocast = FLOAT32
    tangent_reads = ()

    def forward(input: Tensor, target: Tensor, reduction: str) -> tuple[Tensor, Tensor, Tensor]:
        probs, gap = target.exp(), target - input
        return reduced(probs * gap, reduction), probs, gap

    def delta_input(delta: Tensor, probs: Tensor, reduction: str) -> Tensor:
        return probs * -per_loss(delta, reduction, probs.numel())

    def delta_target(delta: Tensor, probs: Tensor, gap: Tensor, reduction: str) -> Tensor:
        return probs * (gap + 1) * per_loss(delta, reduction, probs.numel())

    def delta_target_from_probs(delta_probs: Tensor, probs: Tensor) -> Tensor:
        return delta_probs * probs

    def delta_input_from_gap(delta_gap: Tensor) -> Tensor:
        return -delta_gap

    def delta_target_from_gap(delta_gap: Tensor) -> Tensor:
        return delta_gap

    def tangent(inputs: tuple, tangents: tuple, output: tuple) -> tuple[Tensor, Tensor, Tensor]:
        input, target, reduction = inputs
        t_input, t_target, _ = tangents
        probs, gap = target.exp(), target - input
        t_probs = torch.zeros_like(probs) if t_target is None else probs * t_target
        t_gap = total(t_target, None if t_input is None else -t_input)
        assert t_gap is not None
        return reduced(t_probs * gap + probs * t_gap, reduction), t_probs, t_gap
