"""Normalization: of rows (LayerNorm, RMSNorm), and of channels by two passes (GroupNorm, BatchNorm): sums, then
a delta + b x + c with numbers of each channel, which are few and so made by torch."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import torch
import triton
import triton.language as tl
from torch import Tensor

from ...rules import BatchNorm, GroupNorm, LayerNorm, RMSNorm
from ...rules._rule import widen
from .launch import block, channels_last, dense, laid_as, launch, parallel, takes

WIDEST = 2**14
"""Numbers of a row that one program has in registers; longer ones go to the formulas."""
PARTS = 2**21
"""Most numbers in the partial sums of grad_weight, a row for each program."""


@triton.jit
def _norm_derivatives(
    out, dots, sums, delta, input, weight, mean, invstd, rows, n, each, CENTERED: tl.constexpr, WEIGHTED: tl.constexpr,
    MOVED: tl.constexpr, SUMMED: tl.constexpr, ROWS: tl.constexpr, COLUMNS: tl.constexpr,
):  # fmt: skip
    """delta_input where MOVED, and where SUMMED what `each` rows add to grad_weight (dots) and grad_bias (sums)."""
    program = tl.program_id(0).to(tl.int64)
    c = tl.arange(0, COLUMNS)[None, :]
    dot = tl.zeros((1, COLUMNS), tl.float32)
    total = tl.zeros((1, COLUMNS), tl.float32)
    for start in range(0, each, ROWS):
        r = (program * each + start + tl.arange(0, ROWS))[:, None]
        row = r < rows
        inside = row & (c < n)
        d = tl.load(delta + r * n + c, mask=inside, other=0.0).to(tl.float32)
        x = tl.load(input + r * n + c, mask=inside, other=0.0).to(tl.float32)
        scale = tl.load(invstd + r, mask=row, other=0.0).to(tl.float32)
        if CENTERED:
            x -= tl.load(mean + r, mask=row, other=0.0).to(tl.float32)
        x *= scale
        if MOVED:
            g = d
            if WEIGHTED:
                g = d * tl.load(weight + c, mask=c < n, other=0.0).to(tl.float32)
            result = g - x * (tl.sum(g * x, 1) / n)[:, None]
            if CENTERED:
                result -= (tl.sum(g, 1) / n)[:, None]
            tl.store(out + r * n + c, result * scale, mask=inside)
        if SUMMED:
            dot += tl.sum(d * x, 0)[None, :]
            total += tl.sum(d, 0)[None, :]
    if SUMMED:
        tl.store(dots + program * n + c, dot, mask=c < n)
        if CENTERED:
            tl.store(sums + program * n + c, total, mask=c < n)


@triton.jit
def _rms_norm(
    out, invrms, input, weight, rows, n, eps, WEIGHTED: tl.constexpr, MOVED: tl.constexpr, ROWS: tl.constexpr,
    COLUMNS: tl.constexpr,
):  # fmt: skip
    """x invrms w where MOVED, else invrms."""
    r = (tl.program_id(0).to(tl.int64) * ROWS + tl.arange(0, ROWS))[:, None]
    square = tl.zeros((ROWS, 1), tl.float32)
    for start in range(0, n, COLUMNS):
        c = (start + tl.arange(0, COLUMNS))[None, :]
        x = tl.load(input + r * n + c, mask=(r < rows) & (c < n), other=0.0).to(tl.float32)
        square += tl.sum(x * x, 1)[:, None]
    scale = 1.0 / tl.sqrt(square / n + eps)
    if not MOVED:
        tl.store(invrms + r, scale, mask=r < rows)
    else:
        for start in range(0, n, COLUMNS):
            c = (start + tl.arange(0, COLUMNS))[None, :]
            inside = (r < rows) & (c < n)
            y = tl.load(input + r * n + c, mask=inside, other=0.0).to(tl.float32) * scale
            if WEIGHTED:
                y *= tl.load(weight + c, mask=c < n, other=0.0).to(tl.float32)
            tl.store(out + r * n + c, y, mask=inside)


@triton.jit
def _row_sums(
    sums, dots, delta, input, mean, invstd, rows, n, channels, GROUPED: tl.constexpr, ROWS: tl.constexpr,
    COLUMNS: tl.constexpr,
):  # fmt: skip
    """Of each row (n, c) of positions: the sum of delta and of delta x̂. GROUPED: `channels` rows share a mean, else
    row r has that of its channel, r % channels."""
    r = (tl.program_id(0).to(tl.int64) * ROWS + tl.arange(0, ROWS))[:, None]
    row = r < rows
    k = r // channels if GROUPED else r % channels
    middle = tl.load(mean + k, mask=row, other=0.0).to(tl.float32)
    total = tl.zeros((ROWS, 1), tl.float32)
    dot = tl.zeros((ROWS, 1), tl.float32)
    for start in range(0, n, COLUMNS):
        c = (start + tl.arange(0, COLUMNS))[None, :]
        inside = row & (c < n)
        d = tl.load(delta + r * n + c, mask=inside, other=0.0).to(tl.float32)
        x = tl.load(input + r * n + c, mask=inside, other=0.0).to(tl.float32)
        total += tl.sum(d, 1)[:, None]
        dot += tl.sum(d * (x - middle), 1)[:, None]
    tl.store(sums + r, total, mask=row)
    tl.store(dots + r, dot * tl.load(invstd + k, mask=row, other=0.0).to(tl.float32), mask=row)


@triton.jit
def _column_sums(
    sums, dots, delta, input, mean, invstd, rows, n, each, ROWS: tl.constexpr, COLUMNS: tl.constexpr
):  # fmt: skip
    """Of each column (a channel of channels_last), over `each` rows: the sum of delta and of delta x̂."""
    blocks = tl.cdiv(n, COLUMNS)
    part = (tl.program_id(0) // blocks).to(tl.int64)
    c = ((tl.program_id(0) % blocks) * COLUMNS + tl.arange(0, COLUMNS))[None, :]
    middle = tl.load(mean + c, mask=c < n, other=0.0).to(tl.float32)
    total = tl.zeros((1, COLUMNS), tl.float32)
    dot = tl.zeros((1, COLUMNS), tl.float32)
    for start in range(0, each, ROWS):
        r = (part * each + start + tl.arange(0, ROWS))[:, None]
        inside = (r < rows) & (c < n)
        d = tl.load(delta + r * n + c, mask=inside, other=0.0).to(tl.float32)
        x = tl.load(input + r * n + c, mask=inside, other=0.0).to(tl.float32)
        total += tl.sum(d, 0)[None, :]
        dot += tl.sum(d * (x - middle), 0)[None, :]
    tl.store(sums + part * n + c, total, mask=c < n)
    scale = tl.load(invstd + c, mask=c < n, other=0.0).to(tl.float32)
    tl.store(dots + part * n + c, dot * scale, mask=c < n)


@triton.jit
def _affine(
    out, delta, input, a, b, c, rows, n, channels, LAST: tl.constexpr, ROWS: tl.constexpr, COLUMNS: tl.constexpr
):  # fmt: skip
    """a delta + b x + c: numbers of each column, or with LAST False of each row r % channels."""
    blocks = tl.cdiv(n, COLUMNS)
    r = ((tl.program_id(0) // blocks).to(tl.int64) * ROWS + tl.arange(0, ROWS))[:, None]
    j = ((tl.program_id(0) % blocks) * COLUMNS + tl.arange(0, COLUMNS))[None, :]
    inside = (r < rows) & (j < n)
    if LAST:
        k = j
        known = j < n
    else:
        k = r % channels
        known = r < rows
    d = tl.load(delta + r * n + j, mask=inside, other=0.0).to(tl.float32)
    x = tl.load(input + r * n + j, mask=inside, other=0.0).to(tl.float32)
    slope = tl.load(b + k, mask=known, other=0.0)
    shift = tl.load(c + k, mask=known, other=0.0)
    tl.store(out + r * n + j, tl.load(a + k, mask=known, other=0.0) * d + (slope * x + shift), mask=inside)


def layer_norm_derivatives(
    delta: Tensor, input: Tensor, weight: Tensor | None, mean: Tensor, invstd: Tensor, shape: torch.Size,
    needs: tuple[bool, bool, bool],
) -> tuple:  # fmt: skip
    """`LayerNorm.derivatives`."""
    if not takes(delta, input, weight, mean, invstd) or shape.numel() > WIDEST or not (needs[0] or needs[1]):
        return LayerNorm.derivatives(delta, input, weight, mean, invstd, shape, needs)
    return _rows(delta, input, weight, mean, invstd, shape, *needs)


def rms_norm_derivatives(
    delta: Tensor, input: Tensor, weight: Tensor | None, invrms: Tensor, shape: torch.Size, needs: tuple[bool, bool]
) -> tuple:
    """`RMSNorm.derivatives`."""
    if not takes(delta, input, weight, invrms) or shape.numel() > WIDEST:
        return RMSNorm.derivatives(delta, input, weight, invrms, shape, needs)
    return _rows(delta, input, weight, None, invrms, shape, *needs, False)[:2]


def _rows(
    delta: Tensor, input: Tensor, weight: Tensor | None, mean: Tensor | None, invstd: Tensor, shape: torch.Size,
    needs_input: bool, needs_weight: bool, needs_bias: bool,
) -> tuple:  # fmt: skip
    n = shape.numel()
    rows, tile = input.numel() // n, block(n, most=WIDEST)
    every = triton.cdiv(rows, tile["ROWS"])
    programs = min(every, parallel(input), max(1, PARTS // n))
    each = triton.cdiv(every, programs) * tile["ROWS"]
    summed = needs_weight or needs_bias
    programs = triton.cdiv(rows, each)
    out = torch.empty_like(input, dtype=delta.dtype, memory_format=torch.contiguous_format) if needs_input else input
    dots, sums = torch.empty(2, programs if summed else 0, n, dtype=torch.float32, device=input.device)
    launch(
        _norm_derivatives, programs, input, out, dots, sums, dense(delta), dense(input),
        input if weight is None else dense(weight), invstd if mean is None else dense(mean), dense(invstd), rows, n,
        each, CENTERED=mean is not None, WEIGHTED=weight is not None, MOVED=needs_input, SUMMED=summed, **tile,
    )  # fmt: skip
    return (
        out if needs_input else None,
        dots.sum(0).reshape(shape) if needs_weight else None,
        sums.sum(0).reshape(shape) if needs_bias else None,
    )


def rms_norm_normalized(
    input: Tensor, normalized_shape: Sequence[int], weight: Tensor | None, eps: float | None
) -> Tensor:
    """`RMSNorm.normalized`."""
    shape = tuple(normalized_shape)
    refused = not shape or input.shape[-len(shape) :] != shape
    if weight is not None:
        refused = refused or weight.shape != shape or weight.dtype != input.dtype
    if refused or not takes(input, weight):
        return RMSNorm.normalized(input, shape, weight, eps)
    out = torch.empty_like(input, memory_format=torch.contiguous_format)
    _rms(out, None, input, weight, math.prod(shape), eps)
    return out


def rms_norm_invrms(input: Tensor, shape: torch.Size, eps: float | None) -> Tensor:
    """`RMSNorm.invrms`."""
    if not takes(input):
        return RMSNorm.invrms(input, shape, eps)
    invrms = input.new_empty((*input.shape[: -len(shape)], *[1] * len(shape)), dtype=torch.float32)
    _rms(None, invrms, input, None, shape.numel(), eps)
    return invrms


def _rms(
    out: Tensor | None, invrms: Tensor | None, input: Tensor, weight: Tensor | None, n: int, eps: float | None
) -> None:
    rows, tile = input.numel() // n, block(n)
    eps = torch.finfo(input.dtype).eps if eps is None else eps
    launch(
        _rms_norm, triton.cdiv(rows, tile["ROWS"]), input, input if out is None else out,
        input if invrms is None else invrms, dense(input), input if weight is None else dense(weight), rows, n, eps,
        WEIGHTED=weight is not None, MOVED=out is not None, **tile,
    )  # fmt: skip


def group_norm_derivatives(
    delta: Tensor, input: Tensor, weight: Tensor | None, mean: Tensor, invstd: Tensor,
    needs: tuple[bool, bool, bool],
) -> tuple:  # fmt: skip
    """`GroupNorm.derivatives`."""
    if not takes(delta, input, weight, mean, invstd) or not input.is_contiguous():
        return GroupNorm.derivatives(delta, input, weight, mean, invstd, needs)
    batch, channels = input.shape[:2]
    groups = mean.shape[1]
    each, positions = channels // groups, input.shape[2:].numel()
    delta, input, mean, invstd = map(dense, (delta, input, mean, invstd))
    sums, dots = _sums_of_rows(delta, input, mean, invstd, batch * channels, positions, each, grouped=True)
    delta_input = None
    if needs[0]:
        w = (sums.new_ones(channels) if weight is None else weight.detach().float()).reshape(groups, each)
        count = each * positions
        along_one, along_x = ((w * v.reshape(batch, groups, each)).sum(2) for v in (sums, dots))
        b = -invstd.square() * along_x / count
        c = -invstd * along_one / count - b * mean
        a = invstd.unsqueeze(2) * w
        b, c = (v.unsqueeze(2).expand(batch, groups, each).contiguous() for v in (b, c))
        delta_input = _moved(delta, input, a.contiguous(), b, c, batch * channels, positions, batch * channels, False)
    return (
        delta_input,
        dots.reshape(batch, channels).sum(0) if needs[1] else None,
        sums.reshape(batch, channels).sum(0) if needs[2] else None,
    )


def batch_norm_derivatives(
    delta: Tensor, input: Tensor, weight: Tensor | None, mean: Tensor, invstd: Tensor
) -> tuple[Tensor, Tensor, Tensor]:
    """`BatchNorm.derivatives`."""
    sums = _sums_of_channels(delta, input, mean, invstd, weight)
    if sums is None:
        return BatchNorm.derivatives(*widen(delta, input, weight, mean, invstd))
    grad_bias, grad_weight, delta, last = sums
    count, channels = input.numel() // input.shape[1], input.shape[1]
    a = (invstd if weight is None else weight.detach() * invstd).float()
    b = -a * invstd * grad_weight / count
    c = -a * grad_bias / count - b * mean
    rows, n = (count, channels) if last else (input.numel() // (count // len(input)), count // len(input))
    delta_input = _moved(delta, input.detach(), a, b, c, rows, n, channels, last)
    return delta_input, grad_weight.to(mean.dtype), grad_bias.to(mean.dtype)


def batch_norm_grad_weight(delta: Tensor, input: Tensor, mean: Tensor, invstd: Tensor) -> Tensor:
    """`BatchNorm.grad_weight`."""
    sums = _sums_of_channels(delta, input, mean, invstd, None)
    return BatchNorm.grad_weight(delta, input, mean, invstd) if sums is None else sums[1].to(mean.dtype)


def _sums_of_channels(
    delta: Tensor, input: Tensor, mean: Tensor, invstd: Tensor, weight: Tensor | None
) -> tuple[Tensor, Tensor, Tensor, bool] | None:
    """grad_bias, grad_weight, delta laid as the input, and whether channels lie last; None for what is not taken."""
    if input.dim() < 2 or not takes(delta, input, weight, mean, invstd) or (last := channels_last(input)) is None:
        return None
    channels = input.shape[1]
    delta, count = laid_as(delta.detach(), input), input.numel() // channels
    vectors = dense(mean), dense(invstd)
    if not last:
        positions = input.shape[2:].numel()
        parts: Any = _sums_of_rows(delta, input.detach(), *vectors, len(input) * channels, positions, channels, False)
        sums, dots = (v.reshape(-1, channels).sum(0) for v in parts)
        return sums, dots, delta, last
    tile = block(channels, most=64)
    blocks, steps = triton.cdiv(channels, tile["COLUMNS"]), triton.cdiv(count, tile["ROWS"])
    each = triton.cdiv(steps, max(1, min(steps, 4 * parallel(input) // blocks))) * tile["ROWS"]
    programs = triton.cdiv(count, each)
    sums, dots = torch.empty(2, programs, channels, dtype=torch.float32, device=input.device)
    launch(
        _column_sums, programs * blocks, input, sums, dots, delta, input.detach(), *vectors, count, channels, each,
        **tile,
    )  # fmt: skip
    return sums.sum(0), dots.sum(0), delta, last


def _sums_of_rows(
    delta: Tensor, input: Tensor, mean: Tensor, invstd: Tensor, rows: int, n: int, channels: int, grouped: bool
) -> tuple[Tensor, Tensor]:
    sums, dots = torch.empty(2, rows, dtype=torch.float32, device=input.device)
    tile = block(n, most=1024)
    launch(
        _row_sums, triton.cdiv(rows, tile["ROWS"]), input, sums, dots, delta, input, mean, invstd, rows, n, channels,
        GROUPED=grouped, **tile,
    )  # fmt: skip
    return sums, dots


def _moved(
    delta: Tensor, input: Tensor, a: Tensor, b: Tensor, c: Tensor, rows: int, n: int, channels: int, last: bool
) -> Tensor:
    out, tile = torch.empty_like(input, dtype=delta.dtype), block(n, most=1024)
    programs = triton.cdiv(rows, tile["ROWS"]) * triton.cdiv(n, tile["COLUMNS"])
    launch(_affine, programs, input, out, delta, input, a, b, c, rows, n, channels, LAST=last, **tile)
    return out


KERNELS = {
    LayerNorm.derivatives: layer_norm_derivatives,
    RMSNorm.normalized: rms_norm_normalized,
    RMSNorm.invrms: rms_norm_invrms,
    RMSNorm.derivatives: rms_norm_derivatives,
    GroupNorm.derivatives: group_norm_derivatives,
    BatchNorm.derivatives: batch_norm_derivatives,
    BatchNorm.grad_weight: batch_norm_grad_weight,
}
