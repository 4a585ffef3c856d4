"""The Triton functions of attention, in blocks of queries and keys: Dao 2023, "FlashAttention-2".

The forward computes an online softmax (Milakov, Gimelshein 2018). The backward recomputes P from lse. It makes one pass
over the keys for each block of queries (delta_query), and one over the queries for each block of keys (delta_key,
delta_value). So no two programs add to the same element.
"""

from __future__ import annotations

import triton
import triton.language as tl


@triton.jit
def _seen(scores, mask, query_at, key_at, mask_q, mask_k, queries, keys, CAUSAL: tl.constexpr, MASK: tl.constexpr):
    """The scores with the mask applied, -inf where the query does not see the key. MASK: 0 none, 1 bool, 2 added."""
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
    """The noise of dropout: `factor` where it keeps the weight of a pair, else 0."""
    at = (head.to(tl.int64) * queries + query_at) * keys + key_at
    value = tl.load(kept + at, mask=(query_at < queries) & (key_at < keys), other=0)
    return tl.where(value != 0, factor, 0.0)


@triton.jit
def _part(base, at, columns, stride, count, width):
    """Rows `at` of a matrix with rows of `width` elements; 0 outside of the matrix."""
    inside = (at < count)[:, None] & (columns < width)[None, :]
    return tl.load(base + at.to(tl.int64)[:, None] * stride + columns[None, :], mask=inside, other=0.0)


@triton.jit
def attended(
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
    first = (many - 1 - tl.program_id(0) % many) * QUERIES  # the last queries see most keys, so they start first
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
def row_dots(dots, delta, output, rows, n, ROWS: tl.constexpr, COLUMNS: tl.constexpr):
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
def delta_query(
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
def delta_key_value(
    out_key, out_value, delta, query, key, value, mask, kept, lse, dots, scale, factor, heads, queries, keys, width,
    width_v, query_b, query_h, query_r, key_b, key_h, key_r, value_b, value_h, value_r, mask_b, mask_h, mask_q, mask_k,
    CAUSAL: tl.constexpr, MASK: tl.constexpr, DROPS: tl.constexpr, PRECISION: tl.constexpr, TYPE: tl.constexpr,
    WIDTH: tl.constexpr, WIDTH_V: tl.constexpr, QUERIES: tl.constexpr, KEYS: tl.constexpr, FOR_KEY: tl.constexpr,
    FOR_VALUE: tl.constexpr,
):  # fmt: skip
    """scale delta_scores^T Q and (noise P)^T delta of KEYS keys of one head. Scores are (keys, queries) here."""
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
        first = begin // QUERIES * QUERIES  # earlier queries see none of these keys
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
