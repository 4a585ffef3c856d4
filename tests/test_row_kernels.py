"""The C kernels of rows.c against their formulas in float64: no less exact than ATen, and aside where they must be."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

import manual_backprop as mb
from manual_backprop.engine.rule import KERNELS
from manual_backprop.kernels import rows
from manual_backprop.rules import (
    CrossEntropyLoss,
    GroupNorm,
    LayerNorm,
    LogSoftmax,
    PReLU,
    RMSNorm,
    Softmax,
    Softmin,
)  # fmt: skip

from .test_native import calls

EPS = {dtype: torch.finfo(dtype).eps for dtype in rows.REAL}
ROUNDINGS = 60  # seen: 35, in sums of 1,200 x̂ that cancel; 12 elsewhere
INF, NAN = float("inf"), float("nan")
DTYPES = pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
THREADS = pytest.mark.parametrize("threads", [1, 2])


pytestmark = pytest.mark.usefixtures("c_kernels")


def double(value: Any) -> Any:
    return value.double() if isinstance(value, Tensor) and value.is_floating_point() else value


def kinds(shape: tuple[int, ...], dtype: torch.dtype) -> list[Tensor]:
    """Deltas as they may come: dense, one number for all, sliced, transposed."""
    wide = torch.randn(*shape[:-1], 2 * shape[-1], dtype=dtype)
    turned = torch.randn(shape[::-1], dtype=dtype).permute(*range(len(shape))[::-1])
    return [torch.randn(shape, dtype=dtype), torch.tensor(1.5, dtype=dtype).expand(shape), wide[..., ::2], turned]


def exact(formula: Callable[..., Any], *args: Any, atens: Any = None, scale: float = 0.0) -> None:
    """The kernel's results within some roundings of the formula's in float64, of its dtype and shape; nothing written
    into what it was given. `atens`: also as close to the truth as ATen's float32, within a quarter and one rounding.
    Roundings of the largest, or of `scale`, the size of terms that may cancel."""
    dtype = args[0].dtype
    before = [arg.clone() if isinstance(arg, Tensor) else arg for arg in args]
    found, expected = KERNELS[formula](*args), formula(*map(double, args))
    for one, other in zip(args, before, strict=True):
        if isinstance(one, Tensor):
            torch.testing.assert_close(one, other, rtol=0, atol=0, equal_nan=True)
    if isinstance(found, Tensor):
        found, expected, atens = (found,), (expected,), None if atens is None else (atens,)
    for k, (ours, truth) in enumerate(zip(found, expected, strict=True)):
        assert (ours is None) == (truth is None)
        if ours is None:
            continue
        assert ours.dtype == dtype
        assert ours.shape == truth.shape
        size = EPS[dtype] * max(float(truth.abs().max()), scale)
        error = float((ours.double() - truth).abs().max())
        assert error <= ROUNDINGS * size
        if atens is not None and dtype == torch.float32:
            assert error <= 1.25 * float((atens[k].double() - truth).abs().max()) + size


NORMS = [
    ((32, 64), 1),
    ((1, 1), 1),
    ((5, 3, 7), 2),
    ((700, 33), 1),
    ((3, 50001), 1),
    ((2, 3, 4, 5), 3),
    ((300, 300), 1),
]


def term(delta: Tensor, invstd: Tensor, weight: Tensor | None) -> float:
    """The size of the terms of a normalization's delta_input, which cancel where deltas are all alike."""
    return float(delta.abs().max() * invstd.max() * (1 if weight is None else weight.abs().max()))


def norm_arguments(shape: tuple[int, ...], axes: int, dtype: torch.dtype) -> tuple[Tensor, torch.Size, Tensor]:
    return torch.randn(shape, dtype=dtype) * 3 + 1, torch.Size(shape[-axes:]), torch.randn(shape[-axes:], dtype=dtype)


@THREADS
@DTYPES
@pytest.mark.parametrize(("shape", "axes"), NORMS)
def test_layer_norm(shape: Any, axes: int, dtype: torch.dtype, threads: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch, "get_num_threads", lambda: threads)
    names = calls(monkeypatch)
    input, normalized, weight = norm_arguments(shape, axes, dtype)
    _, mean, invstd = torch.native_layer_norm(input, normalized, None, None, 1e-5)
    for delta, w in itertools.product(kinds(shape, dtype), (weight, None)):
        leaves = [v.clone().requires_grad_() for v in (input, weight if w is not None else torch.ones_like(weight))]
        bias = torch.zeros_like(weight, requires_grad=True)
        output = F.layer_norm(leaves[0], normalized, leaves[1], bias)
        atens = torch.autograd.grad(output, [*leaves, bias], delta)
        size = term(delta, invstd, w)
        known = atens if w is not None else None
        every = (True, True, True)
        exact(LayerNorm.derivatives, delta, input, w, mean, invstd, normalized, every, atens=known, scale=size)
    for needs in itertools.product((True, False), repeat=3):
        exact(LayerNorm.derivatives, delta, input, weight, mean, invstd, normalized, needs, scale=size)
    assert names == [f"norm_derivatives_{rows.REAL[dtype]}"] * (8 + 6)


@THREADS
@DTYPES
@pytest.mark.parametrize(("shape", "axes"), NORMS)
def test_rms_norm(shape: Any, axes: int, dtype: torch.dtype, threads: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch, "get_num_threads", lambda: threads)
    monkeypatch.setattr(rows, "WORTHWHILE", 0)
    names = calls(monkeypatch)
    input, normalized, weight = norm_arguments(shape, axes, dtype)
    for eps in (None, 1e-3):
        exact(RMSNorm.invrms, input, normalized, eps if eps else EPS[dtype])
        exact(RMSNorm.normalized, input, normalized, weight, eps if eps else EPS[dtype])
        assert torch.equal(
            KERNELS[RMSNorm.invrms](input, normalized, None), KERNELS[RMSNorm.invrms](input, normalized, EPS[dtype])
        )
    invrms = RMSNorm.invrms(input, normalized, 1e-5)
    for delta, w in itertools.product(kinds(shape, dtype), (weight, None)):
        for needs in ((True, True), (True, False), (False, True)):
            exact(RMSNorm.derivatives, delta, input, w, normalized, 1e-5, needs, scale=term(delta, invrms, w))
    assert set(names) == {f"rms_norm_{rows.REAL[dtype]}", f"norm_derivatives_{rows.REAL[dtype]}"}
    assert len(names) == 2 * 4 + 8 * 3 * 2


@THREADS
@DTYPES
@pytest.mark.parametrize(("shape", "groups"), [((4, 6, 5, 5), 3), ((2, 4), 2), ((3, 8, 1000), 1), ((40, 32, 30), 32)])
def test_group_norm(shape: Any, groups: int, dtype: torch.dtype, threads: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch, "get_num_threads", lambda: threads)
    names = calls(monkeypatch)
    input, weight = torch.randn(shape, dtype=dtype) * 3 + 1, torch.randn(shape[1], dtype=dtype)
    _, mean, invstd = GroupNorm.forward(input, groups, None, None, 1e-5)
    leaves = [
        input.clone().requires_grad_(),
        weight.clone().requires_grad_(),
        torch.zeros_like(weight).requires_grad_(),
    ]
    for delta in kinds(shape, dtype):
        atens = torch.autograd.grad(F.group_norm(leaves[0], groups, *leaves[1:]), leaves, delta)
        size, every = term(delta, invstd, weight), (True, True, True)
        exact(GroupNorm.derivatives, delta, input, weight, mean, invstd, every, atens=atens, scale=size)
        exact(GroupNorm.derivatives, delta, input, None, mean, invstd, (True, False, False), scale=size)
    for needs in itertools.product((True, False), repeat=3):
        exact(GroupNorm.derivatives, delta, input, weight, mean, invstd, needs, scale=size)
    assert names == [f"group_norm_derivatives_{rows.REAL[dtype]}"] * (8 + 6)


SOFTMAXES = {
    Softmax: ("softmax_delta_input", lambda x, dim: x.softmax(dim)),
    Softmin: ("softmax_delta_input", lambda x, dim: (-x).softmax(dim)),
    LogSoftmax: ("log_softmax_delta_input", lambda x, dim: x.log_softmax(dim)),
}


@THREADS
@DTYPES
@pytest.mark.parametrize("rule", SOFTMAXES, ids=lambda rule: rule.__name__)
@pytest.mark.parametrize("shape", [(128, 10), (3, 5, 7), (1,), (6, 1), (2, 5001), (400, 100)])
def test_softmax(shape: Any, rule: Any, dtype: torch.dtype, threads: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch, "get_num_threads", lambda: threads)
    names = calls(monkeypatch)
    name, forward = SOFTMAXES[rule]
    input = (torch.randn(shape, dtype=dtype) * 5).requires_grad_()
    output = forward(input, -1)
    for delta in kinds(shape, dtype):
        (atens,) = torch.autograd.grad(output, input, delta, retain_graph=True)
        for dim in (-1, len(shape) - 1):
            # of LogSoftmax: a sum of n deltas, which may cancel
            size = float(delta.abs().max()) * (shape[-1] ** 0.5 if rule is LogSoftmax else 1)
            exact(rule.delta_input, delta, output.detach(), dim, atens=atens, scale=size)
    assert names == [f"{name}_{rows.REAL[dtype]}"] * 8


CROSS_ENTROPIES = [(10,), (128, 10), (7, 33, 5), (3, 4, 20, 60), (1, 1), (5, 5001), (300, 300)]


@THREADS
@DTYPES
@pytest.mark.parametrize("smoothing", [0.0, 0.1])
@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("shape", CROSS_ENTROPIES)
def test_cross_entropy(
    shape: Any, weighted: bool, smoothing: float, dtype: torch.dtype, threads: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch, "get_num_threads", lambda: threads)
    names = calls(monkeypatch)
    axis = 0 if len(shape) == 1 else 1
    input = (torch.randn(shape, dtype=dtype) * 4).requires_grad_()
    weight = torch.rand(shape[axis], dtype=dtype) if weighted else None
    lone = (*shape[:axis], *shape[axis + 1 :])
    labels = torch.randint(min(200, shape[axis]), lone)
    for reduction, ignored in itertools.product(("none", "mean", "sum"), (-100, 0)):
        target = labels if ignored == 0 else torch.where(torch.rand(lone) < 0.3, ignored, labels)
        deltas = kinds(lone, dtype) if reduction == "none" and lone else [torch.randn((), dtype=dtype)]
        options = {"weight": weight, "ignore_index": ignored, "reduction": reduction, "label_smoothing": smoothing}
        loss = F.cross_entropy(input, target, **options)
        for delta, t in itertools.product(deltas, (target, target.to(torch.uint8)) if ignored == 0 else (target,)):
            (atens,) = torch.autograd.grad(loss, input, delta, retain_graph=True)
            facts = input.detach().log_softmax(axis), t, weight, ignored, reduction, smoothing
            size = float(delta.abs().max())
            exact(CrossEntropyLoss.delta_input, delta, *facts, atens=atens.nan_to_num(0), scale=size)
    assert set(names) == {f"cross_entropy_delta_input_{rows.REAL[dtype]}"}


def test_cross_entropy_where_every_row_is_ignored() -> None:
    x = torch.randn(4, 5, requires_grad=True)
    for reduction, smoothing in itertools.product(("mean", "sum"), (0.0, 0.1)):
        loss = mb.functional.cross_entropy(x, torch.full((4,), -100), reduction=reduction, label_smoothing=smoothing)
        (found,) = torch.autograd.grad(loss, x)
        assert torch.equal(found, torch.zeros(4, 5))


@DTYPES
@pytest.mark.parametrize(
    "row",
    [
        [INF, 0.0, 1.0], [-INF, 0.0, 1.0], [-INF, -INF, -INF], [NAN, 0.0, 1.0], [1e4, -1e4, 0.0], [1e30, 1e30, 0.0],
        [-INF, -INF, 3.0], [90.0, -90.0, -104.0], [-0.0, 0.0, -750.0],
    ],
)  # fmt: skip
def test_special_values(row: list[float], dtype: torch.dtype, monkeypatch: pytest.MonkeyPatch) -> None:
    names = calls(monkeypatch)
    x = torch.tensor([row, [0.5, -0.5, 0.25]], dtype=dtype)
    for label, weight, smoothing in itertools.product(range(3), (None, torch.tensor([1.0, 0.0, 2.0])), (0.0, 0.1)):
        target, weight = torch.tensor([label, 1]), None if weight is None else weight.to(dtype)
        found, expected = (leaf(x), leaf(x))
        for leaves, f in ((found, mb.functional.cross_entropy), (expected, F.cross_entropy)):
            f(leaves, target, weight, label_smoothing=smoothing, reduction="sum").backward()
        torch.testing.assert_close(found.grad, expected.grad, rtol=1e-6, atol=1e-7, equal_nan=True)
    for f, twin in ((mb.functional.softmax, F.softmax), (mb.functional.log_softmax, F.log_softmax)):
        for special in (0.5, 0.0, INF, NAN, -1e30):
            delta = torch.tensor([[special, 1.0, -2.0], [1.0, 2.0, 3.0]], dtype=dtype)
            grads = [torch.autograd.grad(g(v, -1), v, delta)[0] for g in (f, twin) for v in [leaf(x)]]
            torch.testing.assert_close(*grads, rtol=1e-6, atol=1e-7, equal_nan=True)
    assert len(names) == 12 + 10


def leaf(x: Tensor) -> Tensor:
    return x.clone().requires_grad_()


@DTYPES
def test_the_exponential_of_every_size(dtype: torch.dtype) -> None:
    """The kernel's e^x by itself: delta - e^y sum of delta with a delta of 0 at y and -1 beside it."""
    lowest, highest = (-110, 88) if dtype == torch.float32 else (-760, 709)
    exponents = torch.cat([torch.linspace(lowest, highest, 2**20, dtype=dtype), torch.randn(2**20, dtype=dtype)])
    exponents = torch.cat([exponents, torch.tensor([0.0, -0.0, 1e30, INF, -INF, NAN], dtype=dtype)])
    output = torch.stack([exponents, torch.zeros_like(exponents)], 1)
    delta = torch.tensor([0.0, -1.0], dtype=dtype).expand_as(output)
    wide = torch.cat([output] * 9, 1)  # as vectors, too
    found = KERNELS[LogSoftmax.delta_input](torch.nn.functional.pad(delta, (0, 16)), wide, -1)
    expected = exponents.exp()
    # ATen's own lies within one rounding of the truth; below the normal numbers there is 0
    for column in (found[:, 0], found[:, 16], KERNELS[LogSoftmax.delta_input](delta, output, -1)[:, 0]):
        torch.testing.assert_close(column, expected, rtol=2 * EPS[dtype], atol=torch.finfo(dtype).tiny, equal_nan=True)


LAYERS: list[tuple[Callable[[], Any], tuple[int, ...]]] = [
    (lambda: mb.nn.LayerNorm(6), (0, 6)),
    (lambda: mb.nn.RMSNorm(6), (0, 6)),
    (lambda: mb.nn.GroupNorm(2, 6), (0, 6, 3)),
    (lambda: mb.nn.Softmax(-1), (0, 6)),
    (lambda: mb.nn.LogSoftmax(-1), (0, 6)),
]


@pytest.mark.parametrize(("make", "shape"), LAYERS)
def test_what_the_kernels_do_not_take_goes_to_the_formula(
    make: Any, shape: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    names, layer = calls(monkeypatch), make()
    layer(torch.randn(shape, requires_grad=True)).sum().backward()
    full = (4, *shape[1:])
    x = torch.randn(full, requires_grad=True)
    (grad,) = torch.autograd.grad(layer(x).square().sum(), x, create_graph=True)
    assert grad.requires_grad
    torch.func.vmap(torch.func.grad(lambda v: layer(v).square().sum()))(torch.randn(3, *full))
    with mb.backend("formula"):
        layer(x).square().sum().backward()
    assert names == []
    layer(x).square().sum().backward()
    assert len(names) in (1, 2)


@THREADS
@DTYPES
@pytest.mark.parametrize(("shape", "dim"), [((4, 6), 0), ((3, 5, 70), 1), ((2, 300, 129), -2), ((2, 3, 4, 5), 0)])
def test_softmax_along_another_axis(
    shape: Any, dim: int, dtype: torch.dtype, threads: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch, "get_num_threads", lambda: threads)
    names = calls(monkeypatch)
    x = torch.randn(shape, dtype=dtype)
    for delta in kinds(shape, dtype):
        for rule, output in ((Softmax, x.softmax(dim)), (Softmin, x.softmax(dim)), (LogSoftmax, x.log_softmax(dim))):
            exact(rule.delta_input, delta, output, dim, scale=float(delta.abs().max()))  # alike, they cancel
    assert names == [f"softmax_delta_input_across_{rows.REAL[dtype]}"] * 12


@THREADS
@pytest.mark.parametrize("dtype", rows.REAL)
@pytest.mark.parametrize(("shape", "weights"), [((7,), 1), ((50, 33), 1), ((3, 4, 9000), 4), ((2, 3, 5, 7), 3)])
def test_prelu(shape: Any, weights: int, dtype: torch.dtype, threads: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch, "get_num_threads", lambda: threads)
    names, x, weight = calls(monkeypatch), torch.randn(shape, dtype=dtype), torch.randn(weights, dtype=dtype)
    x.view(-1)[:4] = torch.tensor([0.0, -0.0, INF, 1.0], dtype=dtype)
    for delta in kinds(shape, dtype):
        scale = float(delta.abs().max()) * x.numel() ** 0.5  # of the terms of the sum, which cancel
        delta_input, grad_weight = KERNELS[PReLU.derivatives](delta, x, weight, (True, True))
        assert torch.equal(delta_input, PReLU.delta_input(delta, x, weight))
        truth = PReLU.grad_weight(delta.double(), x.double(), weight.double())
        assert float((grad_weight - truth).abs().max()) <= ROUNDINGS * EPS[dtype] * scale
    assert names == [f"prelu_derivatives_{rows.REAL[dtype]}"] * 4
    x.view(-1)[0] = NAN
    found = KERNELS[PReLU.derivatives](delta, x, weight, (True, True))
    assert torch.equal(found[1].isnan(), PReLU.grad_weight(delta, x, weight).isnan())


def test_prelu_that_goes_to_the_formula(monkeypatch: pytest.MonkeyPatch) -> None:
    """A weight for each of the numbers that lie next to each other, channels last."""
    names = calls(monkeypatch)
    last = torch.randn(2, 3, 4, 5).to(memory_format=torch.channels_last)
    for x in (torch.randn(5, 3), last):
        arguments = torch.randn_like(x), x, torch.randn(3), (True, True)
        assert all(map(torch.equal, KERNELS[PReLU.derivatives](*arguments), PReLU.derivatives(*arguments)))
    assert names == []


def test_softmax_of_rows_apart(monkeypatch: pytest.MonkeyPatch) -> None:
    names = calls(monkeypatch)
    delta = torch.randn(4, 6)
    apart = torch.randn(4, 12).softmax(-1)[:, ::2]
    assert torch.equal(KERNELS[Softmax.delta_input](delta, apart, 1), Softmax.delta_input(delta, apart, 1))
    assert names == []


def test_every_run_gives_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch, "get_num_threads", lambda: 2)
    input, shape, weight = norm_arguments((5000, 48), 1, torch.float32)
    _, mean, invstd = torch.native_layer_norm(input, shape, None, None, 1e-5)
    arguments = torch.randn_like(input), input, weight, mean, invstd, shape, (True, True, True)
    first = KERNELS[LayerNorm.derivatives](*arguments)
    for _ in range(5):
        assert all(map(torch.equal, first, KERNELS[LayerNorm.derivatives](*arguments)))
