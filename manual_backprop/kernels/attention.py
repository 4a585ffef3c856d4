"""Attention in blocks of heads and queries: scores of all pairs of query and key are never in memory together.

It consists of torch operations and so runs on every device; on the CPU the elementwise part is C (attention.c).
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor

from ..engine.rule import choose
from ..engine.terms import LOW, widen
from ..engine.torch_private import batched_by_autograd, transforms_active
from ..rules import ScaledDotProductAttention, Softmax
from ..rules.attention import Wanted, above_diagonal
from . import native
from .native import REAL
from .registry import serves
from .rows import takes

BLOCK = 2**19
"""Pairs of query and key in a block: 2 MiB of float32, about the size of a cache."""
ROWS = 64, 256
"""Fewest and most queries in a block. Causal attention takes the fewest, to compute little above the diagonal."""
SCORES = 32
"""If |lse| is larger, e^(S - lse) would have an error of more than 32 roundings; then the softmax is recomputed. The
same number is in attention.c."""


SERVED = "tensors that are not traced, transformed or on the meta device"


@serves(ScaledDotProductAttention.attended, on="any", when=SERVED)
def attended(
    query: Tensor, key: Tensor, value: Tensor, mask: Tensor | None, kept: Tensor | None, p: float, is_causal: bool,
    scale: float,
) -> tuple[Tensor, Tensor]:  # fmt: skip
    if not _plain(query):
        return NotImplemented
    pairs, q, k, v = _Pairs(query, key, mask, kept, is_causal), _flat(query), _flat(key), _flat(value)
    wide, gain = torch.float32 if query.dtype in LOW else query.dtype, _gain(kept, p)
    output = lse = None
    if not pairs.whole:
        output = v.new_zeros(len(q), pairs.queries, v.shape[-1])
        lse = q.new_zeros(len(q), pairs.queries, dtype=wide)
    for heads, rows, seen, _ in pairs.blocks:
        scores = torch.bmm(_as(wide, scale * _part(q, heads, rows)), _as(wide, _part(k, heads, seen).mT))
        first = pairs.first(rows, seen) if takes(scores) else None
        scores = pairs.masked_(scores, heads, rows, seen, in_c=first is not None)
        weights, sums = _weights(scores, pairs.kept_at(heads, rows, seen), first)
        found = torch.bmm(weights, _as(wide, _part(v, heads, seen)))
        found = _as(v.dtype, found if gain == 1 else found.mul_(gain))
        if output is None or lse is None:
            output, lse = found, sums
        else:
            output[heads, rows], lse[heads, rows] = found, sums
    assert output is not None
    assert lse is not None
    return output.reshape(*query.shape[:-1], v.shape[-1]), lse.reshape(query.shape[:-1])


@serves(ScaledDotProductAttention.deltas, on="any", when=SERVED)
def deltas(
    delta: Tensor, query: Tensor, key: Tensor, value: Tensor | None, mask: Tensor | None, kept: Tensor | None,
    output: Tensor | None, lse: Tensor, p: float, is_causal: bool, scale: float, wanted: Wanted,
) -> tuple[Tensor | None, ...]:  # fmt: skip
    if not _plain(delta, query):
        return NotImplemented
    delta, query, key, value, mask, output = widen(delta, query, key, value, mask, output)
    pairs = _Pairs(query, key, mask, kept, is_causal)
    q, k, d, z = scale * _flat(query), _flat(key), _flat(delta), _flat(lse.unsqueeze(-1))
    louder = d if kept is None else d * _gain(kept, p)  # dropout's factor: cheaper here than for each pair
    v = dots = None
    if value is not None and output is not None:
        v, dots = _flat(value), (d * _flat(output)).sum(-1, keepdim=True)
    delta_query = delta_key = delta_value = None
    if not pairs.whole:
        # the first block of each part overwrites it, so memory need not be zeroed, unless no query sees some keys
        some = q.numel() and k.numel() and pairs.queries >= pairs.keys * is_causal
        new = torch.empty_like if some else torch.zeros_like
        delta_query, delta_key = new(q) if wanted[0] else None, new(k) if wanted[1] else None
        delta_value = new(k.new_empty(len(k), pairs.keys, d.shape[-1])) if wanted[2] else None
    delta_mask = torch.zeros_like(pairs.mask) if wanted[3] and pairs.mask is not None else None
    for heads, rows, seen, begins in pairs.blocks:
        scores = torch.bmm(_part(q, heads, rows), _part(k, heads, seen).mT)
        first = pairs.first(rows, seen) if takes(scores, z, dots) else None
        scores = pairs.masked_(scores, heads, rows, seen, in_c=first is not None)
        keeping, lse_here = pairs.kept_at(heads, rows, seen), _part(z, heads, rows)
        given = None
        if v is not None and dots is not None:
            given = torch.bmm(_part(louder, heads, rows), _part(v, heads, seen).mT), _part(dots, heads, rows)
        weights, delta_scores = _pairs_(scores, lse_here, keeping, given, first)
        if wanted[2]:
            delta_value = _added(delta_value, heads, seen, weights.mT, _part(louder, heads, rows), begins)
        if delta_scores is None:
            continue
        if wanted[0]:
            delta_query = _added(delta_query, heads, rows, delta_scores, _part(k, heads, seen), True)
        if wanted[1]:
            delta_key = _added(delta_key, heads, seen, delta_scores.mT, _part(q, heads, rows), begins)
        if delta_mask is not None:
            pairs.add_(delta_mask, delta_scores, heads, rows, seen)
    return (
        None if delta_query is None else delta_query.mul_(scale).reshape(query.shape),
        None if delta_key is None else delta_key.reshape(key.shape),
        None if delta_value is None else delta_value.reshape(*key.shape[:-1], d.shape[-1]),
        None if delta_mask is None or mask is None else delta_mask.reshape(mask.shape),
    )


NONE: tuple[Any, Any] = None, None


def _weights(scores: Tensor, kept: Tensor | None, first: int | None) -> tuple[Tensor, Tensor]:
    """The weights after dropout, written over the scores, and `lse`. The largest weight is e^(top - lse).

    first: for the C code, how many keys the first query sees; each later query sees one more. None: torch operations,
    on scores that already have the whole mask.
    """
    if first is not None:
        lse, sizes = scores.new_empty(scores.shape[:-1]), scores.shape[-2:]
        native.call(
            f"attention_weights_{REAL[scores.dtype]}", scores, lse, kept, lse.numel(), sizes[1], sizes[0], first
        )
        return scores, lse
    top, weights = scores.amax(-1), scores.softmax(-1)
    unseen = top == -math.inf
    lse = (top - weights.amax(-1).log()).masked_fill_(unseen, 0)
    weights = weights.masked_fill_(unseen.unsqueeze(-1), 0)
    return weights if kept is None else weights.mul_(kept), lse


def _pairs_(
    scores: Tensor, lse: Tensor, kept: Tensor | None, given: tuple[Tensor, Tensor] | None, first: int | None
) -> tuple[Tensor, Tensor | None]:
    """The weights after dropout and the deltas of the scores; the arguments are written over.

    given: the deltas of the weights after dropout, and delta . Y of each row. first: as for `_weights`.
    """
    deltas, dots = given or NONE
    if first is not None:
        sizes = lse.numel(), scores.shape[-1], scores.shape[-2], first
        sums = lse.contiguous(), None if dots is None else dots.contiguous()
        native.call(f"attention_pairs_{REAL[scores.dtype]}", scores, deltas, *sums, kept, *sizes)
        return scores, deltas
    keeping = None if kept is None else kept.to(scores.dtype)
    if deltas is not None and keeping is not None:
        deltas.mul_(keeping)
    large = bool(lse.is_cpu and lse.numel() and lse.abs().max() > SCORES)  # on a GPU this would wait for the device
    weights = _weights(scores, None, None)[0] if large else scores.sub_(lse).exp_()
    if deltas is not None:
        deltas = choose(Softmax.delta_input)(deltas, weights, -1) if large else deltas.sub_(dots).mul_(weights)
    return weights if keeping is None else weights * keeping, deltas


def _gain(kept: Tensor | None, p: float) -> float:
    """The factor that dropout multiplies kept weights by."""
    return 1.0 if kept is None else 1 / (1 - p) if p < 1 else 0.0


def _as(dtype: torch.dtype, tensor: Tensor) -> Tensor:
    return tensor if tensor.dtype == dtype else tensor.to(dtype)


def _part(tensor: Tensor, first: slice, second: slice) -> Tensor:
    """A block of a tensor; the tensor itself if the block is all of it."""
    whole = not first.start and first.stop >= len(tensor) and not second.start and second.stop >= tensor.shape[1]
    return tensor if whole else tensor[first, second]


def _added(target: Tensor | None, heads: slice, rows: slice, left: Tensor, right: Tensor, first: bool) -> Tensor:
    """Add left @ right to a part of the target; `first`: overwrite that part. Without a target, return left @ right."""
    if target is None:
        return torch.bmm(left, right)
    part = target[heads, rows]
    if part.is_contiguous():
        part.baddbmm_(left, right, beta=0 if first else 1)
    elif first:  # baddbmm_ would multiply matrices with gaps between them one by one
        part.copy_(torch.bmm(left, right))
    else:
        part.add_(torch.bmm(left, right))
    return target


class _Pairs:
    """The pairs of query and key, (N, L, T) with all batch axes flattened into one, divided into blocks."""

    def __init__(self, query: Tensor, key: Tensor, mask: Tensor | None, kept: Tensor | None, is_causal: bool) -> None:
        batch, self.queries, self.keys = query.shape[:-2], query.shape[-2], key.shape[-2]
        self.heads, self.is_causal, self.mask, self.mask_of = batch.numel(), is_causal, None, None
        self.kept = None if kept is None else kept.reshape(self.heads, self.queries, self.keys)
        self.blocks = list(self._blocks())
        # a single block of all pairs: its result is the whole result
        self.whole = len(self.blocks) == 1 and self.blocks[0][2].stop == self.keys
        if mask is None:
            return
        apart = (1,) * (len(batch) + 2 - mask.dim()) + mask.shape[:-2]
        self.mask = mask.reshape(math.prod(apart), *mask.shape[-2:])
        if len(self.mask) > 1:  # index of each head's mask
            of = torch.arange(len(self.mask), device=mask.device)
            self.mask_of = of.reshape(apart).expand(batch).reshape(-1)

    def _blocks(self) -> Iterator[tuple[slice, slice, slice, bool]]:
        """For each block: slices of heads, queries, and the keys that they see; whether it is the first of its heads.

        The last queries come first, because they see most keys. So the first block of some heads writes every key that
        any query sees.
        """
        if not self.keys:
            return
        fewest, most = ROWS
        rows = fewest if self.is_causal else min(max(BLOCK // self.keys, fewest), most)
        heads = max(1, BLOCK // (min(rows, self.queries or 1) * self.keys))
        for head in range(0, self.heads, heads):
            for row in reversed(range(0, self.queries, rows)):
                last = min(row + rows, self.queries)
                seen = min(last, self.keys) if self.is_causal else self.keys
                yield slice(head, head + heads), slice(row, last), slice(seen), last == self.queries

    def first(self, rows: slice, seen: slice) -> int:
        """How many keys the first query of a block sees. If causal, each later query sees one more."""
        return rows.start + 1 if self.is_causal else seen.stop

    def masked_(self, scores: Tensor, heads: slice, rows: slice, seen: slice, in_c: bool) -> Tensor:
        """Apply the mask to the scores of a block, in place. in_c: the C code runs next and applies the causal mask."""
        if self.mask is not None:
            mask = self._part(self.mask, rows, seen)
            mask = mask if self.mask_of is None else mask.index_select(0, self.mask_of[heads])
            scores = scores.masked_fill_(~mask, -math.inf) if mask.dtype == torch.bool else scores.add_(mask)
        if self.is_causal and not in_c and rows.start < seen.stop:
            corner = scores[..., rows.start :]
            corner.masked_fill_(above_diagonal(corner), -math.inf)
        return scores

    def kept_at(self, heads: slice, rows: slice, seen: slice) -> Tensor | None:
        """Dropout's mask for a block: which weights it keeps; None for all."""
        if self.kept is None:
            return None
        return (self.kept if self.whole else self.kept[heads, rows, seen]).contiguous()

    def add_(self, delta_mask: Tensor, delta_scores: Tensor, heads: slice, rows: slice, seen: slice) -> None:
        """Add a block's contribution to the gradient of the mask, summed over broadcast axes."""
        part = self._part(delta_mask, rows, seen)
        summed = delta_scores.sum_to_size(len(delta_scores), *part.shape[1:])
        if self.mask_of is None:
            part += summed.sum(0)
        else:
            part.index_add_(0, self.mask_of[heads], summed)

    @staticmethod
    def _part(mask: Tensor, rows: slice, seen: slice) -> Tensor:
        every = slice(None)
        return mask[:, rows if mask.shape[1] > 1 else every, seen if mask.shape[2] > 1 else every]


def _flat(tensor: Tensor) -> Tensor:
    return tensor.reshape(tensor.shape[:-2].numel(), *tensor.shape[-2:])


def _plain(*tensors: Tensor) -> bool:
    return not (
        torch.compiler.is_compiling()
        or transforms_active()
        or tensors[0].is_meta  # has no elements to compute, and many blocks would take long
        or any(map(batched_by_autograd, tensors))  # of autograd.grad(is_grads_batched=True)
    )
