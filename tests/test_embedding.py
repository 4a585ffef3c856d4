"""What the rows of the suite cannot say of Embedding: sparse gradients, renormalization, errors."""

from __future__ import annotations

import copy

import pytest
import torch

import manual_backprop as mb


def pair(**options: object) -> tuple[torch.nn.Module, torch.nn.Module]:
    torch.manual_seed(0)
    twin = torch.nn.Embedding(6, 3, **options)  # type: ignore[arg-type]
    return mb.convert(copy.deepcopy(twin)), twin


PLACES = torch.tensor([[0, 2, 2], [5, 1, 2]])


@pytest.mark.parametrize("padding_idx", [None, 2])
def test_sparse_gradients(padding_idx: int | None) -> None:
    grads = []
    for layer in pair(sparse=True, padding_idx=padding_idx):
        layer(PLACES).square().sum().backward()
        assert layer.weight.grad.layout == torch.sparse_coo
        torch.optim.SparseAdam(layer.parameters(), lr=0.1).step()
        grads.append((layer.weight.grad.to_dense(), layer.weight))
    assert torch.equal(grads[0][0], grads[1][0])
    assert torch.equal(grads[0][1], grads[1][1])


@pytest.mark.parametrize("norm_type", [1.0, 2.0])
def test_rows_are_renormalized_in_place(norm_type: float) -> None:
    ours, twin = pair(max_norm=0.5, norm_type=norm_type)
    before = ours.weight.detach().clone()
    for layer in (ours, twin):
        layer(PLACES).square().sum().backward()
    assert torch.equal(ours.weight, twin.weight)
    assert torch.equal(ours.weight.grad, twin.weight.grad)
    assert torch.equal(ours.weight[3], before[3])
    assert ours.weight[PLACES].norm(norm_type, -1).max() <= 0.5001  # its own rounding


def test_from_pretrained_stays_frozen() -> None:
    layer = mb.nn.Embedding.from_pretrained(torch.ones(4, 2))
    assert type(layer) is mb.nn.Embedding
    assert not layer(torch.tensor([1])).requires_grad


def test_errors() -> None:
    weight = torch.ones(4, 2, requires_grad=True)
    with pytest.raises(IndexError, match="the indices go from 0 to 7: the 4 rows are 0 to 3"):
        mb.functional.embedding(torch.tensor([0, 7]), weight)
    with pytest.raises(AssertionError, match="got 4 for 4 rows"):
        mb.functional.embedding(torch.tensor([0]), weight, padding_idx=4)
    with pytest.raises(RuntimeError, match="scale_grad_by_freq not supported with sparse"):
        mb.functional.embedding(torch.tensor([0]), weight, scale_grad_by_freq=True, sparse=True)
