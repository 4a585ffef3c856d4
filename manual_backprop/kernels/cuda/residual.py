"""Residual connections and the normalization after them, in one pass each way, with a row in registers."""

from __future__ import annotations

from collections.abc import Sequence

import torch
import triton
import triton.language as tl
from torch import Tensor

from ...engine.rule import KERNELS
from ...rules import AddLayerNorm, AddRMSNorm, RMSNorm
from .launch import block, dense, launch, takes
from .norms import WIDEST, derivatives


@triton.jit
def _add_norm(
    out, summed, mean, invstd, input, other, weight, bias, rows, n, eps, ADDED: tl.constexpr, CENTERED: tl.constexpr,
    WEIGHTED: tl.constexpr, BIASED: tl.constexpr, ROWS: tl.constexpr, COLUMNS: tl.constexpr,
):  # fmt: skip
    """The norm of input, or if ADDED of input + other, rounded to the dtype of the sum. CENTERED: subtract the mean."""
    r = (tl.program_id(0).to(tl.int64) * ROWS + tl.arange(0, ROWS))[:, None]
    c = tl.arange(0, COLUMNS)[None, :]
    row = r < rows
    inside = row & (c < n)
    x = tl.load(input + r * n + c, mask=inside, other=0.0).to(tl.float32)
    if ADDED:
        s = (x + tl.load(other + r * n + c, mask=inside, other=0.0).to(tl.float32)).to(summed.dtype.element_ty)
        tl.store(summed + r * n + c, s, mask=inside)
        x = s.to(tl.float32)
    if CENTERED:
        middle = (tl.sum(x, 1) / n)[:, None]
        tl.store(mean + r, middle, mask=row)
        x = tl.where(inside, x - middle, 0.0)
    scale = 1.0 / tl.sqrt((tl.sum(x * x, 1) / n)[:, None] + eps)
    tl.store(invstd + r, scale, mask=row)
    y = x * scale
    if WEIGHTED:
        y *= tl.load(weight + c, mask=c < n, other=0.0).to(tl.float32)
    if BIASED:
        y += tl.load(bias + c, mask=c < n, other=0.0).to(tl.float32)
    tl.store(out + r * n + c, y, mask=inside)


def _fits(dtype: torch.dtype, size: torch.Size, shape: torch.Size, *vectors: Tensor | None) -> bool:
    """Whether rows of `shape` fit into registers, and the weights have that shape and dtype."""
    if not shape or size[-len(shape) :] != shape or shape.numel() > WIDEST:
        return False
    return all(v is None or (v.shape == shape and v.dtype is dtype) for v in vectors)


def _norm(
    input: Tensor, other: Tensor | None, shape: torch.Size, weight: Tensor | None, bias: Tensor | None, eps: float,
    centered: bool,
) -> tuple[Tensor, Tensor, Tensor, Tensor]:  # fmt: skip
    """Output, sum, mean and invstd (invrms). The sum is the input if nothing is added."""
    n = shape.numel()
    rows, tile = input.numel() // n, block(n, most=WIDEST)
    dtype = input.dtype if other is None else torch.promote_types(input.dtype, other.dtype)
    out = torch.empty_like(input, dtype=dtype, memory_format=torch.contiguous_format)
    summed = input if other is None else torch.empty_like(out)
    lines = *input.shape[: -len(shape)], *[1] * len(shape)
    mean, invstd = (torch.empty(lines, dtype=torch.float32, device=input.device) for _ in range(2))
    launch(
        _add_norm, triton.cdiv(rows, tile["ROWS"]), input, out, summed, mean, invstd, dense(input),
        input if other is None else dense(other), input if weight is None else dense(weight),
        input if bias is None else dense(bias), rows, n, eps, ADDED=other is not None, CENTERED=centered,
        WEIGHTED=weight is not None, BIASED=bias is not None, **tile,
    )  # fmt: skip
    return out, summed, mean, invstd


def layer_norm_outputs(
    input: Tensor, other: Tensor, normalized_shape: Sequence[int], weight: Tensor | None, bias: Tensor | None,
    eps: float,
) -> tuple[Tensor, Tensor, Tensor, Tensor]:  # fmt: skip
    shape = torch.Size(normalized_shape)
    dtype = torch.promote_types(input.dtype, other.dtype)
    if (
        input.shape == other.shape
        and takes(input, other, weight, bias)
        and _fits(dtype, input.shape, shape, weight, bias)
    ):
        return _norm(input, other, shape, weight, bias, eps, True)
    summed = input + other
    output, mean, invstd = KERNELS[AddLayerNorm.normalized](summed, normalized_shape, weight, bias, eps)
    return output, summed, mean, invstd


def layer_norm_normalized(
    summed: Tensor, normalized_shape: Sequence[int], weight: Tensor | None, bias: Tensor | None, eps: float
) -> tuple[Tensor, Tensor, Tensor]:
    shape = torch.Size(normalized_shape)
    if not takes(summed, weight, bias) or not _fits(summed.dtype, summed.shape, shape, weight, bias):
        return NotImplemented
    output, _, mean, invstd = _norm(summed, None, shape, weight, bias, eps, True)
    return output, mean, invstd


def layer_norm_derivatives(
    delta: Tensor, delta_sum: Tensor | None, summed: Tensor, weight: Tensor | None, mean: Tensor, invstd: Tensor,
    shape: torch.Size, needs: tuple[bool, bool, bool],
) -> tuple:  # fmt: skip
    given = delta, delta_sum, summed, weight, mean, invstd
    if not takes(*given) or shape.numel() > WIDEST or not (needs[0] or needs[1]):
        return NotImplemented
    return derivatives(delta, summed, weight, mean, invstd, shape, *needs, delta_sum)


def rms_norm_outputs(
    input: Tensor, other: Tensor, normalized_shape: Sequence[int], weight: Tensor | None, eps: float | None
) -> tuple[Tensor, Tensor, Tensor]:
    shape = torch.Size(normalized_shape)
    dtype = torch.promote_types(input.dtype, other.dtype)
    if input.shape == other.shape and takes(input, other, weight) and _fits(dtype, input.shape, shape, weight):
        least = RMSNorm.least(dtype) if eps is None else eps
        output, summed, _, invrms = _norm(input, other, shape, weight, None, least, False)
        return output, summed, invrms
    summed = input + other
    output, invrms = KERNELS[AddRMSNorm.normalized](summed, normalized_shape, weight, eps)
    return output, summed, invrms


def rms_norm_normalized(
    summed: Tensor, normalized_shape: Sequence[int], weight: Tensor | None, eps: float | None
) -> tuple[Tensor, Tensor]:
    shape = torch.Size(normalized_shape)
    if not takes(summed, weight) or not _fits(summed.dtype, summed.shape, shape, weight):
        return NotImplemented
    least = RMSNorm.least(summed.dtype) if eps is None else eps
    output, _, _, invrms = _norm(summed, None, shape, weight, None, least, False)
    return output, invrms


def rms_norm_derivatives(
    delta: Tensor, delta_sum: Tensor | None, summed: Tensor, weight: Tensor | None, invrms: Tensor, shape: torch.Size,
    needs: tuple[bool, bool],
) -> tuple:  # fmt: skip
    given = delta, delta_sum, summed, weight, invrms
    if not takes(*given) or shape.numel() > WIDEST:
        return NotImplemented
    return derivatives(delta, summed, weight, None, invrms, shape, *needs, False, delta_sum)[:2]
