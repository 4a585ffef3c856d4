"""The derivative of the CTC loss in C (ctc.c)."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from ..rules import CTCLoss
from . import native
from .indexed import long
from .native import REAL
from .registry import serves
from .rows import takes


@serves(CTCLoss.delta_input, on="cpu", upcasts=True, when="float32, float64; not empty, labels valid")
def ctc_delta_input(
    delta: Tensor, input: Tensor, target: Tensor, input_lengths: Tensor, target_lengths: Tensor, log_alpha: Tensor,
    log_likelihood: Tensor, blank: int, zero_infinity: bool, reduction: str,
) -> Tensor:  # fmt: skip
    lengths = input_lengths, target_lengths
    if delta.dtype == torch.bfloat16 or not takes(delta, input, log_alpha, log_likelihood, labels=target):
        return NotImplemented
    if not native.plain(*lengths) or 2 * int(target_lengths.max()) >= log_alpha.shape[2]:
        return NotImplemented
    steps, batch, classes = input.shape
    if reduction == "mean":
        delta = delta / target_lengths.clamp(min=1).to(delta.dtype) / batch
    states, _ = CTCLoss.states(target, target_lengths, blank, log_alpha.shape[2])
    if int(states.min()) < 0 or int(states.max()) >= classes:
        return NotImplemented  # the formula runs and raises the error
    delta_input = torch.empty_like(input, memory_format=torch.contiguous_format)
    native.call(
        f"ctc_delta_input_{REAL[input.dtype]}", delta_input, delta.expand(batch).contiguous(), input.contiguous(),
        states.contiguous(), *[long(length) for length in lengths], log_alpha.contiguous(), log_likelihood.contiguous(),
        native.number(0.0 if zero_infinity else math.nan), steps, batch, classes, log_alpha.shape[2],
    )  # fmt: skip
    return delta_input
