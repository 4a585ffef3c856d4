"""What attention.c does to each pair of query and key, against plain torch operations in float64."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

import manual_backprop.functional as F
from manual_backprop.engine import node
from manual_backprop.kernels import attention
from manual_backprop.rules import ScaledDotProductAttention

from .test_native import calls

DTYPES = pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
KEPT = pytest.mark.parametrize("dropout", [False, True])
SHAPES = pytest.mark.parametrize("shape", [(1, 1, 1), (2, 3, 5), (3, 7, 16), (2, 5, 33), (1, 4, 700), (9, 60, 70)])
FIRST = pytest.mark.parametrize("first", [700, 2], ids=["all", "causal"])
"""How many keys the first query sees, each later one a key more."""
NEAR = {torch.float32: 4e-6, torch.float64: 1e-14}
"""Some tens of roundings: of lse near 90, and of sums over up to 700 keys in another order."""

pytestmark = pytest.mark.usefixtures("c_kernels")


def given(shape: tuple[int, int, int], dtype: torch.dtype, dropout: bool) -> tuple[Tensor, Tensor | None]:
    """Scores, in rows some of which are far from 0, and see not all, or nothing; and what dropout keeps."""
    scores = torch.randn(shape, dtype=dtype) * 3
    scores[:, 1::4] += 40
    scores[:, 2::4] -= 90
    scores[torch.rand(shape) < 0.2] = -math.inf
    scores[0, -1] = -math.inf
    return scores, torch.rand(shape) < 0.7 if dropout else None


def seen(scores: Tensor, first: int) -> Tensor:
    """The scores, -inf for the keys that a query does not see."""
    queries, keys = scores.shape[-2:]
    return scores.masked_fill(torch.arange(keys) >= first + torch.arange(queries).unsqueeze(-1), -math.inf)


@DTYPES
@KEPT
@FIRST
@SHAPES
@pytest.mark.parametrize("threads", [1, 2])
def test_weights(
    shape: tuple[int, int, int], first: int, dropout: bool, dtype: torch.dtype, threads: int,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    monkeypatch.setattr(torch, "get_num_threads", lambda: threads)
    names, (scores, kept) = calls(monkeypatch), given(shape, dtype, dropout)
    truth, sums = ScaledDotProductAttention.weights(seen(scores.double(), first))
    weights, lse = attention._weights(scores.clone(), kept, first)
    assert names == [f"attention_weights_{attention.REAL[dtype]}"]
    near = NEAR[dtype]
    torch.testing.assert_close(weights.double(), truth if kept is None else truth * kept, rtol=near, atol=near)
    torch.testing.assert_close(lse.double(), sums, rtol=near, atol=near)


@DTYPES
@KEPT
@FIRST
@SHAPES
@pytest.mark.parametrize("threads", [1, 2])
def test_pairs(
    shape: tuple[int, int, int], first: int, dropout: bool, dtype: torch.dtype, threads: int,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    """Of scores far from 0 the rounding of lse would be seen, so that each row's softmax is taken again."""
    monkeypatch.setattr(torch, "get_num_threads", lambda: threads)
    names, (scores, kept) = calls(monkeypatch), given(shape, dtype, dropout)
    truth, sums = ScaledDotProductAttention.weights(seen(scores.double(), first))
    deltas = torch.randn(shape, dtype=dtype)
    given_to = deltas.double() if kept is None else deltas.double() * kept
    dots = (given_to * truth).sum(-1, keepdim=True)
    expected = ScaledDotProductAttention.delta_scores(given_to, truth)
    lse = sums.to(dtype).unsqueeze(-1)
    weights, found = attention._pairs_(scores.clone(), lse, kept, (deltas.clone(), dots.to(dtype)), first)
    alone, nothing = attention._pairs_(scores.clone(), lse, kept, None, first)
    assert names == [f"attention_pairs_{attention.REAL[dtype]}"] * 2
    near = 8 * NEAR[dtype]  # deltas of about 3 times weights, minus dots of as much
    assert found is not None
    assert nothing is None
    torch.testing.assert_close(weights.double(), truth if kept is None else truth * kept, rtol=near, atol=near)
    torch.testing.assert_close(found.double(), expected, rtol=near, atol=near)
    assert torch.equal(alone, weights)


@DTYPES
def test_infinite_scores_and_nan_stay_in_their_rows(dtype: torch.dtype) -> None:
    rows = [[math.inf, 0.0, 1.0], [math.nan, 0.0, 1.0], [math.nan, -math.inf, -math.inf], [-math.inf] * 3, [0.0] * 3]
    scores = torch.tensor([rows], dtype=dtype)
    weights, lse = attention._weights(scores.clone(), None, 3)
    assert weights.isnan().any(-1).tolist() == [[True, True, True, False, False]]
    assert lse.isnan().tolist() == [[True, True, True, False, False]]
    assert weights[0, 3].tolist() == [0.0] * 3
    assert lse[0, 3] == 0
    weights, deltas = attention._pairs_(
        scores.clone(), lse.unsqueeze(-1), None, (torch.ones_like(scores), torch.ones_like(lse).unsqueeze(-1)), 3
    )
    assert deltas is not None
    assert weights.isnan().any(-1).tolist() == deltas.isnan().any(-1).tolist() == [[True, True, True, False, False]]


def test_plain_operations_give_the_same() -> None:
    scores, kept = given((2, 5, 33), torch.float64, True)
    deltas, dots = torch.randn(2, 5, 33, dtype=torch.float64), torch.randn(2, 5, 1, dtype=torch.float64)
    calm = scores.clamp(max=5, min=-5)  # where lse is used, so are the dots

    def run(first: int | None) -> list[Tensor | None]:
        weights, lse = attention._weights(scores.clone(), kept, first)
        _, sums = attention._weights(calm.clone(), None, first)
        both = attention._pairs_(calm.clone(), sums.unsqueeze(-1), kept, (deltas.clone(), dots), first)
        return [weights, lse, *both]

    for ours, plain in zip(run(33), run(None), strict=True):
        # float64: some tens of roundings
        torch.testing.assert_close(ours, plain, rtol=1e-13, atol=1e-13)


def test_small_attention_is_recorded() -> None:
    """No step of it reads a number from a tensor, or makes one of Python's."""
    assert node.wait()
    q, k, v = (torch.randn(2, 3, 5, 8, requires_grad=True) for _ in range(3))
    for _ in range(5):
        torch.manual_seed(0)
        F.scaled_dot_product_attention(q, k, v, dropout_p=0.5).sum().backward()
    states = node.module.status(ScaledDotProductAttention)
    assert [(state, backwards) for _, state, backwards, *_ in states] == [("ready", ["ready"])]
