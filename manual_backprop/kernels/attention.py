"""Attention in blocks of heads and queries: no more than a block of the pairs of query and key is ever held.

Plain torch operations, so for every device; on the CPU what is done to each pair is C (softmax.c). Traced and
transformed tensors go to the formulas.
"""

from __future__ import annotations

import math
from collections.abc import Iterator

import torch
from torch import Tensor

from ..engine.rule import KERNELS, choose
from ..engine.terms import widen
from ..engine.torch_private import batched_by_autograd, transforms_active
from ..rules import ScaledDotProductAttention, Softmax
from ..rules.attention import Wanted, above_diagonal
from . import native
from .native import REAL
from .rows import takes

BLOCK = 2**19
"""Pairs of query and key in a block: 2 MiB of float32, about what stays in a cache."""
ROWS = 64, 256
"""Fewest and most queries in a block. If causal the fewest, so that little above the diagonal is computed."""
LOUD = 32
"""Beyond such scores e^(S - lse) is off by more than so many roundings: there the softmax is taken again."""


def attended(
    query: Tensor, key: Tensor, value: Tensor, mask: Tensor | None, kept: Tensor | None, p: float, is_causal: bool,
    scale: float,
) -> tuple[Tensor, Tensor]:  # fmt: skip
    """`ScaledDotProductAttention.attended`."""
    if not _serves(query):
        return ScaledDotProductAttention.attended(query, key, value, mask, kept, p, is_causal, scale)
    pairs, q, k, v = _Pairs(query, key, mask, kept, is_causal), _flat(query), _flat(key), _flat(value)
    wide = torch.float32 if query.itemsize < 4 else query.dtype  # torch.promote_types is an operator, and unrecorded
    gain = _gain(kept, p)
    output, lse = v.new_zeros(len(q), pairs.queries, v.shape[-1]), q.new_zeros(len(q), pairs.queries, dtype=wide)
    for heads, rows, seen, _ in pairs.blocks():
        scores = torch.bmm(scale * q[heads, rows].to(wide), k[heads, seen].mT.to(wide))
        weights, lse[heads, rows] = _weights(pairs.masked_(scores, heads, rows, seen, is_causal))
        if pairs.kept is not None:
            weights.mul_(pairs.kept_at(heads, rows, seen))
        output[heads, rows] = torch.bmm(weights, v[heads, seen].to(wide)).mul_(gain).to(v.dtype)
    return output.reshape(*query.shape[:-1], v.shape[-1]), lse.reshape(query.shape[:-1])


def deltas(
    delta: Tensor, query: Tensor, key: Tensor, value: Tensor | None, mask: Tensor | None, kept: Tensor | None,
    output: Tensor | None, lse: Tensor, p: float, is_causal: bool, scale: float, wanted: Wanted,
) -> tuple[Tensor | None, ...]:  # fmt: skip
    """`ScaledDotProductAttention.deltas`."""
    if not _serves(delta, query):
        options = p, is_causal, scale, wanted
        return ScaledDotProductAttention.deltas(delta, query, key, value, mask, kept, output, lse, *options)
    delta, query, key, value, mask, output = widen(delta, query, key, value, mask, output)
    pairs = _Pairs(query, key, mask, kept, is_causal)
    q, k, d, z = scale * _flat(query), _flat(key), _flat(delta), _flat(lse.unsqueeze(-1))
    louder = d if kept is None else d * _gain(kept, p)  # what dropout keeps is scaled up: here, and not for each pair
    v = dots = None
    if value is not None and output is not None:
        v, dots = _flat(value), (d * _flat(output)).sum(-1, keepdim=True)
    # a block writes over what is there in the first round; only keys that no query sees stay as they were
    some = q.numel() and k.numel() and pairs.queries >= pairs.keys * is_causal
    new = torch.empty_like if some else torch.zeros_like
    delta_query, delta_key = new(q) if wanted[0] else None, new(k) if wanted[1] else None
    delta_value = new(k.new_empty(len(k), pairs.keys, d.shape[-1])) if wanted[2] else None
    delta_mask = torch.zeros_like(pairs.mask) if wanted[3] and pairs.mask is not None else None
    in_c = dots is not None and takes(q, z, dots)
    loud = bool(not in_c and z.is_cpu and z.numel() and z.abs().max() > LOUD)  # a GPU would be waited for
    for heads, rows, seen, first in pairs.blocks():
        weights = pairs.masked_(
            torch.bmm(_of(q, heads, rows), _of(k, heads, seen).mT), heads, rows, seen, is_causal and not in_c
        )
        keeping = None if pairs.kept is None else pairs.kept_at(heads, rows, seen).to(weights.dtype)
        if v is None or dots is None:
            scores = None
            weights = _weights(weights)[0] if loud else weights.sub_(_of(z, heads, rows)).exp_()
        else:
            scores = torch.bmm(_of(louder, heads, rows), _of(v, heads, seen).mT)
            if keeping is not None:
                scores.mul_(keeping)
            if in_c:
                count = rows.start + 1 if is_causal else weights.shape[-1]
                _pairs_(weights, scores, _of(z, heads, rows), _of(dots, heads, rows), count)
            elif loud:
                weights = _weights(weights)[0]
                scores = choose(Softmax.delta_input)(scores, weights, -1)
            else:
                scores.sub_(_of(dots, heads, rows)).mul_(weights.sub_(_of(z, heads, rows)).exp_())
        if delta_value is not None:
            dropped = weights if keeping is None else weights * keeping
            _add(_of(delta_value, heads, seen), dropped.mT, _of(louder, heads, rows), first)
        if scores is None:
            continue
        if delta_query is not None:
            _add(_of(delta_query, heads, rows), scores, _of(k, heads, seen), True)
        if delta_key is not None:
            _add(_of(delta_key, heads, seen), scores.mT, _of(q, heads, rows), first)
        if delta_mask is not None:
            pairs.add_(delta_mask, scores, heads, rows, seen)
    return (
        None if delta_query is None else delta_query.mul_(scale).reshape(query.shape),
        None if delta_key is None else delta_key.reshape(key.shape),
        None if delta_value is None else delta_value.reshape(*key.shape[:-1], d.shape[-1]),
        None if delta_mask is None or mask is None else delta_mask.reshape(mask.shape),
    )


def _pairs_(scores: Tensor, deltas: Tensor, lse: Tensor, dots: Tensor, seen: int) -> None:
    """Scores become weights, and the deltas of the weights those of the scores, written over. The first query sees so
    many keys, each later one a key more."""
    rows, n = scores.shape[:-1].numel(), scores.shape[-1]
    name = f"attention_pairs_{REAL[scores.dtype]}"
    native.call(name, scores, deltas, lse.contiguous(), dots.contiguous(), rows, n, scores.shape[-2], seen)


def _weights(scores: Tensor) -> tuple[Tensor, Tensor]:
    """`ScaledDotProductAttention.weights` with one exponential for each pair: the largest weight is e^(top - lse)."""
    top, weights = scores.amax(-1), scores.softmax(-1)
    unseen = top == -math.inf
    lse = (top - weights.amax(-1).log()).masked_fill_(unseen, 0)
    return weights.masked_fill_(unseen.unsqueeze(-1), 0), lse


def _gain(kept: Tensor | None, p: float) -> float:
    """By what the weights that dropout keeps are multiplied."""
    return 1.0 if kept is None else 1 / (1 - p) if p < 1 else 0.0


def _add(target: Tensor, left: Tensor, right: Tensor, first: bool) -> None:
    """The matmuls, added to what is there; the first ones are written over it."""
    if target.is_contiguous():
        target.baddbmm_(left, right, beta=0 if first else 1)
    elif first:  # matrices with gaps between them ATen would multiply one by one
        target.copy_(torch.bmm(left, right))
    else:
        target.add_(torch.bmm(left, right))


class _Pairs:
    """The pairs of query and key, (N, L, T) with all batch axes made one, of which blocks are asked for."""

    def __init__(self, query: Tensor, key: Tensor, mask: Tensor | None, kept: Tensor | None, is_causal: bool) -> None:
        batch, self.queries, self.keys = query.shape[:-2], query.shape[-2], key.shape[-2]
        self.heads, self.is_causal, self.mask, self.mask_of = batch.numel(), is_causal, None, None
        self.kept = None if kept is None else kept.reshape(self.heads, self.queries, self.keys)
        if mask is None:
            return
        apart = (1,) * (len(batch) + 2 - mask.dim()) + mask.shape[:-2]
        self.mask = mask.reshape(math.prod(apart), *mask.shape[-2:])
        if len(self.mask) > 1:  # which of the masks is each head's
            of = torch.arange(len(self.mask), device=mask.device)
            self.mask_of = of.reshape(apart).expand(batch).reshape(-1)

    def blocks(self) -> Iterator[tuple[slice, slice, slice, bool]]:
        """Slices of heads, of queries, and of the keys that these see; and whether it is the first of its heads.

        The last queries come first, since they see most keys.
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
                yield slice(head, head + heads), slice(row, last), slice(0, seen), last == self.queries

    def masked_(self, scores: Tensor, heads: slice, rows: slice, seen: slice, causal: bool) -> Tensor:
        """The scores of a block with the mask on them, written over, and none for later keys if causal."""
        if self.mask is not None:
            mask = self._part(self.mask, rows, seen)
            mask = mask if self.mask_of is None else mask.index_select(0, self.mask_of[heads])
            scores = scores.masked_fill_(~mask, -math.inf) if mask.dtype == torch.bool else scores.add_(mask)
        if causal and rows.start < seen.stop:
            corner = scores[..., rows.start :]
            corner.masked_fill_(above_diagonal(corner), -math.inf)
        return scores

    def kept_at(self, heads: slice, rows: slice, seen: slice) -> Tensor:
        """Which weights of a block dropout keeps."""
        assert self.kept is not None
        return self.kept[heads, rows, seen]

    def add_(self, delta_mask: Tensor, delta_scores: Tensor, heads: slice, rows: slice, seen: slice) -> None:
        """Add to the mask's gradient what comes from a block, summed over broadcast axes."""
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


def _of(tensor: Tensor, heads: slice, rows: slice) -> Tensor:
    """A block of a tensor; without an operator where that is all of it."""
    whole = heads.start == rows.start == 0 and heads.stop >= len(tensor) and rows.stop >= tensor.shape[1]
    return tensor if whole else tensor[heads, rows]


def _flat(tensor: Tensor) -> Tensor:
    return tensor.reshape(tensor.shape[:-2].numel(), *tensor.shape[-2:])


def _serves(*tensors: Tensor) -> bool:
    return not (
        torch.compiler.is_compiling()
        or transforms_active()
        or tensors[0].is_meta  # which holds nothing, and takes long over many blocks
        or any(map(batched_by_autograd, tensors))  # of autograd.grad(is_grads_batched=True)
    )


KERNELS[ScaledDotProductAttention.attended] = attended
KERNELS[ScaledDotProductAttention.deltas] = deltas
