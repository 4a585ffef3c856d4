"""Losses with class indices as targets: NLLLoss and CrossEntropyLoss.

Cross-entropy saves the logarithms of the softmax, which the forward computes anyway, and nothing else of the size of
the logits. They are a second output of the rule, with a LogSoftmax as their node in the graph (`inner`). A derivative
of the backward passes through this node.
"""

from __future__ import annotations

import math
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from ..engine.rule import Rule, choose
from ..engine.torch_private import transforms_active
from .loss import FLOAT32
from .softmax import LogSoftmax


def class_axis(rank: int) -> int:
    """The axis of the classes in (C,) or (N, C, *)."""
    return 0 if rank == 1 else 1


def along_classes(weight: Tensor, rank: int) -> Tensor:
    """One number per class, shaped to broadcast against (C,) or (N, C, *)."""
    return weight.reshape(-1, *[1] * max(rank - 2, 0))


def smoothed(smoothing: float, classes: int) -> float:
    """The share of each class; infinite for no classes, as in C, where it multiplies empty sums."""
    return smoothing / classes if classes else math.inf


def wide(target: Tensor) -> Tensor:
    """uint8 labels as int64: some of ATen's operators take only int64 as indices."""
    return target.long() if target.dtype == torch.uint8 else target


def counted(target: Tensor, weight: Tensor | None, ignore_index: int) -> Tensor:
    """The divisor of a mean: the number of rows that are not ignored, or the sum of the weights of their labels."""
    target = wide(target)
    kept = target != ignore_index
    return kept.sum() if weight is None else torch.where(kept, weight[torch.where(kept, target, 0)], 0.0).sum()


def per_row(
    delta: Tensor, target: Tensor, weight: Tensor | None, ignore_index: int, reduction: str
) -> tuple[Tensor, Tensor, Tensor]:
    """Three values of each row.

    Its label (0 if ignored); the delta of its loss (0 if ignored; for a mean, divided by the sum of the weights of the
    rows that are not ignored); and this delta times the weight of its label.
    """
    target = wide(target)
    kept = target != ignore_index
    labels = torch.where(kept, target, 0)
    chosen = None if weight is None else weight[labels]
    if reduction == "mean":
        delta = delta / (kept.sum() if chosen is None else torch.where(kept, chosen, 0.0).sum())
    row = torch.where(kept, delta, 0.0)
    return labels, row, row if chosen is None else row * chosen


def over_rows(moved: Tensor, target: Tensor, weight: Tensor | None, ignore_index: int, reduction: str) -> Tensor:
    """The tangents of the losses of all rows, or their sum or mean. For no rows the mean is 0 / 0, as the loss is."""
    if reduction == "none":
        return moved
    return moved.sum() if reduction == "sum" else moved.sum() / counted(target, weight, ignore_index)


class NLLLoss(Rule):
    """l_n = - w_t x_nt with the label t of row n; their sum, or it over the sum of the w_t

    input (C,) or (N, C, *), logarithms of probabilities   target () or (N, *): int64 or uint8, labels 0 .. C-1 or
    ignore_index, for which the loss is 0   weight (C,) or None   reduction: "none", "mean" or "sum"
    output, delta as target, or () when reduced

    delta_input = - w_t delta at the label of each row that is not ignored, else 0;
    with delta over the sum of the w_t in place of delta for a mean

    Source: Bishop 2006, "Pattern Recognition and Machine Learning", equation 4.108.
    """

    upcast = True
    autocast = FLOAT32
    tangent_reads = ()

    def forward(input: Tensor, target: Tensor, weight: Tensor | None, ignore_index: int, reduction: str) -> Tensor:
        return F.nll_loss(input, wide(target), weight, ignore_index=ignore_index, reduction=reduction)

    def delta_input(
        delta: Tensor, target: Tensor, weight: Tensor | None, ignore_index: int, reduction: str, input_shape: torch.Size
    ) -> Tensor:
        axis = class_axis(len(input_shape))
        labels, _, at_label = per_row(delta, target, weight, ignore_index, reduction)
        labels, at_label = labels.unsqueeze(axis), at_label.unsqueeze(axis)
        if not input_shape[axis]:  # all rows are ignored
            return at_label.expand(input_shape)
        return at_label.new_zeros(()).expand(input_shape).scatter(axis, labels, -at_label)

    def tangent(inputs: tuple, tangents: tuple, output: Tensor) -> Tensor:
        input, target, weight, ignore_index, reduction = inputs
        ones = torch.ones_like(target, dtype=input.dtype)
        moved = NLLLoss.delta_input(ones, target, weight, ignore_index, "none", input.shape) * tangents[0]
        return over_rows(moved.sum(class_axis(input.dim())), target, weight, ignore_index, reduction)

    def hints(*args: Any) -> list[str]:
        return hints_for_labels(*args[:4])


class CrossEntropyLoss(Rule):
    """l_n = - w_t log p_nt with p = softmax(x) and the label t of row n; their sum, or it over the sum of the w_t;
    with smoothing e: l_n = (1 - e) (- w_t log p_nt) - e / C sum over c of w_c log p_nc

    input (C,) or (N, C, *), logits   target () or (N, *): int64 or uint8, labels 0 .. C-1 or ignore_index, for which
    the loss is 0   weight (C,) or None   reduction: "none", "mean" or "sum"
    output, delta as target, or () when reduced

    delta_input = w_t (p - onehot(t)) delta for each row that is not ignored, else 0;
    with smoothing (1 - e) of that + e / C (p sum over c of w_c - w) delta;
    with delta over the sum of the w_t in place of delta for a mean

    Source: Bridle 1990, "Probabilistic interpretation of feedforward classification network outputs"; smoothing:
    Szegedy et al. 2016, "Rethinking the Inception architecture for computer vision", section 7.
    """

    results = "output", "log_probs"
    upcast = True
    cheap = True
    recomputed_result = 1
    autocast = FLOAT32
    tangent_reads = (1,)

    def forward(
        input: Tensor, target: Tensor, weight: Tensor | None, ignore_index: int, reduction: str, smoothing: float
    ) -> tuple[Tensor, Tensor]:
        return choose(CrossEntropyLoss.output)(input, target, weight, ignore_index, reduction, smoothing)

    def output(
        input: Tensor, target: Tensor, weight: Tensor | None, ignore_index: int, reduction: str, smoothing: float
    ) -> tuple[Tensor, Tensor]:
        """The loss and the logarithms of the softmax."""
        axis, target = class_axis(input.dim()), wide(target)
        log_probs = input.log_softmax(axis)
        loss = F.nll_loss(log_probs, target, weight, ignore_index=ignore_index, reduction=reduction)
        if smoothing == 0:
            return loss, log_probs
        kept = target != ignore_index
        terms = log_probs if weight is None else log_probs * along_classes(weight, input.dim())
        spread = (-terms.sum(axis)).masked_fill(~kept, 0.0)
        if reduction != "none":
            spread = spread.sum()
        if reduction == "mean":
            spread = spread / counted(target, weight, ignore_index)
        return (1 - smoothing) * loss + spread * smoothed(smoothing, input.shape[axis]), log_probs

    def inner(inputs: tuple) -> tuple:
        return LogSoftmax, (inputs[0], class_axis(inputs[0].dim()), None)

    @classmethod
    def recipe(cls, inputs: tuple, output: tuple) -> tuple:
        return CrossEntropyLoss.second_output, inputs

    def second_output(*args: Any) -> Tensor:
        """The logarithms of the softmax only, computed as in the forward."""
        return CrossEntropyLoss.forward(*args)[1]

    def delta_input(
        delta: Tensor,
        log_probs: Tensor,
        target: Tensor,
        weight: Tensor | None,
        ignore_index: int,
        reduction: str,
        smoothing: float,
    ) -> Tensor:
        axis = class_axis(log_probs.dim())
        labels, row, at_label = per_row(delta, target, weight, ignore_index, reduction)
        labels, row, at_label = labels.unsqueeze(axis), row.unsqueeze(axis), at_label.unsqueeze(axis)
        if smoothing == 0:
            delta_input = log_probs.exp() * at_label
        else:
            at_label, everywhere = (1 - smoothing) * at_label, smoothed(smoothing, log_probs.shape[axis]) * row
            classes = log_probs.new_ones(log_probs.shape[axis]) if weight is None else weight
            mass = at_label + everywhere * classes.sum()
            delta_input = log_probs.exp() * mass - everywhere * along_classes(classes, log_probs.dim())
        if not log_probs.shape[axis]:  # all rows are ignored
            return delta_input
        # a new tensor that is not differentiated again: the one-hot term may be written into it
        return delta_input.scatter_add_(axis, labels, -at_label)

    def delta_input_from_log_probs(delta_log_probs: Tensor, log_probs: Tensor) -> Tensor:
        return LogSoftmax.delta_input(delta_log_probs, log_probs, class_axis(log_probs.dim()))

    def tangent(inputs: tuple, tangents: tuple, output: tuple) -> tuple:
        _, target, weight, ignore_index, reduction, smoothing = inputs
        log_probs = output[1]
        axis, ones = class_axis(log_probs.dim()), torch.ones_like(target, dtype=log_probs.dtype)
        formula = CrossEntropyLoss.delta_input
        moved = formula(ones, log_probs, target, weight, ignore_index, "none", smoothing) * tangents[0]
        t_loss = over_rows(moved.sum(axis), target, weight, ignore_index, reduction)
        return t_loss, LogSoftmax.tangent((None, axis, None), tangents, log_probs)

    def hints(*args: Any) -> list[str]:
        return hints_for_labels(*args[:4])


def hints_for_labels(input: Tensor, target: Tensor, weight: Tensor | None, ignore_index: int) -> list[str]:
    """Hints on class indices of a wrong shape, dtype or range."""
    if not input.dim() or transforms_active():
        return []
    axis = class_axis(input.dim())
    classes, expected = input.shape[axis], (*input.shape[:axis], *input.shape[axis + 1 :])
    if target.shape != expected:
        either = "" if not target.is_floating_point() else f", or probabilities of shape {tuple(input.shape)}"
        return [f"for this input target holds one class index per row, shape {tuple(expected)}{either}"]
    if target.dtype not in (torch.int64, torch.uint8):
        return ["class indices are integers: pass target.long()"]
    if wrong := hints_for_weight(input, weight):
        return wrong
    if target.device.type != "cpu":
        return []
    outside = ((wide(target) != ignore_index) & ((target < 0) | (target >= classes))).nonzero()
    if not len(outside):
        return []
    place = tuple(outside[0].tolist())
    return [
        f"target holds the label {target[place].item()} at {place}, {len(outside)} such in all: "
        f"the {classes} classes of input have the labels 0 to {classes - 1}, and {ignore_index} is ignored"
    ]


def hints_for_weight(input: Tensor, weight: Tensor | None) -> list[str]:
    """Hints on class weights of a wrong shape."""
    if weight is None or not input.dim() or weight.shape == (input.shape[class_axis(input.dim())],):
        return []
    return [f"weight holds one number per class of input, shape ({input.shape[class_axis(input.dim())]},)"]
