"""The C kernels of indexed.c against the formulas: Embedding's to the last bit, NLLLoss's to a rounding or two."""

from __future__ import annotations

import ctypes
import itertools
from collections.abc import Iterator
from typing import Any

import pytest
import torch
from torch import Tensor

import manual_backprop as mb
from manual_backprop.engine.rule import KERNELS
from manual_backprop.engine.terms import in_opmath
from manual_backprop.kernels import memory, native
from manual_backprop.rules import Embedding, NLLLoss

from .test_native import calls

WORDS = {torch.float32: torch.int32, torch.float64: torch.int64, torch.bfloat16: torch.int16}
DTYPES = pytest.mark.parametrize("dtype", native.REAL)
THREADS = pytest.mark.parametrize("threads", [1, 2])

embedding, nll_loss = Embedding.grad_weight, NLLLoss.delta_input
"""The formulas, also where a test notes what they are asked for."""


@pytest.fixture(autouse=True)
def caches_as_they_are(c_kernels: None) -> Iterator[None]:
    yield
    native.library().know_cache(ctypes.c_int64(memory.largest_cache()))


@pytest.fixture(params=[0, 2**62], ids=["around", "through"])
def cache(request: pytest.FixtureRequest) -> None:
    """Whether results go around the caches: these hold nothing, or everything."""
    native.library().know_cache(ctypes.c_int64(request.param))


def same_bits(found: Tensor, expected: Tensor) -> None:
    assert (found.dtype, found.shape, found.stride()) == (expected.dtype, expected.shape, expected.stride())
    assert torch.equal(found.view(WORDS[found.dtype]), expected.view(WORDS[found.dtype]))


@DTYPES
@THREADS
@pytest.mark.usefixtures("cache")
@pytest.mark.parametrize(("rows", "n", "count"), [(1, 1, 5), (7, 3, 40), (300, 64, 90), (5, 700, 33), (600, 640, 200)])
def test_embedding_bit_for_bit(
    rows: int, n: int, count: int, threads: int, dtype: torch.dtype, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch, "get_num_threads", lambda: threads)
    names, index = calls(monkeypatch), torch.randint(rows, (count,))
    delta = torch.randn(count, n, dtype=dtype)
    delta.view(-1)[:3] = -0.0
    cases = list(itertools.product((index, index.int()), (-1, 0, rows - 1), (False, True)))
    for given, padding_idx, by_count in cases:
        facts = torch.Size([rows, n]), padding_idx, by_count, False
        same_bits(KERNELS[embedding](delta, given, *facts), in_opmath(embedding, delta, given, *facts))
    assert names == [f"embedding_grad_weight_{native.REAL[dtype]}"] * len(cases)


def test_embedding_of_any_shape_and_layout() -> None:
    facts = torch.Size([6, 4]), 2, False, False
    for shape in ((), (3,), (2, 5), (2, 3, 4)):
        index = torch.randint(6, shape)
        turned = torch.randn(4, *shape[::-1]).permute(*range(len(shape) + 1)[::-1])
        cut = torch.randn(*shape, 8)[..., ::2]
        for delta in (torch.randn(*shape, 4), turned, torch.randn(4).expand(*shape, 4), cut):
            same_bits(KERNELS[embedding](delta, index, *facts), embedding(delta, index, *facts))
    index = torch.randint(6, (5, 2)).T
    delta = torch.randn(2, 5, 4)
    same_bits(KERNELS[embedding](delta, index, *facts), embedding(delta, index, *facts))


def test_infinities_and_nan_stay_in_their_rows() -> None:
    delta = torch.tensor([[torch.inf, 1.0], [torch.nan, 2.0], [-torch.inf, 3.0], [5.0, 4.0]])
    found = KERNELS[embedding](delta, torch.tensor([1, 2, 1, 3]), torch.Size([5, 2]), 3, False, False)
    expected = torch.tensor([[0.0, 0.0], [torch.nan, 4.0], [torch.nan, 2.0], [0.0, 0.0], [0.0, 0.0]])
    assert torch.equal(found.nan_to_num(nan=7.0), expected.nan_to_num(nan=7.0))


def test_an_index_that_is_none_is_refused_as_by_the_formula() -> None:
    for index in (torch.tensor([0, 5]), torch.tensor([-1, 0])):
        with pytest.raises(RuntimeError, match="out of bounds"):
            KERNELS[embedding](torch.randn(2, 3), index, torch.Size([5, 3]), -1, False, False)


def near(found: Tensor, truth: Tensor) -> None:
    """Within half a unit in the last place, and two roundings of float32 or float64 more."""
    eps = torch.finfo(found.dtype).eps
    bound = (0.51 if found.dtype == torch.bfloat16 else 2) * eps * truth.abs()
    assert found.shape == truth.shape
    assert bool(((found.double() - truth).abs() <= bound).all())


@DTYPES
@THREADS
@pytest.mark.usefixtures("cache")
@pytest.mark.parametrize("shape", [(5,), (40, 10), (300, 128), (6, 640), (3, 5, 70), (2, 64, 8, 9)])
def test_nll_loss(shape: tuple[int, ...], threads: int, dtype: torch.dtype, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch, "get_num_threads", lambda: threads)
    names, classes = calls(monkeypatch), shape[min(len(shape) - 1, 1)]
    rows = shape[:1] * (len(shape) > 1) + shape[2:]
    labels = torch.randint(classes, rows)
    ignored = torch.where(torch.rand(rows) < 0.3, -100, labels)
    weights = torch.rand(classes).to(dtype)
    deltas = {"none": torch.randn(rows).to(dtype)} | dict.fromkeys(("mean", "sum"), torch.tensor(1.7, dtype=dtype))
    count = 0
    for (reduction, delta), (target, ignore_index), weight in itertools.product(
        deltas.items(), ((labels, -100), (ignored, -100), (labels, 1), (labels.to(torch.uint8), 1)), (None, weights)
    ):
        facts = ignore_index, reduction, torch.Size(shape)
        found = KERNELS[nll_loss](delta, target, weight, *facts)
        wide = None if weight is None else weight.double()
        truth = nll_loss(delta.double(), target, wide, *facts)
        near(found, truth)
        assert (found.dtype, found.stride()) == (dtype, truth.stride())
        count += 1
    assert names == [f"nll_loss_delta_input_{native.REAL[dtype]}"] * count
    with pytest.raises(AssertionError):
        near(found * (1 + 8 * torch.finfo(dtype).eps), truth)


def test_nll_loss_of_deltas_in_any_layout() -> None:
    target, shape = torch.randint(5, (3, 4)), torch.Size([3, 5, 4])
    for delta in (torch.randn(4, 3).T, torch.randn(1, 4).expand(3, 4), torch.randn(3, 8)[:, ::2]):
        found = KERNELS[nll_loss](delta, target.T.contiguous().T, None, -100, "none", shape)
        assert torch.equal(found, nll_loss(delta, target, None, -100, "none", shape))


def test_what_is_ignored_adds_nothing_even_to_nan() -> None:
    target, shape = torch.tensor([1, 0, 2]), torch.Size([3, 3])
    delta = torch.tensor([1.0, torch.nan, torch.inf])
    found = KERNELS[nll_loss](delta, target, None, 0, "none", shape)
    assert torch.equal(found, torch.tensor([[0.0, -1.0, 0.0], [0.0, 0.0, 0.0], [0.0, 0.0, -torch.inf]]))
    found = KERNELS[nll_loss](torch.tensor(1.0), torch.zeros(3, dtype=torch.int64), None, 0, "mean", shape)
    assert torch.equal(found, torch.zeros(3, 3))  # a mean over no row


@pytest.mark.parametrize("label", [3, -1])
def test_a_label_out_of_range_is_refused_as_before(label: int) -> None:
    with pytest.raises(IndexError, match="out of bounds"):
        mb.functional.nll_loss(torch.randn(2, 3, requires_grad=True), torch.tensor([0, label]))


def test_what_the_kernels_do_not_take_goes_to_the_formulas(monkeypatch: pytest.MonkeyPatch) -> None:
    names, index = calls(monkeypatch), torch.tensor([1, 0, 1])
    looked_up = torch.randn(3, 4)
    cases: list[tuple[Any, tuple]] = [
        (embedding, (looked_up.half(), index, torch.Size([2, 4]), -1, False, False)),
        (embedding, (torch.randn(3, 0), index, torch.Size([2, 0]), -1, False, False)),
        (embedding, (torch.randn(0, 4), index[:0], torch.Size([2, 4]), -1, False, False)),
        (embedding, (looked_up, index, torch.Size([2, 4]), -1, False, True)),
        (nll_loss, (torch.tensor(1.0).half(), index, None, -100, "sum", torch.Size([3, 2]))),
        (nll_loss, (torch.tensor(1.0), index, torch.rand(2).double(), -100, "sum", torch.Size([3, 2]))),
        (nll_loss, (torch.tensor(1.0), index[:0], None, -100, "sum", torch.Size([0, 2]))),
        (nll_loss, (torch.tensor(1.0), torch.full((3,), -100), None, -100, "sum", torch.Size([3, 0]))),
    ]
    for formula, args in cases:
        found, expected = KERNELS[formula](*args), in_opmath(formula, *args)
        assert found.dtype == expected.dtype
        assert torch.equal(found.to_dense(), expected.to_dense())
    weight = torch.randn(5, 4, requires_grad=True)
    (grad,) = torch.autograd.grad(mb.functional.embedding(index, weight).square().sum(), weight, create_graph=True)
    assert grad.requires_grad
    found = torch.func.vmap(lambda d, i: KERNELS[embedding](d, i, torch.Size([2, 4]), -1, False, False))(
        looked_up.unsqueeze(1), index.unsqueeze(1)
    )
    assert torch.equal(found[1], torch.stack([looked_up[1], torch.zeros(4)]))
    assert names == []
