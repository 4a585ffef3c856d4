"""Elementwise losses with reduction "mean" or "sum", in one pass.

The delta is a single number there. The loops are printed from the formulas (pointwise.py).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from torch import Tensor

from ..engine import node
from ..rules import BCELoss, BCEWithLogitsLoss, HuberLoss, MarginRankingLoss, MSELoss, SmoothL1Loss
from ..rules.loss import per_loss
from . import native, printer
from .pointwise import LOOPS, kernel
from .registry import serves


def along(scaled: Callable[..., Any], facts: Callable[..., Any]) -> Callable[..., Any]:
    """A kernel for a formula (delta, *tensors, *options), from the loop of `scaled`(*tensors, *numbers).

    facts: (delta of each element, *options) -> the numbers, or None if these options are not served.
    """
    run, count = kernel(scaled, like=0), len(printer.parameters(scaled)[0])

    def delta_input(delta: Tensor, *arguments: Any) -> Any:
        tensors, options = arguments[:count], arguments[count:]
        if delta.dim() or delta.dtype != tensors[0].dtype or not tensors[0].numel() or not native.plain(delta):
            return NotImplemented
        *_, reduction = [option for option in options if isinstance(option, str)]
        numbers = facts(per_loss(node.Number(delta), reduction, tensors[0].numel()), *options)
        return NotImplemented if numbers is None else run(*tensors, *numbers)

    return delta_input


def turned(run: Callable[..., Any]) -> Callable[..., Any]:
    """For a loss that is symmetric in input and target: the kernel for delta_target, from that for delta_input."""

    def delta_target(delta: Tensor, input: Tensor, target: Tensor, *options: Any) -> Any:
        return run(delta, target, input, *options)

    return delta_target


def _unweighted(delta: float, *weights_and_reduction: Any) -> tuple[float] | None:
    return (delta,) if all(weight is None for weight in weights_and_reduction[:-1]) else None


_mse = along(MSELoss.scaled, lambda delta, _: (2 * delta,))
_smooth_l1 = along(HuberLoss.scaled, lambda delta, _, beta: (beta, delta / beta))
_huber = along(HuberLoss.scaled, lambda delta, _, bound: (bound, delta))

KERNELS_OF: dict[Callable[..., Any], Callable[..., Any]] = {
    MSELoss.delta_input: _mse,
    MSELoss.delta_target: turned(_mse),
    SmoothL1Loss.delta_input: _smooth_l1,
    SmoothL1Loss.delta_target: turned(_smooth_l1),
    HuberLoss.delta_input: _huber,
    HuberLoss.delta_target: turned(_huber),
    MarginRankingLoss.delta_input2: along(MarginRankingLoss.scaled, lambda delta, _: (delta,)),
    BCELoss.delta_input: along(BCELoss.scaled, _unweighted),
    BCEWithLogitsLoss.delta_input: along(BCEWithLogitsLoss.scaled, _unweighted),
}

for _formula, _run in KERNELS_OF.items():
    serves(
        _formula, on="cpu", upcasts=True, when=f"{LOOPS}; one delta, of a mean or a sum; no weights",
        name="losses, printed from the rule's scaled",
    )(_run)  # fmt: skip
