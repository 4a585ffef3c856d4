"""Kernels of losses of rows and of angles: the formulas' numbers; wrong labels are left to the formula."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor

from manual_backprop.kernels.registry import REGISTERED
from manual_backprop.rules import CosineEmbeddingLoss, CosineSimilarity, MultiLabelMarginLoss, MultiMarginLoss

REALS = (torch.float32, torch.float64)
SIZES = ((1, 1), (7, 3), (33, 15), (20, 16), (9, 1100))
"""Rows of a few numbers, of vectors, of several blocks."""


def found(formula: Callable[..., Any], *arguments: Any) -> Any:
    (kernel,) = [kernels["cpu"].run for formulas, kernels in REGISTERED.items() if formulas == (formula,)]
    return kernel(*arguments)


def compare(formula: Callable[..., Any], *arguments: Any) -> None:
    one, other = found(formula, *arguments), formula(*arguments)
    assert one is not NotImplemented
    rtol = (
        1e-12 if other.dtype == torch.float64 else 1e-4
    )  # sums of float32 in another order, differences of close ones
    torch.testing.assert_close(one, other, rtol=rtol, atol=rtol * float(other.abs().max()))


def deltas(rows: int, dtype: torch.dtype) -> list[tuple[Tensor, str]]:
    return [(torch.tensor(1.5, dtype=dtype), how) for how in ("mean", "sum")] + [
        (torch.randn(rows, dtype=dtype), "none")
    ]


@pytest.mark.parametrize("dtype", REALS)
@pytest.mark.parametrize(("rows", "n"), SIZES)
def test_multi_margin(rows: int, n: int, dtype: torch.dtype) -> None:
    torch.manual_seed(0)
    x, labels = torch.randn(rows, n, dtype=dtype), torch.randint(n, (rows,))
    for delta, reduction in deltas(rows, dtype):
        for p in (1, 2):
            for weight in (None, torch.rand(n, dtype=dtype)):
                compare(MultiMarginLoss.delta_input, delta, x, labels, p, 0.7, weight, reduction)
    compare(MultiMarginLoss.delta_input, delta, x.T.contiguous().T, labels, 2, 0.7, None, "none")
    assert found(MultiMarginLoss.delta_input, delta, x, labels + n, 1, 0.7, None, "none") is NotImplemented


@pytest.mark.parametrize("dtype", REALS)
@pytest.mark.parametrize(("rows", "n"), SIZES)
def test_multilabel_margin(rows: int, n: int, dtype: torch.dtype) -> None:
    torch.manual_seed(0)
    x = torch.randn(rows, n, dtype=dtype)
    labels = torch.stack([torch.randperm(n) for _ in range(rows)])
    labels[torch.rand(rows, n) < 0.3] = -1  # lists that end at once, and that never end
    for delta, reduction in deltas(rows, dtype):
        compare(MultiLabelMarginLoss.delta_input, delta, x, labels, reduction)
    compare(MultiLabelMarginLoss.delta_input, delta, x, labels.clamp(max=0), "none")  # a class that is listed twice
    labels[0, 0] = n
    assert found(MultiLabelMarginLoss.delta_input, delta, x, labels, "none") is NotImplemented


@pytest.mark.parametrize("dtype", REALS)
@pytest.mark.parametrize(("rows", "n"), SIZES[1:])
def test_cosines(rows: int, n: int, dtype: torch.dtype) -> None:
    torch.manual_seed(0)
    x1, x2 = torch.randn(rows, n, dtype=dtype), torch.randn(rows, n, dtype=dtype)
    x1[-1] = 0
    for formula in (CosineSimilarity.delta_x1, CosineSimilarity.delta_x2):
        for eps in (1e-8, 2.0):  # lengths below it and above
            compare(formula, torch.randn(rows, dtype=dtype), x1, x2, 1, eps)
    target = torch.tensor([1, -1, 0] * rows)[:rows]
    for formula in (CosineEmbeddingLoss.delta_input1, CosineEmbeddingLoss.delta_input2):
        for delta, reduction in deltas(rows, dtype):
            compare(formula, delta, x1 + 0.1, x2, target, 0.1, reduction)


@pytest.mark.parametrize("dtype", REALS)
def test_vectors_of_no_length_have_finite_deltas(dtype: torch.dtype) -> None:
    x1, x2 = torch.zeros(3, 4, dtype=dtype), torch.ones(3, 4, dtype=dtype)
    compare(CosineSimilarity.delta_x1, torch.ones(3, dtype=dtype), x1, x2, -1, 1e-8)
    compare(CosineEmbeddingLoss.delta_input1, torch.ones((), dtype=dtype), x1, x2, torch.ones(3), 0.0, "mean")


def test_other_layouts_are_left_to_the_formula() -> None:
    x1, x2 = torch.randn(3, 4, 5), torch.randn(3, 4, 5)
    assert found(CosineSimilarity.delta_x1, torch.randn(3, 5), x1, x2, 1, 1e-8) is NotImplemented
    assert found(CosineSimilarity.delta_x1, torch.randn(3, 4), x1, x2[:1], 2, 1e-8) is NotImplemented
    compare(CosineSimilarity.delta_x1, torch.randn(3, 4), x1, x2, 2, 1e-8)
