"""Embedding beyond the rows of the suite: sparse gradients, rows shortened in place, tables that exist, errors."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor

import manual_backprop as mb

WORDS = torch.tensor([[0, 1, 1], [4, 0, 1]])


def table() -> torch.Tensor:
    return torch.randn(5, 3, generator=torch.Generator().manual_seed(0), dtype=torch.float64)


@pytest.mark.parametrize("padding_idx", [None, 0, 1, -1])
def test_a_sparse_gradient_is_torchs_entry_by_entry(padding_idx: int | None) -> None:
    found = []
    for embedding in (mb.functional.embedding, torch.nn.functional.embedding):
        weight = table().requires_grad_()
        output = embedding(WORDS, weight, padding_idx, sparse=True)
        (output * output).sum().backward()
        found.append(weight.grad)
    ours, theirs = found
    assert ours is not None
    assert theirs is not None
    assert ours.is_sparse
    assert not ours.is_coalesced()
    assert torch.equal(ours._indices(), theirs._indices())
    assert torch.equal(ours._values(), theirs._values())


def test_a_sparse_gradient_can_be_differentiated_again() -> None:
    weight, delta = table().requires_grad_(), torch.ones(2, 3, 3, dtype=torch.float64, requires_grad=True)
    output = mb.functional.embedding(WORDS, weight, sparse=True)
    (first,) = torch.autograd.grad(output, weight, delta, create_graph=True)
    (second,) = torch.autograd.grad(first.to_dense().square().sum(), delta)
    assert torch.equal(second, 2 * first.to_dense().detach()[WORDS])


def test_training_with_sparse_gradients_takes_torchs_path() -> None:
    paths = []
    for nn in (mb.nn, torch.nn):
        layer = nn.Embedding.from_pretrained(table(), freeze=False, sparse=True, max_norm=1.2)
        optimizer = torch.optim.SparseAdam(list(layer.parameters()), lr=0.1)
        for _ in range(3):
            optimizer.zero_grad()
            layer(WORDS).square().sum().backward()
            optimizer.step()
        paths.append(layer.weight.detach())
    assert torch.equal(*paths)


def test_from_pretrained_is_ours_and_frozen() -> None:
    layer = mb.nn.Embedding.from_pretrained(table(), padding_idx=1)
    assert type(layer) is mb.nn.Embedding
    assert not layer.weight.requires_grad
    assert torch.equal(layer(WORDS), table()[WORDS])


def test_max_norm_shortens_the_rows_that_are_looked_up_and_no_others() -> None:
    weight = 10 * table()
    mb.functional.embedding(torch.tensor([1, 3]), weight, max_norm=1.0)
    assert [round(float(norm), 5) for norm in weight[[1, 3]].norm(dim=1)] == [1.0, 1.0]
    assert torch.equal(weight[[0, 2, 4]], 10 * table()[[0, 2, 4]])


def test_torch_embedding_in_explicit() -> None:
    weight = table().requires_grad_()
    with mb.explicit():
        nodes = [torch.embedding(weight, WORDS, 1).grad_fn, torch.nn.functional.embedding(WORDS, weight, 1).grad_fn]
    assert {type(node).__name__ for node in nodes} == {"EmbeddingBackward"}


def test_what_is_wrong_is_said() -> None:
    weight = table().requires_grad_()
    with pytest.raises(IndexError, match=r"(?s)Embedding.*indices range from 0 to 7, but the table has rows 0 to 4"):
        mb.functional.embedding(torch.tensor([0, 7]), weight)
    with pytest.raises(AssertionError, match="got 5 for a table of 5 rows"):
        mb.functional.embedding(WORDS, weight, 5)
    with pytest.raises(RuntimeError, match="scale_grad_by_freq is not supported with sparse"):
        mb.functional.embedding(WORDS, weight, scale_grad_by_freq=True, sparse=True)
    with pytest.raises(RuntimeError, match="Long, Int"):
        mb.functional.embedding(WORDS.double(), weight)


def test_a_second_derivative_is_divided_by_the_frequency_once() -> None:
    """As in torch: by the weight, and by the delta; also where many are asked at once."""

    def second_derivatives(embedding: Callable[..., Tensor]) -> list[Tensor]:
        def loss(weight: Tensor) -> Tensor:
            return (embedding(WORDS, weight, None, None, 2.0, True) ** 3).sum()

        weight, delta = table().requires_grad_(), torch.ones(2, 3, 3, dtype=torch.float64, requires_grad=True)
        (first,) = torch.autograd.grad(loss(weight), weight, create_graph=True)
        output = embedding(WORDS, weight, None, None, 2.0, True)
        (by_delta,) = torch.autograd.grad(output, weight, delta, create_graph=True)
        return [
            *torch.autograd.grad(first.square().sum(), weight, retain_graph=True),
            *torch.autograd.grad(by_delta.square().sum(), delta),
            torch.func.jacrev(torch.func.jacrev(loss))(table()),
            torch.func.hessian(loss)(table()),
            torch.autograd.functional.hessian(loss, table(), vectorize=True),
        ]

    functions = mb.functional.embedding, torch.nn.functional.embedding
    torch.testing.assert_close(*map(second_derivatives, functions), rtol=1e-14, atol=0)  # sums in another order


def test_many_deltas_at_once_by_frequency() -> None:
    results = []
    for functions in (mb.functional, torch.nn.functional):
        weight = table().requires_grad_()
        output = functions.embedding(WORDS, weight, scale_grad_by_freq=True)
        deltas = torch.stack([torch.ones_like(output), 2 * torch.ones_like(output)])
        results += torch.autograd.grad(output, weight, deltas, is_grads_batched=True, create_graph=True)
    assert torch.equal(*results)
