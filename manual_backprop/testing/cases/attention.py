"""Rows of attention."""

from dataclasses import replace
from typing import Any

import torch

from ..case import INFINITE, Case, Spec, constant
from ..case import normal as gaussian
from ._make import function

SUMS = (2.0**-49, "computed in blocks of heads and queries: sums in another order than in torch's matmuls")
SAME = {"forward": SUMS}


def normal(*shape: int) -> Spec:
    """Special values are 0, NaN and infinities. Others give gradients that are only rounding error: where all keys or
    values are equal they should be 0, and the exponential of large scores magnifies the error."""
    return replace(gaussian(*shape), specials=(0.0, *INFINITE))


def finite(*shape: int) -> Spec:
    """Special value 0 only: with is_causal, torch lets NaN and infinities beyond the diagonal spread within blocks."""
    return replace(gaussian(*shape), specials=(0.0,))


QUERY, KEY, VALUE = normal(2, 2, 3, 4), normal(2, 2, 5, 4), normal(2, 2, 5, 4)
HEADS = (QUERY, KEY, VALUE)
LARGER = (normal(3, 2, 11, 8), normal(3, 2, 13, 8), normal(3, 2, 13, 8))
SEEN = constant(torch.tensor([[True, True, False, True, False], [False] * 5, [True] * 5]))
UNSEEN = constant(torch.tensor([[0.0, -torch.inf, 1.0, 0.0, 0.0], [-torch.inf] * 5, [0.5] * 5]))
PADDED = constant(torch.tensor([[1, 1, 1, 1, 0], [1, 1, 0, 0, 0]]).bool().reshape(2, 1, 1, 5))


def attention(*inputs: Spec, tag: str = "", row: dict | None = None, fused: bool = False, **kwargs: Any) -> Case:
    """`fused`: torch runs its fused forward here, and so does ours."""
    return function(
        "scaled_dot_product_attention", inputs, tag=tag, row={**({} if fused else SAME), **(row or {})}, **kwargs
    )


CASES = [
    attention(*HEADS, fused=True, row={"larger": LARGER}),
    attention(finite(2, 2, 3, 4), finite(2, 2, 5, 4), finite(2, 2, 5, 4), is_causal=True, fused=True),
    attention(
        finite(2, 2, 5, 4), finite(2, 2, 3, 4), finite(2, 2, 3, 4), is_causal=True, tag="more-queries", fused=True
    ),
    attention(*HEADS, scale=0.3, fused=True),
    attention(*HEADS, scale=-1.0, fused=True),
    attention(*HEADS, SEEN, tag="bool-mask", fused=True),
    attention(*HEADS, UNSEEN, tag="unseen", fused=True),
    attention(*HEADS, PADDED, tag="padding", fused=True),
    attention(*HEADS, normal(3, 5), tag="mask"),
    attention(*HEADS, normal(2, 2, 3, 5), tag="mask-for-each-head"),
    attention(*HEADS, normal(2, 1, 1, 5), tag="broadcast-mask"),
    attention(normal(3, 4), normal(5, 4), normal(5, 4), normal(1, 5), tag="no-batch"),
    attention(normal(2, 3, 4), normal(2, 5, 4), normal(2, 5, 4), tag="one-batch-axis", fused=True),
    attention(
        normal(2, 3, 4), normal(2, 5, 4), normal(2, 5, 4), constant(torch.ones(2, 3, 5)), tag="one-batch-axis-mask"
    ),
    attention(normal(3, 4), normal(5, 4), normal(5, 4), tag="no-axes"),
    attention(normal(2, 1, 2, 3, 4), normal(2, 1, 2, 5, 4), normal(2, 1, 2, 5, 4), tag="three-batch-axes"),
    attention(normal(2, 3, 3, 4), normal(1, 3, 5, 4), normal(2, 1, 5, 4), tag="broadcast"),
    attention(QUERY, KEY, normal(2, 2, 5, 3), tag="narrow-values"),
    attention(normal(2, 4, 3, 4), KEY, VALUE, enable_gqa=True),
    attention(finite(2, 4, 3, 4), finite(2, 2, 5, 4), finite(2, 1, 5, 4), enable_gqa=True, is_causal=True),
    attention(*HEADS, dropout_p=0.4),
    attention(*HEADS, normal(2, 1, 3, 5), dropout_p=0.4, tag="mask"),
    attention(*HEADS, dropout_p=1.0),
]
