"""Linear and cross-entropy in one rule, which never holds all logits (N, V) of a large vocabulary in memory.

Forward and backward each go through the input in chunks of rows, and compute the logits of one chunk at a time.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from ..engine.rule import LOWER, Rule, choose, differentiated_again
from ..engine.terms import LOW, in_opmath, total
from ..engine.torch_private import transforms_active
from .cross_entropy import CrossEntropyLoss, counted, hints_for_labels, wide
from .linear import Linear

ELEMENTS = 2**23
"""The largest number of logits in memory at a time (32 MiB of float32), but at least those of one row."""


def runs(rows: int, classes: int) -> Iterator[slice]:
    """The rows in chunks of equal length; the last one may be shorter."""
    length = max(1, ELEMENTS // max(classes, 1))
    return (slice(begin, begin + length) for begin in range(0, rows, length))


class LinearCrossEntropyLoss(Rule):
    """l_n = - w_t log p_nt, p = softmax(x W^T + b), with the label t of row n; their sum, or it over the sum of the w_t

    input (N, I)   linear_weight (V, I)   linear_bias (V,) or None   target (N,): int64 or uint8, labels 0 .. V-1 or
    ignore_index, for which the loss is 0   weight (V,) or None   reduction: "none", "mean" or "sum"   smoothing as in
    CrossEntropyLoss   dtype: of the softmax and the loss, None for that of the input
    output, delta (N,), or () when reduced

    With the delta of the logits, G = w_t (p - onehot(t)) delta, of some rows at a time:
    delta_input = G W     grad_linear_weight = sum over the runs of G^T x     grad_linear_bias = sum over N of G

    Source: the chain rule through `Linear` and `CrossEntropyLoss`; in runs of rows: Hsu et al. 2024, "Liger Kernel:
    Efficient Triton Kernels for LLM Training".
    """

    autocast = LOWER
    tangent_reads = ()

    def forward(
        input: Tensor, linear_weight: Tensor, linear_bias: Tensor | None, target: Tensor, weight: Tensor | None,
        ignore_index: int, reduction: str, smoothing: float, dtype: torch.dtype | None,
    ) -> Tensor:  # fmt: skip
        target, dtype = wide(target), dtype or input.dtype
        weight = None if weight is None else weight.to(dtype)
        losses = []
        for run in runs(len(input), len(linear_weight)):
            logits = LinearCrossEntropyLoss.logits(input[run], linear_weight, linear_bias)
            formula = choose(LinearCrossEntropyLoss.losses)
            losses.append(formula(logits, target[run], weight, ignore_index, smoothing, dtype))
        loss = torch.cat(losses) if losses else input.new_zeros(0, dtype=dtype)
        if reduction == "none":
            return loss
        loss = loss.sum()
        return loss / counted(target, weight, ignore_index) if reduction == "mean" else loss

    def logits(input: Tensor, linear_weight: Tensor, linear_bias: Tensor | None) -> Tensor:
        return choose(Linear.output)(input, linear_weight, linear_bias)

    def delta_losses(delta: Tensor, target: Tensor, weight: Tensor | None, ignore_index: int, reduction: str) -> Tensor:
        """The delta of the loss of each row."""
        if reduction == "mean":
            delta = delta / counted(target, weight, ignore_index)
        return delta.expand(target.shape)

    def delta_logits(
        delta_losses: Tensor, logits: Tensor, target: Tensor, weight: Tensor | None, ignore_index: int,
        smoothing: float, dtype: torch.dtype | None,
    ) -> Tensor:  # fmt: skip
        """G, of the shape of the logits; a kernel may overwrite the logits with it."""
        log_probs = logits.to(dtype or logits.dtype).log_softmax(1)
        facts = target, None if weight is None else weight.to(log_probs.dtype), ignore_index, "none", smoothing
        return in_opmath(choose(CrossEntropyLoss.delta_input), delta_losses, log_probs, *facts).to(logits.dtype)

    def delta_input(delta_logits: Tensor, linear_weight: Tensor) -> Tensor:
        return choose(Linear.delta_input)(delta_logits, linear_weight)

    def grad_linear_weight(delta_logits: Tensor, input: Tensor) -> Tensor:
        return delta_logits.T @ input

    def grad_linear_bias(delta_logits: Tensor) -> Tensor:
        return delta_logits.sum(0)

    # written by hand: formulas over all rows at once would hold all logits in memory
    def derivatives(
        delta: Tensor, target: Tensor, weight: Tensor | None, ignore_index: int, reduction: str, input: Tensor,
        linear_weight: Tensor, linear_bias: Tensor | None, smoothing: float, dtype: torch.dtype | None,
        needs: tuple[bool, bool, bool],
    ) -> tuple[Tensor | None, Tensor | None, Tensor | None]:  # fmt: skip
        """The three formulas, chunk by chunk."""
        needs_input, needs_weight, needs_bias = needs
        target, dtype = wide(target), dtype or input.dtype
        weight = None if weight is None else weight.to(dtype)
        delta = LinearCrossEntropyLoss.delta_losses(delta, target, weight, ignore_index, reduction)
        deltas: list[Tensor] = []
        sums = torch.float32 if input.dtype in LOW else input.dtype
        grad_weight = delta.new_zeros(linear_weight.shape if needs_weight else (), dtype=sums)
        grad_bias = delta.new_zeros(linear_weight.shape[:1], dtype=sums)
        # the sums are not added in place if they are differentiated again, or carry a batch axis of vmap
        apart = differentiated_again() or transforms_active()
        for run in runs(len(input), len(linear_weight)):
            logits = LinearCrossEntropyLoss.logits(input[run], linear_weight, linear_bias)
            formula = choose(LinearCrossEntropyLoss.delta_logits)
            delta_logits = formula(delta[run], logits, target[run], weight, ignore_index, smoothing, dtype)
            if needs_input:
                deltas.append(LinearCrossEntropyLoss.delta_input(delta_logits, linear_weight))
            if needs_weight:
                if apart or sums != input.dtype:
                    grad_weight = grad_weight + LinearCrossEntropyLoss.grad_linear_weight(delta_logits, input[run])
                else:
                    grad_weight.addmm_(delta_logits.T, input[run])
            if needs_bias:
                grad_bias = grad_bias + LinearCrossEntropyLoss.grad_linear_bias(delta_logits)
        return (
            (torch.cat(deltas) if deltas else torch.zeros_like(input)) if needs_input else None,
            grad_weight.to(linear_weight.dtype) if needs_weight else None,
            grad_bias.to(linear_weight.dtype) if needs_bias else None,
        )

    def losses(
        logits: Tensor, target: Tensor, weight: Tensor | None, ignore_index: int, smoothing: float, dtype: torch.dtype
    ) -> Tensor:
        """The loss of each row of a chunk."""
        return CrossEntropyLoss.forward(logits.to(dtype), target, weight, ignore_index, "none", smoothing)[0]

    def tangent(inputs: tuple, tangents: tuple, output: Tensor) -> Tensor:
        input, linear_weight, linear_bias, *facts, _ = inputs
        logits = F.linear(input, linear_weight, linear_bias)
        moved = total(
            None if tangents[0] is None else tangents[0] @ linear_weight.T,
            None if tangents[1] is None else input @ tangents[1].T,
            None if tangents[2] is None else tangents[2].expand(logits.shape),
        )
        loss, log_probs = CrossEntropyLoss.forward(logits, *facts)
        return CrossEntropyLoss.tangent((logits, *facts), (moved,), (loss, log_probs))[0]

    def hints(*args: Any) -> list[str]:
        input, linear_weight, _, target, weight, ignore_index, *_ = args
        logits = input.new_empty(*input.shape[:-1], len(linear_weight))
        return hints_for_labels(logits, target, weight, ignore_index)
