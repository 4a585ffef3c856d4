"""Cross-entropy of yes-or-no targets: BCELoss of probabilities, BCEWithLogitsLoss of logits."""

from __future__ import annotations

from typing import Any

import torch.nn.functional as F
from torch import Tensor

from ..engine.rule import Rule
from ..engine.torch_private import transforms_active
from .loss import FLOAT32, per_loss


def weighed(delta: Tensor, weight: Tensor | None, reduction: str, count: int) -> Tensor:
    """The delta of each element's loss, times its weight."""
    delta = per_loss(delta, reduction, count)
    return delta if weight is None else delta * weight


class BCELoss(Rule):
    """l = - w (y log x + (1 - y) log(1 - x)), logarithms cut off at -100, or the mean or sum of all

    input (*), probabilities in [0, 1]   target (*), in [0, 1]   weight: broadcasts to (*), or None
    reduction: "none", "mean" or "sum"   output, delta (*), or () when reduced

    delta_input = w (x - y) / (x (1 - x)) delta, the denominator at least 1e-12
    delta_target = w log((1 - x) / x) delta                                          with delta / n for a mean

    Source: Goodfellow, Bengio, Courville 2016, "Deep Learning", section 6.2.2.2; the limits are ATen's.
    """

    elementwise = True
    upcast = True
    autocast = {"cpu": "float32"}  # noqa: RUF012

    def forward(input: Tensor, target: Tensor, weight: Tensor | None, reduction: str) -> Tensor:
        return F.binary_cross_entropy(input, target, weight, reduction=reduction)

    def delta_input(delta: Tensor, input: Tensor, target: Tensor, weight: Tensor | None, reduction: str) -> Tensor:
        return BCELoss.scaled(input, target, weighed(delta, weight, reduction, input.numel()))

    def scaled(input: Tensor, target: Tensor, factor: float | Tensor) -> Tensor:
        variance = ((1 - input) * input).clamp(min=1e-12)
        return (input - target) / variance * factor

    def delta_target(delta: Tensor, input: Tensor, weight: Tensor | None, reduction: str) -> Tensor:
        return input.logit() * -weighed(delta, weight, reduction, input.numel())

    def hints(*args: Any) -> list[str]:
        input, target = args[:2]
        return [*hints_for_targets(target), *_outside("input", input), *_outside("target", target)]


def hints_for_targets(target: Tensor) -> list[str]:
    """Hints on targets of the wrong dtype."""
    return [] if target.is_floating_point() else ["target holds integers: pass target.float()"]


def _outside(name: str, values: Tensor) -> list[str]:
    if values.device.type != "cpu" or transforms_active():
        return []
    places = (~((values >= 0) & (values <= 1))).nonzero()
    if not len(places):
        return []
    place = tuple(places[0].tolist())
    remedy = "; logits go to binary_cross_entropy_with_logits" if name == "input" else ""
    return [f"{name} holds {values[place].item():g} at {place}, probabilities lie between 0 and 1{remedy}"]


class BCEWithLogitsLoss(Rule):
    """l = - w (p y log s(x) + (1 - y) log(1 - s(x))) with the logistic function s, or the mean or sum of all

    input (*), logits   target (*), in [0, 1]   weight w, pos_weight p: broadcast to (*), or None for 1
    reduction: "none", "mean" or "sum"   output, delta (*), or () when reduced

    delta_input = w ((1 + (p - 1) y) s(x) - p y) delta, for p = 1: w (s(x) - y) delta
    delta_target = w (log s(-x) - p log s(x)) delta, for p = 1: - w x delta          with delta / n for a mean

    Source: Bishop 2006, "Pattern Recognition and Machine Learning", equation 4.91.
    """

    elementwise = True
    upcast = True
    autocast = FLOAT32

    def forward(
        input: Tensor, target: Tensor, weight: Tensor | None, pos_weight: Tensor | None, reduction: str
    ) -> Tensor:
        return F.binary_cross_entropy_with_logits(input, target, weight, reduction=reduction, pos_weight=pos_weight)

    def delta_input(
        delta: Tensor, input: Tensor, target: Tensor, weight: Tensor | None, pos_weight: Tensor | None, reduction: str
    ) -> Tensor:
        factor = weighed(delta, weight, reduction, input.numel())
        if pos_weight is None:
            return BCEWithLogitsLoss.scaled(input, target, factor)
        return ((1 + (pos_weight - 1) * target) * input.sigmoid() - pos_weight * target) * factor

    def scaled(input: Tensor, target: Tensor, factor: float | Tensor) -> Tensor:
        return (input.sigmoid() - target) * factor

    def delta_target(
        delta: Tensor, input: Tensor, weight: Tensor | None, pos_weight: Tensor | None, reduction: str
    ) -> Tensor:
        slope = -input if pos_weight is None else F.logsigmoid(-input) - pos_weight * F.logsigmoid(input)
        return slope * weighed(delta, weight, reduction, input.numel())

    def hints(*args: Any) -> list[str]:
        return hints_for_targets(args[1])
