"""LayerNorm and RMSNorm: each row is in registers for all of its steps."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
import triton
import triton.language as tl
from torch import Tensor

from ...rules import RMSNorm
from .launch import block, dense, launch, parallel, takes

WIDEST = 2**14
"""Most elements of a row, which one program has in registers. Longer rows are left to the formulas."""
PARTS = 2**21
"""Most elements in the partial sums of grad_weight, which have a row for each program."""


@triton.jit
def _norm_derivatives(
    out, dots, sums, delta, besides, input, weight, mean, invstd, rows, n, each, CENTERED: tl.constexpr,
    WEIGHTED: tl.constexpr, MOVED: tl.constexpr, BESIDES: tl.constexpr, SUMMED: tl.constexpr, ROWS: tl.constexpr,
    COLUMNS: tl.constexpr,
):  # fmt: skip
    """MOVED: delta_input, with `besides` added if BESIDES. SUMMED: the partial sums of grad_weight (dots) and grad_bias
    (sums), over `each` rows."""
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
            result *= scale
            if BESIDES:
                result += tl.load(besides + r * n + c, mask=inside, other=0.0).to(tl.float32)
            tl.store(out + r * n + c, result, mask=inside)
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
    """x invrms w if MOVED, else invrms."""
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


def layer_norm_derivatives(
    delta: Tensor, input: Tensor, weight: Tensor | None, mean: Tensor, invstd: Tensor, shape: tuple[int, ...],
    needs: tuple[bool, bool, bool],
) -> tuple:  # fmt: skip
    if not takes(delta, input, weight, mean, invstd) or math.prod(shape) > WIDEST or not (needs[0] or needs[1]):
        return NotImplemented
    return derivatives(delta, input, weight, mean, invstd, shape, *needs)


def rms_norm_derivatives(
    delta: Tensor, input: Tensor, weight: Tensor | None, shape: tuple[int, ...], eps: float | None,
    needs: tuple[bool, bool],
) -> tuple:  # fmt: skip
    if not takes(delta, input, weight) or math.prod(shape) > WIDEST:
        return NotImplemented
    invrms = rms_norm_invrms(input, shape, eps)
    return derivatives(delta, input, weight, None, invrms, shape, *needs, False)[:2]


def derivatives(
    delta: Tensor, input: Tensor, weight: Tensor | None, mean: Tensor | None, invstd: Tensor, shape: tuple[int, ...],
    needs_input: bool, needs_weight: bool, needs_bias: bool, besides: Tensor | None = None,
) -> tuple:  # fmt: skip
    """delta_input, to which `besides` is added, grad_weight and grad_bias."""
    n = math.prod(shape)
    rows, tile = input.numel() // n, block(n, most=WIDEST)
    every = triton.cdiv(rows, tile["ROWS"])
    programs = min(every, parallel(input), max(1, PARTS // n))
    each = triton.cdiv(every, programs) * tile["ROWS"]
    summed = needs_weight or needs_bias
    programs = triton.cdiv(rows, each)
    out = torch.empty_like(input, dtype=delta.dtype, memory_format=torch.contiguous_format) if needs_input else input
    dots, sums = torch.empty(2, programs if summed else 0, n, dtype=torch.float32, device=input.device)
    launch(
        _norm_derivatives, programs, input, out, dots, sums, dense(delta),
        input if besides is None else dense(besides), dense(input), input if weight is None else dense(weight),
        invstd if mean is None else dense(mean), dense(invstd), rows, n, each, CENTERED=mean is not None,
        WEIGHTED=weight is not None, MOVED=needs_input, BESIDES=besides is not None, SUMMED=summed, **tile,
    )  # fmt: skip
    return (
        out if needs_input else None,
        dots.sum(0).reshape(shape) if needs_weight else None,
        sums.sum(0).reshape(shape) if needs_bias else None,
    )


def rms_norm_normalized(
    input: Tensor, normalized_shape: Sequence[int], weight: Tensor | None, eps: float | None
) -> Tensor:
    shape = tuple(normalized_shape)
    refused = not shape or input.shape[-len(shape) :] != shape
    if weight is not None:
        refused = refused or weight.shape != shape or weight.dtype != input.dtype
    if refused or not takes(input, weight):
        return NotImplemented
    out = torch.empty_like(input, memory_format=torch.contiguous_format)
    _rms(out, None, input, weight, math.prod(shape), eps)
    return out


def rms_norm_invrms(input: Tensor, shape: tuple[int, ...], eps: float | None) -> Tensor:
    if not takes(input):
        return NotImplemented
    invrms = input.new_empty((*input.shape[: -len(shape)], *[1] * len(shape)), dtype=torch.float32)
    _rms(None, invrms, input, None, math.prod(shape), eps)
    return invrms


def _rms(
    out: Tensor | None, invrms: Tensor | None, input: Tensor, weight: Tensor | None, n: int, eps: float | None
) -> None:
    rows, tile = input.numel() // n, block(n)
    eps = RMSNorm.least(input.dtype) if eps is None else eps
    launch(
        _rms_norm, triton.cdiv(rows, tile["ROWS"]), input, input if out is None else out,
        input if invrms is None else invrms, dense(input), input if weight is None else dense(weight), rows, n, eps,
        WEIGHTED=weight is not None, MOVED=out is not None, **tile,
    )  # fmt: skip
