"""Attention without the pairs of query and key in memory: blocks of queries meet blocks of keys, Dao 2023.

Forward: a softmax that goes along (Milakov, Gimelshein 2018). Backward: P again from lse; one pass over keys for each
block of queries (delta_query), one over queries for each block of keys (delta_key, delta_value), so nothing is added to
by two programs.
"""

from __future__ import annotations

import math

import torch
import triton
import triton.language as tl
from torch import Tensor

from ...rules import ScaledDotProductAttention
from ...rules.attention import Wanted
from .. import attention as blocks
from .launch import INTERPRETED, block, dense, launch, takes

WIDEST = 256
"""Features of a query or value that fit into one program."""


@triton.jit
def _seen(scores, mask, query_at, key_at, mask_q, mask_k, queries, keys, CAUSAL: tl.constexpr, MASK: tl.constexpr):
    """The scores with the mask on them, -inf where the query does not see the key. MASK: 0 none, 1 bool, 2 added."""
    seen = (query_at < queries) & (key_at < keys)
    if CAUSAL:
        seen = seen & (key_at <= query_at)
    if MASK != 0:
        at = mask + query_at.to(tl.int64) * mask_q + key_at.to(tl.int64) * mask_k
        value = tl.load(at, mask=seen, other=0)
        if MASK == 1:
            seen = seen & (value != 0)
        else:
            scores += value.to(tl.float32)
    return tl.where(seen, scores, float("-inf"))


@triton.jit
def _noise(kept, query_at, key_at, head, queries, keys, factor):
    """factor where dropout keeps the weight of a pair, else 0."""
    at = (head.to(tl.int64) * queries + query_at) * keys + key_at
    value = tl.load(kept + at, mask=(query_at < queries) & (key_at < keys), other=0)
    return tl.where(value != 0, factor, 0.0)


@triton.jit
def _part(base, at, columns, stride, count, width):
    """Rows `at` of a matrix, `width` numbers each, 0 beyond the ends."""
    inside = (at < count)[:, None] & (columns < width)[None, :]
    return tl.load(base + at.to(tl.int64)[:, None] * stride + columns[None, :], mask=inside, other=0.0)


@triton.jit
def _attended(
    output, lse, query, key, value, mask, kept, scale, factor, heads, queries, keys, width, width_v,
    query_b, query_h, query_r, key_b, key_h, key_r, value_b, value_h, value_r, mask_b, mask_h, mask_q, mask_k,
    CAUSAL: tl.constexpr, MASK: tl.constexpr, DROPS: tl.constexpr, PRECISION: tl.constexpr, TYPE: tl.constexpr,
    WIDTH: tl.constexpr, WIDTH_V: tl.constexpr, QUERIES: tl.constexpr, KEYS: tl.constexpr,
):  # fmt: skip
    """Output and lse of QUERIES queries of one head."""
    many = tl.cdiv(queries, QUERIES)
    head = tl.program_id(0) // many
    b, h = (head // heads).to(tl.int64), (head % heads).to(tl.int64)
    mask_of = mask + b * mask_b + h * mask_h
    first = (many - 1 - tl.program_id(0) % many) * QUERIES  # the last queries see most keys: they begin
    rows, e, f = first + tl.arange(0, QUERIES), tl.arange(0, WIDTH), tl.arange(0, WIDTH_V)
    q = _part(query + b * query_b + h * query_h, rows, e, query_r, queries, width).to(TYPE)
    peak = tl.full((QUERIES,), float("-inf"), tl.float32)
    total = tl.zeros((QUERIES,), tl.float32)
    result = tl.zeros((QUERIES, WIDTH_V), tl.float32)
    stop = keys
    if CAUSAL:
        stop = tl.minimum(keys, first + QUERIES)
    for start in range(0, stop, KEYS):
        t = start + tl.arange(0, KEYS)
        k = _part(key + b * key_b + h * key_h, t, e, key_r, keys, width).to(TYPE)
        scores = tl.dot(q, tl.trans(k), input_precision=PRECISION) * scale
        scores = _seen(scores, mask_of, rows[:, None], t[None, :], mask_q, mask_k, queries, keys, CAUSAL, MASK)
        higher = tl.maximum(peak, tl.max(scores, 1))
        safe = tl.where(higher == float("-inf"), 0.0, higher)
        weights = tl.exp(scores - safe[:, None])
        shrunk = tl.exp(peak - safe)
        total = total * shrunk + tl.sum(weights, 1)
        if DROPS:
            weights *= _noise(kept, rows[:, None], t[None, :], head, queries, keys, factor)
        v = _part(value + b * value_b + h * value_h, t, f, value_r, keys, width_v).to(TYPE)
        result = result * shrunk[:, None] + tl.dot(weights.to(TYPE), v, input_precision=PRECISION)
        peak = higher
    unseen = (peak == float("-inf")) & (total == 0.0)
    total = tl.where(unseen, 1.0, total)
    result = result / total[:, None]
    at = head.to(tl.int64) * queries + rows
    tl.store(
        output + at[:, None] * width_v + f[None, :], result, mask=(rows < queries)[:, None] & (f < width_v)[None, :]
    )
    tl.store(lse + at, tl.where(unseen, 0.0, peak + tl.log(total)), mask=rows < queries)


@triton.jit
def _row_dots(dots, delta, output, rows, n, ROWS: tl.constexpr, COLUMNS: tl.constexpr):
    """delta . output of each row."""
    r = (tl.program_id(0).to(tl.int64) * ROWS + tl.arange(0, ROWS))[:, None]
    total = tl.zeros((ROWS, 1), tl.float32)
    for start in range(0, n, COLUMNS):
        c = (start + tl.arange(0, COLUMNS))[None, :]
        inside = (r < rows) & (c < n)
        d = tl.load(delta + r * n + c, mask=inside, other=0.0).to(tl.float32)
        total += tl.sum(d * tl.load(output + r * n + c, mask=inside, other=0.0).to(tl.float32), 1)[:, None]
    tl.store(dots + r, total, mask=r < rows)


@triton.jit
def _delta_query(
    out, delta, query, key, value, mask, kept, lse, dots, scale, factor, heads, queries, keys, width, width_v,
    query_b, query_h, query_r, key_b, key_h, key_r, value_b, value_h, value_r, mask_b, mask_h, mask_q, mask_k,
    CAUSAL: tl.constexpr, MASK: tl.constexpr, DROPS: tl.constexpr, PRECISION: tl.constexpr, TYPE: tl.constexpr,
    WIDTH: tl.constexpr, WIDTH_V: tl.constexpr, QUERIES: tl.constexpr, KEYS: tl.constexpr,
):  # fmt: skip
    """scale delta_scores K of QUERIES queries of one head."""
    many = tl.cdiv(queries, QUERIES)
    head = tl.program_id(0) // many
    b, h = (head // heads).to(tl.int64), (head % heads).to(tl.int64)
    mask_of = mask + b * mask_b + h * mask_h
    first = (many - 1 - tl.program_id(0) % many) * QUERIES
    rows, e, f = first + tl.arange(0, QUERIES), tl.arange(0, WIDTH), tl.arange(0, WIDTH_V)
    at = head.to(tl.int64) * queries + rows
    q = _part(query + b * query_b + h * query_h, rows, e, query_r, queries, width).to(TYPE)
    d = _part(delta + head.to(tl.int64) * queries * width_v, rows, f, width_v, queries, width_v).to(TYPE)
    z = tl.load(lse + at, mask=rows < queries, other=0.0)
    dot = tl.load(dots + at, mask=rows < queries, other=0.0)
    result = tl.zeros((QUERIES, WIDTH), tl.float32)
    stop = keys
    if CAUSAL:
        stop = tl.minimum(keys, first + QUERIES)
    for start in range(0, stop, KEYS):
        t = start + tl.arange(0, KEYS)
        k = _part(key + b * key_b + h * key_h, t, e, key_r, keys, width).to(TYPE)
        v = _part(value + b * value_b + h * value_h, t, f, value_r, keys, width_v).to(TYPE)
        scores = tl.dot(q, tl.trans(k), input_precision=PRECISION) * scale
        scores = _seen(scores, mask_of, rows[:, None], t[None, :], mask_q, mask_k, queries, keys, CAUSAL, MASK)
        weights = tl.exp(scores - z[:, None])
        delta_weights = tl.dot(d, tl.trans(v), input_precision=PRECISION)
        if DROPS:
            delta_weights *= _noise(kept, rows[:, None], t[None, :], head, queries, keys, factor)
        delta_scores = weights * (delta_weights - dot[:, None])
        result += tl.dot(delta_scores.to(TYPE), k, input_precision=PRECISION)
    inside = (rows < queries)[:, None] & (e < width)[None, :]
    tl.store(out + at[:, None] * width + e[None, :], result * scale, mask=inside)


@triton.jit
def _delta_key_value(
    out_key, out_value, delta, query, key, value, mask, kept, lse, dots, scale, factor, heads, queries, keys, width,
    width_v, query_b, query_h, query_r, key_b, key_h, key_r, value_b, value_h, value_r, mask_b, mask_h, mask_q, mask_k,
    CAUSAL: tl.constexpr, MASK: tl.constexpr, DROPS: tl.constexpr, PRECISION: tl.constexpr, TYPE: tl.constexpr,
    WIDTH: tl.constexpr, WIDTH_V: tl.constexpr, QUERIES: tl.constexpr, KEYS: tl.constexpr, FOR_KEY: tl.constexpr,
    FOR_VALUE: tl.constexpr,
):  # fmt: skip
    """scale delta_scores^T Q and (noise P)^T delta of KEYS keys of one head; scores lie (keys, queries) here."""
    many = tl.cdiv(keys, KEYS)
    head = tl.program_id(0) // many
    b, h = (head // heads).to(tl.int64), (head % heads).to(tl.int64)
    mask_of = mask + b * mask_b + h * mask_h
    begin = (tl.program_id(0) % many) * KEYS
    t, e, f = begin + tl.arange(0, KEYS), tl.arange(0, WIDTH), tl.arange(0, WIDTH_V)
    k = _part(key + b * key_b + h * key_h, t, e, key_r, keys, width).to(TYPE)
    delta_key = tl.zeros((KEYS, WIDTH), tl.float32)
    delta_value = tl.zeros((KEYS, WIDTH_V), tl.float32)
    first = 0
    if CAUSAL:
        first = begin // QUERIES * QUERIES  # queries before see none of these keys
    for start in range(first, queries, QUERIES):
        rows = start + tl.arange(0, QUERIES)
        at = head.to(tl.int64) * queries + rows
        q = _part(query + b * query_b + h * query_h, rows, e, query_r, queries, width).to(TYPE)
        d = _part(delta + head.to(tl.int64) * queries * width_v, rows, f, width_v, queries, width_v).to(TYPE)
        z = tl.load(lse + at, mask=rows < queries, other=0.0)
        scores = tl.dot(k, tl.trans(q), input_precision=PRECISION) * scale
        scores = _seen(scores, mask_of, rows[None, :], t[:, None], mask_q, mask_k, queries, keys, CAUSAL, MASK)
        weights = tl.exp(scores - z[None, :])
        if DROPS:
            noise = _noise(kept, rows[None, :], t[:, None], head, queries, keys, factor)
        if FOR_VALUE:
            dropped = weights
            if DROPS:
                dropped = weights * noise
            delta_value += tl.dot(dropped.to(TYPE), d, input_precision=PRECISION)
        if FOR_KEY:
            v = _part(value + b * value_b + h * value_h, t, f, value_r, keys, width_v).to(TYPE)
            dot = tl.load(dots + at, mask=rows < queries, other=0.0)
            delta_weights = tl.dot(v, tl.trans(d), input_precision=PRECISION)
            if DROPS:
                delta_weights *= noise
            delta_scores = weights * (delta_weights - dot[None, :])
            delta_key += tl.dot(delta_scores.to(TYPE), q, input_precision=PRECISION)
    at = head.to(tl.int64) * keys + t
    if FOR_KEY:
        inside = (t < keys)[:, None] & (e < width)[None, :]
        tl.store(out_key + at[:, None] * width + e[None, :], delta_key * scale, mask=inside)
    if FOR_VALUE:
        inside = (t < keys)[:, None] & (f < width_v)[None, :]
        tl.store(out_value + at[:, None] * width_v + f[None, :], delta_value, mask=inside)


def attended(
    query: Tensor, key: Tensor, value: Tensor, mask: Tensor | None, kept: Tensor | None, p: float, is_causal: bool,
    scale: float,
) -> tuple[Tensor, Tensor]:  # fmt: skip
    """`ScaledDotProductAttention.attended`."""
    if not _serves((query, key, value), mask, kept):
        return blocks.attended(query, key, value, mask, kept, p, is_causal, scale)
    pairs = _Pairs(query, key, value, mask, kept, p, is_causal, scale)
    output = query.new_empty(*query.shape[:-1], value.shape[-1])
    lse = query.new_empty(query.shape[:-1], dtype=torch.float32)
    launch(_attended, pairs.programs(pairs.queries), query, output, lse, *pairs.arguments(), **pairs.options)
    return output, lse


def deltas(
    delta: Tensor, query: Tensor, key: Tensor, value: Tensor | None, mask: Tensor | None, kept: Tensor | None,
    output: Tensor | None, lse: Tensor, p: float, is_causal: bool, scale: float, wanted: Wanted,
) -> tuple[Tensor | None, ...]:  # fmt: skip
    """`ScaledDotProductAttention.deltas`; those of a mask are left to the kernel in blocks of torch's operations."""
    if wanted[3] or not _serves((delta, query, key, *(() if value is None else (value, output))), mask, kept):
        options = p, is_causal, scale, wanted
        return blocks.deltas(delta, query, key, value, mask, kept, output, lse, *options)
    delta, lse = dense(delta), dense(lse)
    dots = lse
    width_v = delta.shape[-1]
    if value is not None and output is not None:
        dots, tile = torch.empty_like(lse), block(width_v)
        rows = triton.cdiv(lse.numel(), tile["ROWS"])
        launch(_row_dots, rows, delta, dots, delta, dense(output), lse.numel(), width_v, **tile)
    else:
        value = delta[..., :1, :].expand(*key.shape[:-1], width_v)  # not read: delta_value needs P alone
    pairs = _Pairs(query, key, value, mask, kept, p, is_causal, scale)
    read = *pairs.tensors, lse, dots, *pairs.numbers
    delta_query = delta_key = delta_value = None
    if wanted[0]:
        delta_query = torch.empty_like(query, memory_format=torch.contiguous_format)
        launch(_delta_query, pairs.programs(pairs.queries), delta, delta_query, delta, *read, **pairs.options)
    if wanted[1] or wanted[2]:
        delta_key = torch.empty_like(key, memory_format=torch.contiguous_format) if wanted[1] else None
        delta_value = torch.empty((*key.shape[:-1], width_v), dtype=delta.dtype, device=delta.device)
        launch(
            _delta_key_value, pairs.programs(pairs.keys, "KEYS"), delta, delta if delta_key is None else delta_key,
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
    torch.bfloat16: tl.float32 if INTERPRETED else tl.bfloat16,  # the interpreter multiplies the bits of bfloat16
}


def _padded(width: int) -> int:
    return max(16, triton.next_power_of_2(width))


def _four(tensor: Tensor) -> Tensor:
    """(*, rows, features) as (B, H, rows, features), features next to each other."""
    *batch, rows, features = tensor.shape
    heads = batch[-1] if batch else 1
    tensor = tensor.detach().reshape(math.prod(batch) // heads, heads, rows, features)
    return tensor if features == 1 or tensor.stride(-1) == 1 else tensor.contiguous()


def _serves(tensors: tuple, mask: Tensor | None, kept: Tensor | None) -> bool:
    if not takes(*tensors, others=(mask, kept)) or (mask is not None and mask.dtype == torch.float64):
        return False
    return len({t.dtype for t in tensors}) == 1 and max(t.shape[-1] for t in tensors) <= WIDEST


KERNELS = {ScaledDotProductAttention.attended: attended, ScaledDotProductAttention.deltas: deltas}
