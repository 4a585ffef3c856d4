"""GroupNorm and BatchNorm in two passes: sums for each channel, then a delta + b x + c.

a, b and c have one element for each channel, so torch operations are fast enough to compute them.
"""

from __future__ import annotations

from typing import Any

import torch
import triton
import triton.language as tl
from torch import Tensor

from ..memory import laid_as
from .launch import block, channels_last, dense, launch, parallel, takes


@triton.jit
def _row_sums(
    sums, dots, delta, input, mean, invstd, rows, n, channels, GROUPED: tl.constexpr, ROWS: tl.constexpr,
    COLUMNS: tl.constexpr,
):  # fmt: skip
    """For each row (n, c) of positions: the sums of delta and of delta x̂. GROUPED: `channels` rows share a mean; else
    row r has the mean of its channel, r % channels."""
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
    """For each column (channels last: a channel), over `each` rows: the sums of delta and of delta x̂."""
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
    """a delta + b x + c. With LAST a, b, c have an element for each column; else row r takes that of r % channels."""
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


def group_norm_derivatives(
    delta: Tensor, input: Tensor, weight: Tensor | None, mean: Tensor, invstd: Tensor,
    needs: tuple[bool, bool, bool],
) -> tuple:  # fmt: skip
    if not takes(delta, input, weight, mean, invstd) or not input.is_contiguous():
        return NotImplemented
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
    delta: Tensor, input: Tensor, weight: Tensor | None, mean: Tensor, invstd: Tensor, needs: tuple[bool, bool, bool]
) -> tuple:
    sums = _sums_of_channels(delta, input, mean, invstd, weight) if needs[0] else None
    if sums is None:
        return NotImplemented
    grad_bias, grad_weight, delta, last = sums
    count, channels = input.numel() // input.shape[1], input.shape[1]
    a = (invstd if weight is None else weight.detach() * invstd).float()
    b = -a * invstd * grad_weight / count
    c = -a * grad_bias / count - b * mean
    rows, n = (count, channels) if last else (input.numel() // (count // len(input)), count // len(input))
    delta_input = _moved(delta, input.detach(), a, b, c, rows, n, channels, last)
    return (
        delta_input,
        grad_weight.to(mean.dtype) if needs[1] else None,
        grad_bias.to(mean.dtype) if needs[2] else None,
    )


def batch_norm_grad_weight(delta: Tensor, input: Tensor, mean: Tensor, invstd: Tensor) -> Tensor:
    sums = _sums_of_channels(delta, input, mean, invstd, None)
    return NotImplemented if sums is None else sums[1].to(mean.dtype)


def _sums_of_channels(
    delta: Tensor, input: Tensor, mean: Tensor, invstd: Tensor, weight: Tensor | None
) -> tuple[Tensor, Tensor, Tensor, bool] | None:
    """grad_bias, grad_weight, delta with the strides of input, and whether channels are last; None if not served."""
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
