"""Connectionist temporal classification."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from .. import rules
from ._call import call
from ._losses import reduction_of
from .shape import reshape

Lengths = Tensor | tuple | list


def ctc_loss(
    log_probs: Tensor,
    targets: Tensor,
    input_lengths: Lengths,
    target_lengths: Lengths,
    blank: int = 0,
    reduction: str = "mean",
    zero_infinity: bool = False,
) -> Tensor:
    """-log of the probability that frames spell a target, as torch.nn.functional.ctc_loss; rule: `mb.rules.CTCLoss`.

    log_probs (T, N, V) or (T, V); targets (N, S), or all concatenated in one axis; lengths (N): tensors, tuples or
    lists. "mean" first divides each loss by the length of its target, then averages over the batch. ValueError for an
    unknown reduction, RuntimeError for lengths, labels or sizes that do not fit.
    """
    reduction = reduction_of(reduction, None, None)
    single = log_probs.dim() == 2
    input = reshape(log_probs, (len(log_probs), 1, log_probs.shape[1])) if single else log_probs
    lengths = [
        _lengths(name, value, input)
        for name, value in zip(("input", "target"), (input_lengths, target_lengths), strict=True)
    ]
    loss = call(rules.CTCLoss, input, targets.to(input.device), *lengths, blank, zero_infinity, reduction)[0]
    return reshape(loss, ()) if single and reduction == "none" else loss


def _lengths(name: str, lengths: Any, input: Tensor) -> Tensor:
    if not isinstance(lengths, Tensor):
        return torch.tensor(lengths, dtype=torch.long, device=input.device).reshape(-1)
    if lengths.is_floating_point() or lengths.is_complex() or lengths.dtype == torch.bool:
        raise RuntimeError(f"{name}_lengths must be integral. got: {lengths.dtype}. expected: torch.long")
    return lengths.to(input.device, torch.long).reshape(-1)
