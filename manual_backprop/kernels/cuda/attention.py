"""Attention without the scores of all pairs of query and key in memory; tensors may have any strides."""

from __future__ import annotations

import math

import torch
import triton
import triton.language as tl
from torch import Tensor

from ...rules.attention import Wanted
from . import flash
from .launch import INTERPRETED, block, dense, launch, takes

WIDEST = 256
"""Most features of a query or value, which have to fit into one program."""


def attended(
    query: Tensor, key: Tensor, value: Tensor, mask: Tensor | None, kept: Tensor | None, p: float, is_causal: bool,
    scale: float,
) -> tuple[Tensor, Tensor]:  # fmt: skip
    if not _serves((query, key, value), mask, kept):
        return NotImplemented
    pairs = _Pairs(query, key, value, mask, kept, p, is_causal, scale)
    output = query.new_empty(*query.shape[:-1], value.shape[-1])
    lse = query.new_empty(query.shape[:-1], dtype=torch.float32)
    launch(flash.attended, pairs.programs(pairs.queries), query, output, lse, *pairs.arguments(), **pairs.options)
    return output, lse


def deltas(
    delta: Tensor, query: Tensor, key: Tensor, value: Tensor | None, mask: Tensor | None, kept: Tensor | None,
    output: Tensor | None, lse: Tensor, p: float, is_causal: bool, scale: float, wanted: Wanted,
) -> tuple[Tensor | None, ...]:  # fmt: skip
    """The deltas, except that of a mask, which is left to the kernel made of torch operations (../attention.py)."""
    if wanted[3] or not _serves((delta, query, key, *(() if value is None else (value, output))), mask, kept):
        return NotImplemented
    delta, lse = dense(delta), dense(lse)
    dots = lse
    width_v = delta.shape[-1]
    if value is not None and output is not None:
        dots, tile = torch.empty_like(lse), block(width_v)
        rows = triton.cdiv(lse.numel(), tile["ROWS"])
        launch(flash.row_dots, rows, delta, dots, delta, dense(output), lse.numel(), width_v, **tile)
    else:
        value = delta[..., :1, :].expand(*key.shape[:-1], width_v)  # not read: delta_value needs only P
    pairs = _Pairs(query, key, value, mask, kept, p, is_causal, scale)
    read = *pairs.tensors, lse, dots, *pairs.numbers
    delta_query = delta_key = delta_value = None
    if wanted[0]:
        delta_query = torch.empty_like(query, memory_format=torch.contiguous_format)
        launch(flash.delta_query, pairs.programs(pairs.queries), delta, delta_query, delta, *read, **pairs.options)
    if wanted[1] or wanted[2]:
        delta_key = torch.empty_like(key, memory_format=torch.contiguous_format) if wanted[1] else None
        delta_value = torch.empty((*key.shape[:-1], width_v), dtype=delta.dtype, device=delta.device)
        launch(
            flash.delta_key_value, pairs.programs(pairs.keys, "KEYS"), delta, delta if delta_key is None else delta_key,
            delta_value, delta, *read, **pairs.options, FOR_KEY=wanted[1], FOR_VALUE=wanted[2],
        )  # fmt: skip
    return delta_query, delta_key, delta_value if wanted[2] else None, None


class _Pairs:
    """The arguments that all three kernels share."""

    def __init__(
        self, query: Tensor, key: Tensor, value: Tensor, mask: Tensor | None, kept: Tensor | None, p: float,
        is_causal: bool, scale: float,
    ) -> None:  # fmt: skip
        *batch, self.queries, width = query.shape
        self.keys, width_v = value.shape[-2:]
        heads = batch[-1] if batch else 1
        self.count = math.prod(batch)
        q, k, v = (_four(t) for t in (query, key, value))
        masks: tuple[int, ...] = (0, 0, 0, 0)
        kind = 0
        if mask is not None:
            kind = 1 if mask.dtype == torch.bool else 2
            mask = mask.detach().expand(*batch, self.queries, self.keys)
            mask = mask.reshape(self.count // heads, heads, self.queries, self.keys)
            masks = mask.stride()
            mask = mask.view(torch.uint8) if kind == 1 else mask
        kept = None if kept is None else kept.contiguous().view(torch.uint8)
        self.tensors = q, k, v, q if mask is None else mask, q if kept is None else kept
        strides = (*q.stride()[:3], *k.stride()[:3], *v.stride()[:3], *masks)
        factor = 1 / (1 - p) if p < 1 else 0.0
        self.numbers = scale, factor, heads, self.queries, self.keys, width, width_v, *strides
        wide = query.dtype == torch.float32
        size = 32 if wide or max(width, width_v) > 128 else 64
        self.options = {
            "CAUSAL": is_causal, "MASK": kind, "DROPS": kept is not None,
            "PRECISION": "tf32" if wide and torch.backends.cuda.matmul.fp32_precision == "tf32" else "ieee",
            "TYPE": _TYPES[query.dtype], "WIDTH": _padded(width), "WIDTH_V": _padded(width_v),
            "QUERIES": size, "KEYS": size,
            "num_warps": 4 if max(width, width_v) <= 64 else 8, "num_stages": 1 if wide else 2,
        }  # fmt: skip

    def arguments(self) -> tuple:
        return *self.tensors, *self.numbers

    def programs(self, rows: int, along: str = "QUERIES") -> int:
        return self.count * triton.cdiv(rows, self.options[along])


_TYPES = {
    torch.float32: tl.float32,
    torch.float16: tl.float16,
    torch.bfloat16: tl.float32 if INTERPRETED else tl.bfloat16,  # Triton's interpreter multiplies bfloat16 as integers
}


def _padded(width: int) -> int:
    return max(16, triton.next_power_of_2(width))


def _four(tensor: Tensor) -> Tensor:
    """(*, rows, features) as (B, H, rows, features), with features next to each other in memory."""
    *batch, rows, features = tensor.shape
    heads = batch[-1] if batch else 1
    tensor = tensor.detach().reshape(math.prod(batch) // heads, heads, rows, features)
    return tensor if features == 1 or tensor.stride(-1) == 1 else tensor.contiguous()


def _serves(tensors: tuple, mask: Tensor | None, kept: Tensor | None) -> bool:
    if not takes(*tensors, others=(mask, kept)) or (mask is not None and mask.dtype == torch.float64):
        return False
    return len({t.dtype for t in tensors}) == 1 and max(t.shape[-1] for t in tensors) <= WIDEST
