"""The forward kernels of softmax.c against the formulas in float64: no less exact than ATen, right at special ones."""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

import manual_backprop as mb
from manual_backprop.engine.rule import KERNELS
from manual_backprop.kernels import native, softmax
from manual_backprop.rules import CrossEntropyLoss, LogSoftmax, Softmax, Softmin

from .test_native import calls

INF, NAN = float("inf"), float("nan")
ANY = [torch.float32, torch.float64, torch.bfloat16]
SHAPES = [(128, 10), (3, 5, 7), (1,), (6, 1), (2, 5001), (400, 100)]


@pytest.fixture(autouse=True)
def at_any_size(c_kernels: None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(softmax, "WORTHWHILE", dict.fromkeys(ANY, 0))
    monkeypatch.setattr(softmax, "ACROSS_WORTHWHILE", dict.fromkeys(ANY, 0))
    monkeypatch.setattr(softmax, "SHORTEST", dict.fromkeys(ANY, 0))


def no_worse(found: Tensor, twin: Tensor, truth: Tensor | np.ndarray) -> None:
    """As close to the truth as ATen's, within a quarter and two roundings."""
    assert (found.dtype, found.shape, found.stride()) == (twin.dtype, twin.shape, twin.stride())
    exact = truth if isinstance(truth, np.ndarray) else truth.numpy().astype(np.longdouble)
    ours, theirs = (float(np.abs(v.double().numpy() - exact).max()) for v in (found, twin))
    assert ours <= 1.25 * theirs + 2 * torch.finfo(found.dtype).eps * float(np.abs(exact).max())


def exactly(rule: Any, x: Tensor, dim: int = -1) -> np.ndarray:
    """The formula in more than float64, whose own roundings would count as ours."""
    v = x.double().numpy().astype(np.longdouble) * (-1 if rule is Softmin else 1)
    v = v - v.max(dim, keepdims=True)
    total = np.exp(v).sum(dim, keepdims=True)
    return v - np.log(total) if rule is LogSoftmax else np.exp(v) / total


@pytest.mark.parametrize("threads", [1, 2])
@pytest.mark.parametrize("dtype", ANY)
@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("rule", [Softmax, Softmin, LogSoftmax], ids=lambda rule: rule.__name__)
def test_softmax(shape: Any, rule: Any, dtype: torch.dtype, threads: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch, "get_num_threads", lambda: threads)
    names, x = calls(monkeypatch), (torch.randn(shape) * 5 + 3).to(dtype)
    for dim in (-1, len(shape) - 1):
        no_worse(KERNELS[rule.output](x, dim, None), rule.output(x, dim, None), exactly(rule, x))
    assert len(names) == 2
    if shape[-1] > 1:  # softmax of one number is 1 however it is computed
        wrong = KERNELS[rule.output](x, -1, None) * (1 + 64 * torch.finfo(dtype).eps)
        with pytest.raises(AssertionError):
            no_worse(wrong, rule.output(x, -1, None), exactly(rule, x))


@pytest.mark.parametrize("threads", [1, 2])
@pytest.mark.parametrize("dtype", ANY)
@pytest.mark.parametrize(
    ("shape", "dim"), [((4, 6), 0), ((3, 5, 70), 1), ((2, 1200, 129), -2), ((2, 3, 4, 5), 0), ((2, 64, 8, 8), 1)]
)
@pytest.mark.parametrize("rule", [Softmax, Softmin, LogSoftmax], ids=lambda rule: rule.__name__)
def test_softmax_along_another_axis(
    shape: Any, dim: int, rule: Any, dtype: torch.dtype, threads: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch, "get_num_threads", lambda: threads)
    names, x = calls(monkeypatch), (torch.randn(shape) * 5 + 3).to(dtype)
    no_worse(KERNELS[rule.output](x, dim, None), rule.output(x, dim, None), exactly(rule, x, dim))
    assert names == [f"softmax_across_{native.REAL[dtype]}"]


@pytest.mark.parametrize("dtype", ANY[:2])
@pytest.mark.parametrize(
    "row",
    [
        [INF, 0.0, 1.0], [-INF, 0.0, 1.0], [-INF] * 3, [NAN, 0.0, 1.0], [1e4, -1e4, 0.0], [1e30, 1e30, 0.0],
        [-INF, -INF, 3.0], [0.0, -100.0, -103.0], [-0.0, 0.0, -740.0], [1e-40, 0.0, -1e-40],
    ],
)  # fmt: skip
def test_special_rows(row: list[float], dtype: torch.dtype, monkeypatch: pytest.MonkeyPatch) -> None:
    names = calls(monkeypatch)
    for x in (torch.tensor([row], dtype=dtype), torch.tensor([row * 9], dtype=dtype)):
        for rule in (Softmax, LogSoftmax):
            found, expected = KERNELS[rule.output](x, -1, None), rule.output(x, -1, None)
            # subnormal results: to within four of the smallest
            tiny = 4 * torch.finfo(dtype).smallest_normal * torch.finfo(dtype).eps
            rtol = 3e-6 if dtype == torch.float32 else 1e-14  # e^x far below 0 multiplies the rounding of x
            torch.testing.assert_close(found, expected, rtol=rtol, atol=tiny, equal_nan=True)
            columns = x.T.repeat(1, 70)
            found, expected = KERNELS[rule.output](columns, 0, None), rule.output(columns, 0, None)
            torch.testing.assert_close(found, expected, rtol=rtol, atol=tiny, equal_nan=True)
        for label, e in itertools.product(range(3), (0.0, 0.1)):
            facts = torch.tensor([label]), None, -100, "sum", e
            found, expected = (f(x, *facts)[0] for f in (KERNELS[CrossEntropyLoss.output], CrossEntropyLoss.output))
            torch.testing.assert_close(found, expected, rtol=1e-6, atol=1e-6, equal_nan=True)
    assert len(names) == 2 * (4 + 6)


@pytest.mark.parametrize("dtype", ANY)
@pytest.mark.parametrize("shape", [(128, 10), (5, 5001), (300, 300), (1, 1)])
@pytest.mark.parametrize("weighted", [False, True])
def test_cross_entropy(shape: Any, weighted: bool, dtype: torch.dtype, monkeypatch: pytest.MonkeyPatch) -> None:
    names = calls(monkeypatch)
    x, labels = (torch.randn(shape) * 4).to(dtype), torch.randint(shape[1], shape[:1])
    weight = torch.rand(shape[1]).to(dtype) if weighted else None
    for reduction, e, ignored in itertools.product(("none", "mean", "sum"), (0.0, 0.1), (-100, 0)):
        target = labels if ignored == 0 else torch.where(torch.rand(shape[:1]) < 0.3, ignored, labels)
        facts = ignored, reduction, e
        found = KERNELS[CrossEntropyLoss.output](x, target, weight, *facts)
        twin = CrossEntropyLoss.output(x, target, weight, *facts)
        wide = None if weight is None else weight.double()
        for ours, theirs, truth in zip(
            found, twin, CrossEntropyLoss.output(x.double(), target, wide, *facts), strict=True
        ):
            if not truth.isfinite().all():  # a mean over no row
                assert ours.isnan().all()
            elif dtype == torch.float64:  # ATen's is no truth there: both have some roundings
                torch.testing.assert_close(ours, truth, rtol=0, atol=8 * 2.0**-52 * float(truth.abs().max()))
            else:
                no_worse(ours, theirs, truth)
    assert len(names) == 12


def test_a_label_out_of_range_is_refused_as_before() -> None:
    with pytest.raises(IndexError, match="out of bounds"):
        mb.functional.cross_entropy(torch.randn(3, 4), torch.tensor([0, 4, -100]))


def test_other_axes_layouts_and_dtypes_go_to_the_formula(monkeypatch: pytest.MonkeyPatch) -> None:
    names, x = calls(monkeypatch), torch.randn(4, 6)
    long = torch.randn(softmax.LONGEST + 1, 2)
    for tensor, dim, dtype in (
        (long, 0, None), (x.T, 0, None), (x[:, ::2], -1, None), (x, -1, torch.float64), (x.half(), -1, None)
    ):  # fmt: skip
        assert torch.equal(mb.functional.softmax(tensor, dim, dtype=dtype), torch.softmax(tensor, dim, dtype=dtype))
    with mb.backend("formula"):
        mb.functional.softmax(x, -1)
    with pytest.raises(IndexError, match="out of range"):
        mb.functional.softmax(x, 2)
    assert names == []
