"""Negative logarithms of probabilities: GaussianNLLLoss, PoissonNLLLoss, MultiLabelSoftMarginLoss."""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor

from ..engine.rule import Rule
from ..engine.terms import reduced, total
from .arithmetic import Add
from .loss import FLOAT32, per_loss
from .powers import Exp


class GaussianNLLLoss(Rule):
    """l = (log v + (x - y)^2 / v) / 2, with log(2 pi) / 2 more where full, or the mean or sum of all

    input, target (*)   var v (*), at least eps   reduction: "none", "mean" or "sum"
    output, delta (*), or () when reduced

    delta_input = (x - y) / v delta     delta_target = -delta_input
    delta_var = (1 - (x - y)^2 / v) / (2 v) delta, also where var is below eps              with delta / n for a mean

    Source: Nix, Weigend 1994, "Estimating the mean and variance of the target probability distribution".
    """

    elementwise = True
    broadcasts = True

    def forward(input: Tensor, target: Tensor, var: Tensor, full: bool, eps: float, reduction: str) -> Tensor:
        var = var.clamp(min=eps)
        losses = 0.5 * (torch.log(var) + (input - target) ** 2 / var)
        return reduced(losses + 0.5 * math.log(2 * math.pi) if full else losses, reduction)

    def each(delta: Tensor, input: Tensor, target: Tensor, var: Tensor, reduction: str) -> Tensor:
        """The delta of each single loss."""
        count = torch.broadcast_shapes(input.shape, target.shape, var.shape).numel()
        return per_loss(delta, reduction, count)

    def clamped(var: Tensor, eps: float) -> Tensor:
        """max(var, eps), whose derivative by var counts as 1 everywhere."""
        return torch.where(var < eps, var - var.detach() + eps, var)

    def delta_input(each: Tensor, input: Tensor, target: Tensor, clamped: Tensor) -> Tensor:
        return (input - target) / clamped * each

    def delta_target(each: Tensor, input: Tensor, target: Tensor, clamped: Tensor) -> Tensor:
        return (target - input) / clamped * each

    def delta_var(each: Tensor, input: Tensor, target: Tensor, clamped: Tensor) -> Tensor:
        return (1 - (input - target) ** 2 / clamped) / (2 * clamped) * each


class PoissonNLLLoss(Rule):
    """l = r - y x with log_input, else x - y log r, or the mean or sum of all;   r = e^x with log_input, else x + eps

    input x, target y (*)   log_input, full: truth values   eps: number   reduction: "none", "mean" or "sum"
    output, delta (*), or () when reduced   rate r: as input

    delta_input = (r - y) delta with log_input, else (1 - y / r) delta                      with delta / n for a mean
    delta_target = -x delta with log_input, else -log r delta

    With full, l is larger by y log y - y + log(2 pi y) / 2 where y > 1, and delta_target by (log y + 1 / (2 y)) delta.
    r is an output, too, and saved in place of x.

    Source: McCullagh, Nelder 1989, "Generalized Linear Models", section 6.2; Stirling's formula for log y!.
    """

    results = "output", "rate"
    broadcasts = True
    autocast = FLOAT32
    tangent_reads = (1,)

    def forward(
        input: Tensor, target: Tensor, log_input: bool, full: bool, eps: float, reduction: str
    ) -> tuple[Tensor, Tensor]:
        rate = input.exp() if log_input else input + eps
        losses = rate - target * input if log_input else input - target * rate.log()
        if full:
            stirling = target * target.log() - target + 0.5 * (2 * math.pi * target).log()
            losses = losses + stirling.masked_fill(target <= 1, 0)
        return reduced(losses, reduction), rate

    def inner(inputs: tuple) -> tuple:
        input, _, log_input, _, eps, _ = inputs
        return (Exp, (input,)) if log_input else (Add, (input, eps, 1))

    def each(delta: Tensor, input_shape: torch.Size, target_shape: torch.Size, reduction: str) -> Tensor:
        """The delta of each single loss."""
        return per_loss(delta, reduction, torch.broadcast_shapes(input_shape, target_shape).numel())

    def delta_input(each: Tensor, rate: Tensor, target: Tensor, log_input: bool) -> Tensor:
        return (rate - target if log_input else 1 - target / rate) * each

    def delta_input_from_rate(delta_rate: Tensor, rate: Tensor, log_input: bool) -> Tensor:
        return rate * delta_rate if log_input else delta_rate

    def delta_target(each: Tensor, input: Tensor, target: Tensor, log_input: bool, full: bool, eps: float) -> Tensor:
        slope = -input if log_input else -(input + eps).log()
        if full:
            slope = slope + (target.log() + 0.5 / target).masked_fill(target <= 1, 0)
        return slope * each

    def tangent(inputs: tuple, tangents: tuple, output: tuple) -> tuple:
        input, target, log_input, full, eps, reduction = inputs
        (loss, rate), (t_input, t_target, *_), rule = output, tangents, PoissonNLLLoss
        moved = total(
            None if t_input is None else rule.delta_input(t_input, rate, target, log_input),
            None if t_target is None else rule.delta_target(t_target, input, target, log_input, full, eps),
        )
        t_rate = torch.zeros_like(rate) if t_input is None else rule.delta_input_from_rate(t_input, rate, log_input)
        return reduced(moved, reduction).to(loss.dtype), t_rate  # type: ignore[arg-type]


class MultiLabelSoftMarginLoss(Rule):
    """l = - sum over V of w (y log s(x) + (1 - y) log s(-x)) / V, s the logistic function, or the mean or sum of all

    input, target y (*, V)   weight w: broadcasts to (*, V), or None   reduction: "none", "mean" or "sum"
    output, delta (*), or () when reduced

    delta_input = w (s(x) - y) / V delta     delta_target = -w x / V delta                  with delta / n for a mean
    delta_weight = -(y log s(x) + (1 - y) log s(-x)) / V delta

    Source: Bishop 2006, "Pattern Recognition and Machine Learning", equation 4.91.
    """

    broadcasts = True

    def forward(input: Tensor, target: Tensor, weight: Tensor | None, reduction: str) -> Tensor:
        losses = MultiLabelSoftMarginLoss.losses(input, target)
        losses = losses if weight is None else losses * weight
        return reduced(losses.sum(-1) / input.shape[-1], reduction)

    def losses(input: Tensor, target: Tensor) -> Tensor:
        """The loss of each label, without its weight."""
        return -(target * F.logsigmoid(input) + (1 - target) * F.logsigmoid(-input))

    def each(
        delta: Tensor, input: Tensor, target_shape: torch.Size, weight_shape: torch.Size | None, reduction: str
    ) -> Tensor:
        """The delta of each label's loss."""
        shape = torch.broadcast_shapes(input.shape, target_shape, weight_shape or ())
        delta = per_loss(delta, reduction, shape[:-1].numel()) / input.shape[-1]
        return delta.unsqueeze(-1) if reduction == "none" else delta

    def delta_input(each: Tensor, input: Tensor, target: Tensor, weight: Tensor | None) -> Tensor:
        each = each if weight is None else each * weight
        return (input.sigmoid() - target) * each

    def delta_target(each: Tensor, input: Tensor, weight: Tensor | None) -> Tensor:
        each = each if weight is None else each * weight
        return -input * each

    def delta_weight(each: Tensor, losses: Tensor) -> Tensor:
        return losses * each

    def tangent(inputs: tuple, tangents: tuple, output: Tensor) -> Tensor:
        input, target, weight, reduction = inputs
        t_input, t_target, t_weight = tangents[:3]
        moved = torch.zeros_like(input) if t_input is None else (input.sigmoid() - target) * t_input
        moved = moved if t_target is None else moved - input * t_target
        moved = moved if weight is None else moved * weight
        if t_weight is not None:
            moved = moved + MultiLabelSoftMarginLoss.losses(input, target) * t_weight
        return reduced(moved.sum(-1) / input.shape[-1], reduction)
