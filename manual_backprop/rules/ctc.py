"""Connectionist temporal classification: the probability that a sequence of frames spells a sequence of labels."""

from __future__ import annotations

import torch
from torch import Tensor

from ..engine.rule import Rule
from ..engine.torch_private import ctc_forward
from .loss import FLOAT32

NEVER = -1e30
"""The logarithm of probability zero: finite, so that second derivatives are finite, too."""


class CTCLoss(Rule):
    """l = -log p,  p = the sum over all paths s through the states of the product over t of e^x[t, label of s_t],
    or the sum of all l, or the mean of l / length of the target
    The K = 2 S + 1 states are blank, label 1, blank, label 2, ..., blank. A path begins in one of the first two, ends
    in one of the last two, and from one frame to the next it stays, goes on by one state, or by two to another label.

    input x (T, N, V), logarithms of probabilities   target (N, S) or all in one row   lengths (N)   blank: a class
    zero_infinity: whether a loss of infinity counts as zero   reduction: "none", "mean" or "sum"
    output, delta (N), or () when reduced   log_alpha (N, T, K): of the paths that end in a state at t

    delta_input[t, v] = (e^x - sum over states of label v of gamma[t]) delta, zero behind the end of the input
    gamma = e^(log_alpha + log_beta - x + l), the probability that the path is in that state at t
    log_beta[t, s] = x[t, label of s] + log of the sum of e^log_beta[t + 1] over the states that follow s

    The term e^x is torch's. It makes the deltas of each frame sum to zero. If x comes from a log_softmax, the delta of
    the log_softmax's input is the same without that term.

    Source: Graves, Fernández, Gomez, Schmidhuber 2006, "Connectionist temporal classification", equations 6 to 16.
    """

    results = ("output", "log_alpha", "log_likelihood")
    pure = False  # the longest target sets the number of states, and a recorded call would not read it again
    upcast = True
    autocast = FLOAT32
    tangent_reads = (1, 2)

    def forward(
        input: Tensor, target: Tensor, input_lengths: Tensor, target_lengths: Tensor, blank: int, zero_infinity: bool,
        reduction: str,
    ) -> tuple[Tensor, Tensor, Tensor]:  # fmt: skip
        if not input.numel():
            raise RuntimeError(f"log_probs tensor must not be empty, got: {tuple(input.shape)}, expected: (T, N, V)")
        if ctc_forward is None or torch.compiler.is_compiling():  # the output shape of torch's depends on data
            log_alpha = CTCLoss.log_alpha(input, target, input_lengths, target_lengths, blank)
            log_likelihood = CTCLoss.log_likelihood(log_alpha, input_lengths, target_lengths)
            losses = (-log_likelihood).masked_fill(log_likelihood <= NEVER / 2, torch.inf)
        else:
            losses, log_alpha = ctc_forward(
                input, target.contiguous(), input_lengths, target_lengths, blank, zero_infinity
            )
        output = losses.masked_fill(losses == torch.inf, 0) if zero_infinity else losses
        if reduction == "mean":
            output = (output / at_least_one(target_lengths, output)).mean()
        return output.sum() if reduction == "sum" else output.clone(), log_alpha, -losses

    def log_likelihood(log_alpha: Tensor, input_lengths: Tensor, target_lengths: Tensor) -> Tensor:
        """(N): log p, from the two states in which a path may end."""
        last = log_alpha.gather(1, (input_lengths - 1).clamp(min=0).reshape(-1, 1, 1).expand(-1, 1, log_alpha.shape[2]))
        label = last.squeeze(1).gather(1, (2 * target_lengths - 1).clamp(min=0).reshape(-1, 1)).squeeze(1)
        blank = last.squeeze(1).gather(1, (2 * target_lengths).reshape(-1, 1)).squeeze(1)
        return torch.where(target_lengths > 0, torch.logaddexp(label, blank), blank)

    def log_alpha(input: Tensor, target: Tensor, input_lengths: Tensor, target_lengths: Tensor, blank: int) -> Tensor:
        """(N, T, K), computed from the first frame on. In reversed order, the states before a state follow it, so
        `followed` serves here, too."""
        states, _ = CTCLoss.states(target, target_lengths, blank, 2 * longest(target, target_lengths) + 1)
        emitted = input.gather(2, states.expand(len(input), *states.shape)).clamp(min=NEVER)
        skips = states != torch.nn.functional.pad(states, (2, 0), value=-1)[:, :-2]
        begins = torch.arange(states.shape[1], device=input.device) < 2
        row = torch.where(begins, emitted[0], NEVER)
        rows: list[Tensor] = []
        for frame in emitted:
            if rows:
                row = frame + followed(row.flip(1), skips.flip(1)).flip(1)
            rows.append(row)
        return torch.stack(rows, 1)

    def delta_input(
        delta: Tensor, input: Tensor, target: Tensor, input_lengths: Tensor, target_lengths: Tensor,
        log_alpha: Tensor, log_likelihood: Tensor, blank: int, zero_infinity: bool, reduction: str,
    ) -> Tensor:  # fmt: skip
        slopes = CTCLoss.slopes(
            input, target, input_lengths, target_lengths, log_alpha, log_likelihood, blank, zero_infinity
        )
        if reduction == "mean":
            delta = delta / at_least_one(target_lengths, delta) / input.shape[1]
        return slopes * delta.reshape(-1, 1)

    def slopes(
        input: Tensor, target: Tensor, input_lengths: Tensor, target_lengths: Tensor, log_alpha: Tensor,
        log_likelihood: Tensor, blank: int, zero_infinity: bool,
    ) -> Tensor:  # fmt: skip
        """(T, N, V): the derivative of each loss by its own frames."""
        states, in_target = CTCLoss.states(target, target_lengths, blank, log_alpha.shape[2])
        log_beta = CTCLoss.log_beta(input, states, in_target, input_lengths, target_lengths, blank)
        frames = torch.arange(len(input), device=input.device).unsqueeze(1) < input_lengths
        emitted = input.gather(2, states.expand(len(input), *states.shape))
        log_gamma = log_alpha.transpose(0, 1) + log_beta - emitted - log_likelihood.unsqueeze(1)
        gamma = torch.where(frames.unsqueeze(2) & in_target, log_gamma.exp(), 0.0)
        seen = torch.zeros_like(input).scatter_add(2, states.expand(gamma.shape), gamma)
        impossible = log_likelihood <= NEVER / 2
        slopes = (input.exp() - seen).masked_fill(impossible.unsqueeze(1), 0.0 if zero_infinity else torch.nan)
        return torch.where(frames.unsqueeze(2), slopes, 0.0)

    def states(target: Tensor, target_lengths: Tensor, blank: int, count: int) -> tuple[Tensor, Tensor]:
        """Both (N, K): the label of each state, and whether the target is long enough to have that state."""
        place = torch.arange(count, device=target.device)
        label, in_target = place.div(2, rounding_mode="floor"), place <= 2 * target_lengths.unsqueeze(1)
        target = torch.nn.functional.pad(target, (0, 1))  # so that an index after the last label is valid
        if target.dim() == 1:
            index = (target_lengths.cumsum(0) - target_lengths).unsqueeze(1) + label
            labels = target[index.clamp(max=len(target) - 1)]
        else:
            labels = target[:, label]
        return torch.where((place % 2 == 1) & in_target, labels, blank).long(), in_target

    def log_beta(
        input: Tensor, states: Tensor, in_target: Tensor, input_lengths: Tensor, target_lengths: Tensor, blank: int
    ) -> Tensor:
        """(T, N, K), computed from the last frame back."""
        place = torch.arange(states.shape[1], device=input.device)
        ends = in_target & (place >= 2 * target_lengths.unsqueeze(1) - 1)
        skips = states != torch.nn.functional.pad(states, (0, 2), value=-1)[:, 2:]
        emitted = input.gather(2, states.expand(len(input), *states.shape)).clamp(min=NEVER)
        row, rows = torch.full_like(states, NEVER, dtype=input.dtype), []
        for t in reversed(range(len(input))):
            last = (input_lengths == t + 1).unsqueeze(1)
            row = emitted[t] + torch.where(last, torch.where(ends, 0.0, NEVER), followed(row, skips))
            row = torch.where(in_target, row, NEVER)
            rows.append(row)
        return torch.stack(rows[::-1])

    def tangent(inputs: tuple, tangents: tuple, output: tuple) -> tuple:
        input, target, input_lengths, target_lengths, blank, zero_infinity, reduction = inputs
        slopes = CTCLoss.slopes(
            input, target, input_lengths, target_lengths, output[1], output[2], blank, zero_infinity
        )
        moved = (slopes * tangents[0]).sum((0, 2))
        if reduction == "mean":
            return (moved / at_least_one(target_lengths, moved)).mean(), None, None
        return moved.sum() if reduction == "sum" else moved, None, None


def followed(row: Tensor, skips: Tensor) -> Tensor:
    """The logarithm of the sum over the states that may follow each state: itself, the next one, and the one after that
    where `skips` is true."""
    longer = torch.nn.functional.pad(row, (0, 2), value=NEVER)
    after, behind = longer[:, 1:-1], torch.where(skips, longer[:, 2:], NEVER)
    return torch.logsumexp(torch.stack((row, after, behind)), 0).clamp(min=NEVER)


def longest(target: Tensor, lengths: Tensor) -> int:
    """The length of the longest target."""
    return target.shape[-1] if target.dim() == 2 or torch.compiler.is_compiling() else int(lengths.max())


def at_least_one(lengths: Tensor, like: Tensor) -> Tensor:
    return lengths.clamp(min=1).to(like.dtype)
