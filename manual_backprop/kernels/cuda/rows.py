"""Softmax, log-softmax and cross-entropy of contiguous rows, (rows, n)."""

from __future__ import annotations

import torch
import triton
import triton.language as tl
from torch import Tensor

from ...rules.cross_entropy import counted, per_row
from .launch import block, dense, launch, takes


@triton.jit
def _softmax_delta(
    out, delta, output, rows, n, SIGN: tl.constexpr, LOG: tl.constexpr, ROWS: tl.constexpr, COLUMNS: tl.constexpr
):  # fmt: skip
    """SIGN y (delta - sum of y delta), or with LOG: delta - e^y sum of delta."""
    r = (tl.program_id(0).to(tl.int64) * ROWS + tl.arange(0, ROWS))[:, None]
    total = tl.zeros((ROWS,), tl.float32)
    for start in range(0, n, COLUMNS):
        c = (start + tl.arange(0, COLUMNS))[None, :]
        inside = (r < rows) & (c < n)
        d = tl.load(delta + r * n + c, mask=inside, other=0.0).to(tl.float32)
        if not LOG:
            d *= tl.load(output + r * n + c, mask=inside, other=0.0).to(tl.float32)
        total += tl.sum(d, 1)
    for start in range(0, n, COLUMNS):
        c = (start + tl.arange(0, COLUMNS))[None, :]
        inside = (r < rows) & (c < n)
        d = tl.load(delta + r * n + c, mask=inside, other=0.0).to(tl.float32)
        y = tl.load(output + r * n + c, mask=inside, other=0.0).to(tl.float32)
        if LOG:
            result = d - tl.exp(y) * total[:, None]
        else:
            result = SIGN * y * (d - total[:, None])
        tl.store(out + r * n + c, result, mask=inside)


@triton.jit
def _cross_entropy_delta(
    out, logits, labels, at_label, everywhere, mass, weight, rows, classes, positions,
    NORMALIZED: tl.constexpr, SMOOTHED: tl.constexpr, WEIGHTED: tl.constexpr, ROWS: tl.constexpr,
    COLUMNS: tl.constexpr,
):  # fmt: skip
    """p mass - everywhere w - at_label onehot(label), where p = softmax(logits). NORMALIZED: the logits are log p.

    The classes of row r = (n, position) of (N, C, positions) are `positions` elements apart.
    """
    r = (tl.program_id(0).to(tl.int64) * ROWS + tl.arange(0, ROWS))[:, None]
    row = r < rows
    first = (r // positions) * positions * classes + r % positions
    peak = tl.zeros((ROWS, 1), tl.float32)
    total = tl.full((ROWS, 1), 1.0, tl.float32)
    if not NORMALIZED:
        peak, total = _moments(logits, first, row, classes, positions, ROWS, COLUMNS)
    label = tl.load(labels + r, mask=row, other=0)
    own = tl.load(at_label + r, mask=row, other=0.0).to(tl.float32)
    share = tl.load(mass + r, mask=row, other=0.0).to(tl.float32)
    for start in range(0, classes, COLUMNS):
        c = (start + tl.arange(0, COLUMNS))[None, :]
        inside = row & (c < classes)
        x = tl.load(logits + first + c.to(tl.int64) * positions, mask=inside, other=0.0).to(tl.float32)
        result = tl.exp(x - peak) / total * share
        if SMOOTHED:
            spread = tl.load(everywhere + r, mask=row, other=0.0).to(tl.float32)
            if WEIGHTED:
                spread = spread * tl.load(weight + c, mask=c < classes, other=0.0).to(tl.float32)
            result -= spread
        result -= tl.where(c == label, own, 0.0)
        tl.store(out + first + c.to(tl.int64) * positions, result, mask=inside)


@triton.jit
def _moments(logits, first, row, classes, positions, ROWS: tl.constexpr, COLUMNS: tl.constexpr):
    """The largest element of each row and the sum of e^(x - largest), in one pass."""
    peak = tl.full((ROWS, 1), float("-inf"), tl.float32)
    total = tl.zeros((ROWS, 1), tl.float32)
    for start in range(0, classes, COLUMNS):
        c = (start + tl.arange(0, COLUMNS))[None, :]
        inside = row & (c < classes)
        x = tl.load(logits + first + c.to(tl.int64) * positions, mask=inside, other=float("-inf")).to(tl.float32)
        higher = tl.maximum(peak, tl.max(x, 1)[:, None])
        safe = tl.where(higher == float("-inf"), 0.0, higher)
        total = total * tl.exp(peak - safe) + tl.sum(tl.exp(x - safe), 1)[:, None]
        peak = higher
    return peak, total


@triton.jit
def _cross_entropy(
    loss, log_probs, logits, labels, weight, rows, classes, positions, ignored, smoothing, KEPT: tl.constexpr,
    SMOOTHED: tl.constexpr, WEIGHTED: tl.constexpr, ROWS: tl.constexpr, COLUMNS: tl.constexpr,
):  # fmt: skip
    """(1 - e) (- w_t log p_t) - e / C sum of w_c log p_c of every row, 0 if its label is ignored. KEPT: also log p.

    The classes of row r = (n, position) of (N, C, positions) are `positions` elements apart.
    """
    r = (tl.program_id(0).to(tl.int64) * ROWS + tl.arange(0, ROWS))[:, None]
    row = r < rows
    first = (r // positions) * positions * classes + r % positions
    peak, total = _moments(logits, first, row, classes, positions, ROWS, COLUMNS)
    lse = tl.log(total)
    label = tl.load(labels + r, mask=row, other=0).to(tl.int64)
    kept = row & (label != ignored)
    x = tl.load(logits + first + label * positions, mask=kept, other=0.0).to(tl.float32)
    own = lse - (x - peak)
    if WEIGHTED:
        own *= tl.load(weight + label, mask=kept, other=0.0).to(tl.float32)
    if KEPT or SMOOTHED:
        everywhere = tl.zeros((ROWS, 1), tl.float32)
        for start in range(0, classes, COLUMNS):
            c = (start + tl.arange(0, COLUMNS))[None, :]
            inside = row & (c < classes)
            at = first + c.to(tl.int64) * positions
            terms = lse - (tl.load(logits + at, mask=inside, other=0.0).to(tl.float32) - peak)
            if KEPT:
                tl.store(log_probs + at, -terms, mask=inside)
            if SMOOTHED:
                if WEIGHTED:
                    terms *= tl.load(weight + c, mask=c < classes, other=0.0).to(tl.float32)
                everywhere += tl.sum(tl.where(inside, terms, 0.0), 1)[:, None]
        if SMOOTHED:
            own = (1 - smoothing) * own + smoothing / classes * everywhere
    tl.store(loss + r, tl.where(kept, own, 0.0), mask=row)


def softmax_delta_input(delta: Tensor, output: Tensor, dim: int) -> Tensor:
    return _along_rows(delta, output, dim, 1, False)


def softmin_delta_input(delta: Tensor, output: Tensor, dim: int) -> Tensor:
    return _along_rows(delta, output, dim, -1, False)


def log_softmax_delta_input(delta: Tensor, output: Tensor, dim: int) -> Tensor:
    return _along_rows(delta, output, dim, 1, True)


def _along_rows(delta: Tensor, output: Tensor, dim: int, sign: int, log: bool) -> Tensor:
    rank = output.dim()
    if not (rank > 0 and dim in (-1, rank - 1) and output.is_contiguous() and takes(delta, output)):
        return NotImplemented
    n = output.shape[-1]
    rows, shape = output.numel() // n, block(n)
    out = torch.empty_like(output, dtype=delta.dtype)
    programs = triton.cdiv(rows, shape["ROWS"])
    launch(_softmax_delta, programs, out, out, dense(delta), dense(output), rows, n, SIGN=sign, LOG=log, **shape)
    return out


def cross_entropy_delta_input(
    delta: Tensor, log_probs: Tensor, target: Tensor, weight: Tensor | None, ignore_index: int, reduction: str,
    smoothing: float,
) -> Tensor:  # fmt: skip
    options = ignore_index, reduction, smoothing
    if not log_probs.is_contiguous() or not takes(delta, log_probs, weight, others=(target,)):
        return NotImplemented
    out = torch.empty_like(log_probs, dtype=delta.dtype)
    return _delta_of_logits(out, delta, log_probs, target, weight, *options, normalized=True)


def delta_logits(
    delta: Tensor, logits: Tensor, target: Tensor, weight: Tensor | None, ignore_index: int, smoothing: float,
    dtype: torch.dtype,
) -> Tensor:  # fmt: skip
    """The deltas of the logits, written over the logits."""
    if dtype == torch.float64 or not logits.is_contiguous() or not takes(delta, logits, weight, others=(target,)):
        return NotImplemented
    return _delta_of_logits(logits, delta, logits, target, weight, ignore_index, "none", smoothing, normalized=False)


def _delta_of_logits(
    out: Tensor, delta: Tensor, logits: Tensor, target: Tensor, weight: Tensor | None, ignore_index: int,
    reduction: str, smoothing: float, normalized: bool,
) -> Tensor:  # fmt: skip
    axis = 1 if logits.dim() > 1 else 0
    classes = logits.shape[axis]
    positions = logits.shape[2:].numel()
    rows, shape = logits.numel() // classes, block(classes)
    # one element per row: little beside the logits, so torch operations are fast enough
    labels, row, at_label = per_row(delta.float(), target, weight, ignore_index, reduction)
    own, everywhere = (1 - smoothing) * at_label, smoothing / classes * row
    mass = own + everywhere * (classes if weight is None else weight.sum())
    vectors = [dense(v.reshape(rows)) for v in (labels, own, everywhere, mass)]
    launch(
        _cross_entropy_delta, triton.cdiv(rows, shape["ROWS"]), out, out, dense(logits), *vectors,
        logits if weight is None else dense(weight), rows, classes, positions, NORMALIZED=normalized,
        SMOOTHED=smoothing != 0, WEIGHTED=weight is not None, **shape,
    )  # fmt: skip
    return out


def losses(
    logits: Tensor, target: Tensor, weight: Tensor | None, ignore_index: int, smoothing: float, dtype: torch.dtype
) -> Tensor:
    if dtype == torch.float64 or not logits.is_contiguous() or not takes(logits, weight, others=(target,)):
        return NotImplemented
    out = torch.empty(target.shape, dtype=dtype, device=logits.device)
    _losses(out, None, logits, target, weight, ignore_index, smoothing)
    return out


def cross_entropy_output(
    input: Tensor, target: Tensor, weight: Tensor | None, ignore_index: int, reduction: str, smoothing: float
) -> tuple[Tensor, Tensor]:
    """Only with label smoothing, for which torch makes further passes over the logits."""
    if smoothing == 0 or not _fitting(input, target, weight) or not takes(input, weight, others=(target,)):
        return NotImplemented
    log_probs = torch.empty_like(input, memory_format=torch.contiguous_format)
    loss = torch.empty(target.shape, dtype=torch.float32, device=input.device)
    _losses(loss, log_probs, dense(input), target, weight, ignore_index, smoothing)
    if reduction != "none":
        loss = loss.sum()
    if reduction == "mean":
        loss = loss / counted(target, weight, ignore_index)
    return loss.to(input.dtype), log_probs


def _fitting(input: Tensor, target: Tensor, weight: Tensor | None) -> bool:
    """Whether torch accepts these. What it refuses is left to it, so that it raises its own error."""
    axis = 1 if input.dim() > 1 else 0
    classes = input.shape[axis : axis + 1]
    fits = target.shape == (*input.shape[:axis], *input.shape[axis + 1 :]) and target.dtype in (
        torch.int64,
        torch.uint8,
    )
    return fits and (weight is None or (weight.shape == classes and weight.dtype == input.dtype))


def _losses(
    loss: Tensor, log_probs: Tensor | None, logits: Tensor, target: Tensor, weight: Tensor | None, ignore_index: int,
    smoothing: float,
) -> None:  # fmt: skip
    classes = logits.shape[1 if logits.dim() > 1 else 0]
    positions, rows, shape = logits.shape[2:].numel(), logits.numel() // classes, block(classes)
    launch(
        _cross_entropy, triton.cdiv(rows, shape["ROWS"]), loss, loss, loss if log_probs is None else log_probs,
        dense(logits), dense(target), logits if weight is None else dense(weight), rows, classes, positions,
        ignore_index, float(smoothing), KEPT=log_probs is not None, SMOOTHED=smoothing != 0,
        WEIGHTED=weight is not None, **shape,
    )  # fmt: skip
