"""Losses with a margin, of likelihoods and of distances: what rows of cases do not ask."""

from __future__ import annotations

import warnings
from typing import Any

import pytest
import torch
from torch import Tensor

import manual_backprop as mb
from manual_backprop._nodes import is_view
from manual_backprop._observe import graph

F, theirs = mb.functional, torch.nn.functional


def leaf(*shape: int) -> Tensor:
    generator = torch.Generator().manual_seed(len(shape))
    return torch.randn(shape, generator=generator, dtype=torch.float64).requires_grad_()


SIGNS = torch.tensor([[1.0, -1.0, 1.0], [-1.0, 1.0, 1.0]], dtype=torch.float64)
CALLS: dict[str, tuple[Any, ...]] = {
    "soft_margin_loss": (leaf(2, 3), SIGNS),
    "margin_ranking_loss": (leaf(2, 3), leaf(3, 3)[1:].detach(), SIGNS),  # not equal: older torch differs at the kink
    "hinge_embedding_loss": (leaf(2, 3), SIGNS),
    "triplet_margin_loss": (leaf(2, 3), leaf(2, 3), SIGNS),
    "multi_margin_loss": (leaf(2, 3), torch.tensor([1, 2])),
    "multilabel_margin_loss": (leaf(2, 3), torch.tensor([[1, -1, 0], [0, 2, -1]])),
    "multilabel_soft_margin_loss": (leaf(2, 3), SIGNS.clamp(min=0)),
    "cosine_embedding_loss": (leaf(2, 3), SIGNS, torch.tensor([1.0, -1.0])),
    "poisson_nll_loss": (leaf(2, 3), SIGNS.abs()),
}


def values(function: Any, args: tuple, options: dict[str, Any]) -> list[Tensor]:
    fresh = [a.detach().clone().requires_grad_(a.requires_grad) for a in args]
    loss = function(*fresh, **options)
    loss.sum().backward()
    return [loss.detach(), *[a.grad for a in fresh if a.requires_grad]]


@pytest.mark.parametrize("size_average", [None, True, False])
@pytest.mark.parametrize("reduce", [None, True, False])
@pytest.mark.parametrize("name", CALLS)
def test_deprecated_arguments(name: str, size_average: bool | None, reduce: bool | None) -> None:
    options = {"size_average": size_average, "reduce": reduce}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        expected = values(getattr(theirs, name), CALLS[name], options)
        found = values(getattr(F, name), CALLS[name], options)
    torch.testing.assert_close(found, expected, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("name", [*CALLS, "gaussian_nll_loss"])
def test_an_unknown_reduction_is_refused(name: str) -> None:
    args = CALLS.get(name, (leaf(2, 3), leaf(2, 3), SIGNS.abs()))
    with pytest.raises(ValueError, match="valid"):
        getattr(F, name)(*args, reduction="median")


@pytest.mark.parametrize(
    ("call", "error", "words"),
    [
        (lambda: F.margin_ranking_loss(leaf(2, 3), leaf(3), SIGNS), RuntimeError, "same dimension"),
        (lambda: F.triplet_margin_loss(leaf(2, 3), leaf(2, 3), leaf(2, 3), margin=0.0), ValueError, "margin"),
        (lambda: F.triplet_margin_loss(leaf(2, 3), leaf(3), leaf(2, 3)), RuntimeError, "number of dimensions"),
        (
            lambda: F.triplet_margin_with_distance_loss(leaf(2, 3), leaf(2, 3), leaf(2, 3), reduction="max"),
            ValueError,
            "max",
        ),
        (lambda: F.multi_margin_loss(leaf(2, 3), torch.tensor([0, 1]), p=3), ValueError, "p == 1 and p == 2"),
        (lambda: F.multi_margin_loss(leaf(2, 3), torch.tensor([0, 1]), weight=SIGNS), ValueError, "one-dimensional"),
        (
            lambda: F.multi_margin_loss(leaf(2, 3), torch.tensor([0, 1]), weight=leaf(3)),
            RuntimeError,
            "not differentiable with respect to argument 'weight'",
        ),
        (lambda: F.gaussian_nll_loss(leaf(2, 3), leaf(2, 3), -SIGNS.abs()), ValueError, "negative"),
        (lambda: F.gaussian_nll_loss(leaf(2, 3), leaf(2, 3), -1.0), ValueError, "negative"),
        (lambda: F.gaussian_nll_loss(leaf(2, 3), leaf(2, 3), SIGNS.abs()[:, :2]), ValueError, "incorrect size"),
        (lambda: F.embedding_bag(torch.ones(2, 3, dtype=torch.long), leaf(3)), ValueError, "2D"),
        (lambda: F.embedding_bag(torch.ones(2, dtype=torch.long), leaf(3, 3)), ValueError, "offsets"),
        (lambda: F.embedding_bag(torch.ones(2, 3, dtype=torch.long), leaf(3, 3), mode="min"), ValueError, "mode"),
        (
            lambda: F.embedding_bag(torch.ones(2, 3, dtype=torch.long), leaf(3, 3), padding_idx=3),
            RuntimeError,
            "padding_idx",
        ),
        (
            lambda: F.ctc_loss(leaf(4, 2, 3), torch.ones(2, 1, dtype=torch.long), torch.ones(2), [1, 1]),
            RuntimeError,
            "integral",
        ),
        (lambda: F.grouped_mm(leaf(4, 3), leaf(2, 3, 4)), RuntimeError, "offs"),
    ],
)
def test_what_is_refused(call: Any, error: type[Exception], words: str) -> None:
    with pytest.raises(error, match=words):
        call()


def test_a_distance_of_ones_own_runs_on_rules() -> None:
    x, positive, negative = leaf(2, 3), leaf(2, 3), SIGNS

    def distance(one: Tensor, other: Tensor) -> Tensor:
        return 1 - torch.nn.functional.cosine_similarity(one, other)

    loss = F.triplet_margin_with_distance_loss(x, positive, negative, distance_function=distance)
    assert all(mb.rule_of(node) is not None for node in graph([loss]) if not is_view(node))


def test_the_loss_of_a_count_of_zero_has_a_derivative() -> None:
    """torch's is NaN there, from a logarithm that it masks afterwards."""
    x, counts = leaf(3), torch.tensor([0.0, 0.5, 2.0], dtype=torch.float64, requires_grad=True)
    F.poisson_nll_loss(x, counts, full=True, reduction="sum").backward()
    assert counts.grad is not None
    torch.testing.assert_close(counts.grad[:2], -x.detach()[:2])


def test_a_variance_below_eps_has_second_derivatives() -> None:
    """As torch's, whose clamping of var counts as the identity."""
    x, y, var = leaf(4), leaf(4).detach() / 2, torch.tensor([0.1, 0.3, 0.5, 0.9], dtype=torch.float64)
    found = []
    for function in (F.gaussian_nll_loss, theirs.gaussian_nll_loss):
        v = var.clone().requires_grad_()
        first = torch.autograd.grad(function(x, y, v, eps=0.4), (x, v), create_graph=True)
        found.append(torch.autograd.grad([g.square().sum() for g in first], (x, v)))
    torch.testing.assert_close(*found)


@pytest.mark.parametrize("shape", [(0, 3), (1, 3), (4, 0)])
def test_distances_of_no_pairs_and_of_no_numbers(shape: tuple[int, int]) -> None:
    """Of which torch's backward ends the process."""
    x = leaf(*shape)
    distances = F.pdist(x)
    assert distances.shape == (shape[0] * (shape[0] - 1) // 2,)
    distances.sum().backward()
    assert x.grad is not None
    assert not x.grad.any()


def test_a_sparse_gradient_of_bags() -> None:
    bags = torch.tensor([[1, 2, 2], [0, 1, 4]])
    for mode in ("sum", "mean"):
        dense, sparse = leaf(5, 3), leaf(5, 3)
        F.embedding_bag(bags, dense, mode=mode, padding_idx=1).pow(2).sum().backward()
        F.embedding_bag(bags, sparse, mode=mode, padding_idx=1, sparse=True).pow(2).sum().backward()
        assert sparse.grad is not None
        assert sparse.grad.is_sparse
        torch.testing.assert_close(sparse.grad.to_dense(), dense.grad)


def test_torchs_operators_take_the_reduction_as_a_number() -> None:
    x, target = leaf(2, 3), torch.tensor([1, 2])
    with mb.explicit():
        losses = [
            torch.hinge_embedding_loss(x, SIGNS, 1.0, 2),
            torch.margin_ranking_loss(x, SIGNS, SIGNS, 0.0, 1),
            torch.triplet_margin_loss(x, SIGNS, 2 * SIGNS),
            torch.poisson_nll_loss(x, SIGNS.abs(), True, False, 1e-8, 0),
            torch.cosine_embedding_loss(x, SIGNS, torch.ones(2)),
            torch.kl_div(x, SIGNS.abs(), 2),
            torch.nn.functional.multi_margin_loss(x, target),
            torch.ctc_loss(leaf(4, 2, 3), torch.ones(2, 1, dtype=torch.long), [4, 4], [1, 1]),
        ]
    names = [mb.rule_of(loss.grad_fn).__name__ for loss in losses]
    assert names == [
        "HingeEmbeddingLoss", "MarginRankingLoss", "TripletMarginLoss", "PoissonNLLLoss", "CosineEmbeddingLoss",
        "KLDivLoss", "MultiMarginLoss", "CTCLoss",
    ]  # fmt: skip
