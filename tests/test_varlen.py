"""Attention over sequences of various lengths: each by itself is torch's attention."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

import manual_backprop as mb

STARTS, KEY_STARTS = torch.tensor([0, 2, 5]), torch.tensor([0, 4, 7])


def inputs(heads: int = 2) -> list[Tensor]:
    generator = torch.Generator().manual_seed(0)
    shapes = ((5, 2, 4), (7, heads, 4), (7, heads, 4))
    return [torch.randn(s, generator=generator, dtype=torch.float64).requires_grad_() for s in shapes]


@pytest.mark.parametrize("window", [(-1, -1), (-1, 0), (1, 0), (0, 2)])
def test_each_sequence_is_attended_by_itself(window: tuple[int, int]) -> None:
    query, key, value = inputs()
    found = mb.functional.varlen_attn(query, key, value, STARTS, KEY_STARTS, 3, 4, window_size=window)
    parts = []
    for n in range(2):
        q, k, v = (
            t[starts[n] : starts[n + 1]].transpose(0, 1)
            for t, starts in ((query, STARTS), (key, KEY_STARTS), (value, KEY_STARTS))
        )
        queries, keys = q.shape[1], k.shape[1]
        mask = torch.tensor(
            [
                [
                    (window[0] < 0 or j >= i + keys - queries - window[0])
                    and (window[1] < 0 or j <= i + keys - queries + window[1])
                    for j in range(keys)
                ]
                for i in range(queries)
            ]
        )
        parts.append(torch.nn.functional.scaled_dot_product_attention(q, k, v, mask).transpose(0, 1))
    expected = torch.cat(parts)
    torch.testing.assert_close(found, expected)
    delta = torch.randn(found.shape, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    ours, theirs = (torch.autograd.grad(output, (query, key, value), delta) for output in (found, expected))
    torch.testing.assert_close(ours, theirs)


def test_what_is_refused() -> None:
    query, key, value = inputs()
    with pytest.raises(NotImplementedError, match="seqused_k"):
        mb.functional.varlen_attn(query, key, value, STARTS, KEY_STARTS, 3, 4, seqused_k=STARTS)
    with pytest.raises(NotImplementedError, match="cu_seq_k"):
        mb.functional.varlen_attn(query, key, value, STARTS, None, 3, 4)
    query, key, value = inputs(heads=1)
    with pytest.raises(ValueError, match="heads"):
        mb.functional.varlen_attn(query, key, value, STARTS, KEY_STARTS, 3, 4)
