"""Pooling of (N, C, H, W), channels first or last. Each lane computes one element of the result."""

from __future__ import annotations

import math

import torch
import triton
import triton.language as tl
from torch import Tensor

from ..memory import laid_as
from .launch import channels_last, launch, takes

Axes = tuple[int, ...]

LANES = 1024


@triton.jit
def _place(i, C, H, W, LAST: tl.constexpr):
    """The plane n C + c, row and column of element i in memory, of (N, C, H, W), or with LAST (N, H, W, C)."""
    if LAST:
        c, rest = i % C, i // C
        w, rest = rest % W, rest // W
        plane = rest // H * C + c
    else:
        w, rest = i % W, i // W
        plane = rest // H
    return plane, rest % H, w


@triton.jit
def _at(plane, h, w, C, H, W, LAST: tl.constexpr):
    """The offset in memory of the element (h, w) of the plane n C + c."""
    if LAST:
        offset = ((plane // C * H + h) * W + w) * C + plane % C
    else:
        offset = (plane * H + h) * W + w
    return offset


@triton.jit
def _max_pool_winners(
    out, winner, input, count, C, H, W, P, Q, stride_h, stride_w, pad_h, pad_w, dilation_h, dilation_w,
    KERNEL_H: tl.constexpr, KERNEL_W: tl.constexpr, LAST: tl.constexpr, LANES: tl.constexpr,
):  # fmt: skip
    """The largest element of each window and its position in the window.

    NaN counts as largest. Of several NaN the last wins, of several equal largest elements the first.
    """
    i = tl.program_id(0) * LANES + tl.arange(0, LANES)
    inside = i < count
    plane, p, q = _place(i, C, P, Q, LAST)
    top, left = p * stride_h - pad_h, q * stride_w - pad_w
    best = tl.full((LANES,), float("-inf"), tl.float32)
    won = tl.full((LANES,), -1, tl.int32)
    for a in range(KERNEL_H):
        for b in range(KERNEL_W):
            h, w = top + a * dilation_h, left + b * dilation_w
            there = inside & (h >= 0) & (h < H) & (w >= 0) & (w < W)
            x = tl.load(input + _at(plane, h, w, C, H, W, LAST), mask=there, other=float("-inf")).to(tl.float32)
            wins = there & ((x > best) | (x != x) | (won < 0))
            best = tl.where(wins, x, best)
            won = tl.where(wins, a * KERNEL_W + b, won)
    tl.store(out + i, best, mask=inside)
    tl.store(winner + i, won, mask=inside)


@triton.jit
def _max_pool_delta(
    out, delta, winner, count, C, H, W, P, Q, stride_h, stride_w, pad_h, pad_w, dilation_h, dilation_w,
    KERNEL_W: tl.constexpr, LAST: tl.constexpr, LANES: tl.constexpr,
):  # fmt: skip
    """Adds every delta to the position that won its window."""
    i = tl.program_id(0) * LANES + tl.arange(0, LANES)
    inside = i < count
    plane, p, q = _place(i, C, P, Q, LAST)
    place = tl.load(winner + i, mask=inside, other=0).to(tl.int32)
    h = p * stride_h - pad_h + place // KERNEL_W * dilation_h
    w = q * stride_w - pad_w + place % KERNEL_W * dilation_w
    there = inside & (h >= 0) & (h < H) & (w >= 0) & (w < W)
    d = tl.load(delta + i, mask=inside, other=0.0).to(tl.float32)
    tl.atomic_add(out + _at(plane, h, w, C, H, W, LAST), d, mask=there)


@triton.jit
def _avg_pool_delta(
    out, delta, count, C, H, W, P, Q, stride_h, stride_w, pad_h, pad_w, divisor, KERNEL_H: tl.constexpr,
    KERNEL_W: tl.constexpr, MOST_H: tl.constexpr, MOST_W: tl.constexpr, PADDED: tl.constexpr, OVERRIDDEN: tl.constexpr,
    LAST: tl.constexpr, LANES: tl.constexpr,
):  # fmt: skip
    """For each position the sum of delta / divisor over the windows that contain it, at most MOST along an axis."""
    i = tl.program_id(0) * LANES + tl.arange(0, LANES)
    inside = i < count
    plane, h, w = _place(i, C, H, W, LAST)
    last_p, last_q = (h + pad_h) // stride_h, (w + pad_w) // stride_w
    total = tl.zeros((LANES,), tl.float32)
    for a in range(MOST_H):
        for b in range(MOST_W):
            p, q = last_p - a, last_q - b
            top, left = p * stride_h - pad_h, q * stride_w - pad_w
            there = inside & (p >= 0) & (p < P) & (q >= 0) & (q < Q) & (top + KERNEL_H > h) & (left + KERNEL_W > w)
            d = tl.load(delta + _at(plane, p, q, C, P, Q, LAST), mask=there, other=0.0).to(tl.float32)
            if OVERRIDDEN:
                total += d
            else:
                if PADDED:
                    high = tl.minimum(top + KERNEL_H, H + pad_h) - top
                    wide = tl.minimum(left + KERNEL_W, W + pad_w) - left
                else:
                    high = tl.minimum(top + KERNEL_H, H) - tl.maximum(top, 0)
                    wide = tl.minimum(left + KERNEL_W, W) - tl.maximum(left, 0)
                total += d / tl.where(there, high * wide, 1).to(tl.float32)
    if OVERRIDDEN:
        total = total / divisor
    tl.store(out + i, total, mask=inside)


def max_pool_winners(
    input: Tensor, kernel_size: Axes, stride: Axes, padding: Axes, dilation: Axes, ceil_mode: bool
) -> tuple[Tensor, Tensor]:
    if (
        not _planes(input)
        or len(stride) != 2
        or math.prod(kernel_size) > 2**8
        or any(p and d > n for n, p, d in zip(input.shape[2:], padding, dilation, strict=True))  # empty windows
    ):
        return NotImplemented
    planned = input.new_empty(input.shape, device="meta")  # for the sizes, and for torch's errors
    shape = torch.max_pool2d(planned, kernel_size, stride, padding, dilation, ceil_mode).shape
    last = bool(channels_last(input))
    memory_format = torch.channels_last if last else torch.contiguous_format
    out = torch.empty(shape, dtype=input.dtype, device=input.device, memory_format=memory_format)
    winner = torch.empty_like(out, dtype=torch.uint8)
    launch(
        _max_pool_winners, triton.cdiv(out.numel(), LANES), input, out, winner, input.detach(), out.numel(),
        *input.shape[1:], *shape[2:], *stride, *padding, *dilation, KERNEL_H=kernel_size[0], KERNEL_W=kernel_size[1],
        LAST=last, LANES=LANES,
    )  # fmt: skip
    return out, winner


def max_pool_delta_input(
    delta: Tensor, winner: Tensor, input_shape: Axes, kernel_size: Axes, stride: Axes, padding: Axes, dilation: Axes
) -> Tensor:
    if (
        len(stride) != 2
        or not _planes(winner, delta)
        or winner.dtype != torch.uint8
        or math.prod(input_shape) >= 2**31
        or torch.are_deterministic_algorithms_enabled()  # overlapping windows are added in any order
    ):
        return NotImplemented
    last = bool(channels_last(winner))
    delta = laid_as(delta.detach(), winner)
    memory_format = torch.channels_last if last else torch.contiguous_format
    out = torch.empty(input_shape, dtype=torch.float32, device=delta.device, memory_format=memory_format).zero_()
    launch(
        _max_pool_delta, triton.cdiv(delta.numel(), LANES), out, out, delta, winner, delta.numel(), *input_shape[1:],
        *delta.shape[2:], *stride, *padding, *dilation, KERNEL_W=kernel_size[1], LAST=last, LANES=LANES,
    )  # fmt: skip
    return out.to(delta.dtype)


def avg_pool_delta_input(
    delta: Tensor, input_shape: Axes, kernel_size: Axes, stride: Axes, padding: Axes, count_include_pad: bool,
    divisor_override: int | None,
) -> Tensor:  # fmt: skip
    if len(stride) != 2 or not _planes(delta) or math.prod(input_shape) >= 2**31:
        return NotImplemented
    last = bool(channels_last(delta))
    memory_format = torch.channels_last if last else torch.contiguous_format
    out = torch.empty(input_shape, dtype=delta.dtype, device=delta.device, memory_format=memory_format)
    most = [triton.cdiv(k, s) for k, s in zip(kernel_size, stride, strict=True)]
    launch(
        _avg_pool_delta, triton.cdiv(out.numel(), LANES), out, out, delta.detach(), out.numel(), *input_shape[1:],
        *delta.shape[2:], *stride, *padding, float(divisor_override or 1), KERNEL_H=kernel_size[0],
        KERNEL_W=kernel_size[1], MOST_H=most[0], MOST_W=most[1], PADDED=count_include_pad,
        OVERRIDDEN=divisor_override is not None, LAST=last, LANES=LANES,
    )  # fmt: skip
    return out


def _planes(tensor: Tensor, *others: Tensor) -> bool:
    """Whether a tensor is (N, C, H, W), dense, channels first or last, and small enough for 32-bit offsets."""
    floats = [t for t in (tensor, *others) if t.dtype != torch.uint8]
    return (
        tensor.dim() == 4
        and takes(*floats, others=(tensor, *others))
        and tensor.numel() < 2**31
        and channels_last(tensor) is not None
    )
