"""The Triton kernels against their formulas in float64.

On a GPU these are tests marked `gpu`. Without one they run interpreted, on the CPU, where TRITON_INTERPRET=1 was set
before Triton was imported: tests/test_triton.py does so in a process of its own, since the variable turns every kernel
of the process, also those of torch.compile, into slow numpy.
"""

from __future__ import annotations

import itertools
import math
import os
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

import manual_backprop as mb
from manual_backprop import rules
from manual_backprop.functional import attention
from manual_backprop.kernels import cuda, printer, registry
from tests.registered import put_back

INTERPRETED = os.environ.get("TRITON_INTERPRET") == "1"
DEVICE = "cpu" if INTERPRETED else "cuda"
if not INTERPRETED:
    pytestmark = pytest.mark.gpu

DTYPES = torch.float32, torch.bfloat16, torch.float16
# interpreted these take seconds: by default the 16 bits, which all kernels read and write in the same way, are left to
# softmax, cross entropy, max pooling, group norm and dropout
WIDE_FIRST = pytest.mark.parametrize(
    "dtype", [torch.float32, *(pytest.param(dtype, marks=pytest.mark.slow) for dtype in DTYPES[1:])]
)
EPS = {dtype: torch.finfo(dtype).eps for dtype in DTYPES}
ROUNDINGS = 40  # of float32, in sums of up to some thousand numbers; a result in 16 bits is rounded once more
INF, NAN = float("inf"), float("nan")


@pytest.fixture(autouse=True)
def launches(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The names of the kernels that run in a test."""
    names: list[str] = []
    torch.manual_seed(0)
    monkeypatch.setattr(cuda, "here", lambda tensor: INTERPRETED or tensor.is_cuda)
    monkeypatch.setattr(cuda._log, "warning", lambda text, *values: pytest.fail(text % values))
    for name in cuda.SERVED:
        module = cuda.module(name)
        run = module.launch

        def noted(kernel: Any, *args: Any, run: Any = run, **options: Any) -> None:
            names.append(kernel.__name__)
            run(kernel, *args, **options)

        monkeypatch.setattr(module, "launch", noted)
    return names


def kernel_of(formula: Callable[..., Any]) -> Callable[..., Any]:
    """The kernel, and where it does not serve what runs in its place, but for those in C."""
    return registry.chain(formula, ["cuda", "any"])


def randn(*shape: int, dtype: torch.dtype = torch.float32, scale: float = 1.0) -> Tensor:
    return (torch.randn(shape) * scale).to(dtype).to(DEVICE)


def double(value: Any) -> Any:
    return value.double() if isinstance(value, Tensor) and value.is_floating_point() else value


def kinds(shape: tuple[int, ...], dtype: torch.dtype) -> list[Tensor]:
    """Deltas as they may come: dense, one number for all, sliced, transposed."""
    wide = randn(*shape[:-1], 2 * shape[-1], dtype=dtype)
    turned = randn(*shape[::-1], dtype=dtype).permute(*range(len(shape))[::-1])
    return [randn(*shape, dtype=dtype), randn(dtype=dtype).expand(shape), wide[..., ::2], turned]


def exact(formula: Callable[..., Any], *args: Any, scale: float = 0.0, keeps: bool = True) -> None:
    """The kernel's results within some roundings of the formula's in float64; nothing written into what it was given.
    Roundings of the largest, or of `scale`, the size of terms that may cancel."""
    before = [arg.clone() if isinstance(arg, Tensor) else arg for arg in args]
    expected = formula(*map(double, args))
    found = kernel_of(formula)(*args)
    if keeps:
        for one, other in zip(args, before, strict=True):
            if isinstance(one, Tensor):
                torch.testing.assert_close(one, other, rtol=0, atol=0, equal_nan=True)
    if isinstance(found, Tensor):
        found, expected = (found,), (expected,)
    for ours, truth in zip(found, expected, strict=True):
        assert (ours is None) == (truth is None)
        if ours is not None:
            close(ours, truth, scale)


def close(found: Tensor, truth: Tensor, scale: float = 0.0) -> None:
    assert found.shape == truth.shape
    truth = truth.double()
    finite = truth[truth.isfinite()]
    largest = max(float(finite.abs().max()) if finite.numel() else 0.0, scale)
    atol = ROUNDINGS * EPS[torch.float32] * largest
    rtol = EPS[found.dtype] if found.dtype in (torch.bfloat16, torch.float16) else 0.0
    torch.testing.assert_close(found.double(), truth, rtol=rtol, atol=atol, equal_nan=True)


SOFTMAXES = {
    rules.Softmax: lambda x: x.softmax(-1),
    rules.Softmin: lambda x: (-x).softmax(-1),
    rules.LogSoftmax: lambda x: x.log_softmax(-1),
}


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("rule", SOFTMAXES, ids=lambda rule: rule.__name__)
@pytest.mark.parametrize("shape", [(300, 10), (3, 5, 7), (1,), (6, 1), (2, 2500)])
def test_softmax(rule: Any, shape: Any, dtype: torch.dtype, launches: list[str]) -> None:
    output = SOFTMAXES[rule](randn(*shape, scale=3)).to(dtype)
    for delta in kinds(shape, dtype):
        size = float(delta.abs().max()) * (shape[-1] ** 0.5 if rule is rules.LogSoftmax else 1)
        exact(rule.delta_input, delta, output, -1, scale=size)
    assert launches == ["_softmax_delta"] * 4


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("smoothing", [0.0, 0.1])
@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("shape", [(10,), (50, 10), (7, 33, 5), (1, 1), (3, 2500)])
def test_cross_entropy(shape: Any, weighted: bool, smoothing: float, dtype: torch.dtype, launches: list[str]) -> None:
    axis = 0 if len(shape) == 1 else 1
    logits = randn(*shape, dtype=dtype, scale=3)
    weight = torch.rand(shape[axis], device=DEVICE) if weighted else None
    lone = (*shape[:axis], *shape[axis + 1 :])
    labels = torch.randint(shape[axis], lone, device=DEVICE)
    target = torch.where(torch.rand(lone, device=DEVICE) < 0.3, -100, labels)
    for reduction in ("none", "mean", "sum"):
        delta = randn(*lone, dtype=dtype) if reduction == "none" else randn(dtype=dtype)
        log_probs = logits.float().log_softmax(axis)
        for t in (target, labels.to(torch.uint8)) if shape[axis] < 256 else (target,):
            facts = log_probs, t, weight, -100, reduction, smoothing
            exact(rules.CrossEntropyLoss.delta_input, delta, *facts, scale=float(delta.abs().max()))
        w = None if weight is None else weight.to(dtype)
        if smoothing:  # without, ATen's functions make two passes, as few
            exact(rules.CrossEntropyLoss.output, logits, target, w, -100, reduction, smoothing)
            assert launches[-1] == "_cross_entropy"
    assert set(launches) - {"_cross_entropy"} == {"_cross_entropy_delta"}
    if len(shape) == 2:
        del launches[:]
        facts = target, weight, -100, smoothing
        wide = torch.float32
        loss = cuda.kernel("rows", rules.LinearCrossEntropyLoss.losses)(logits, *facts, wide)
        close(
            loss, rules.LinearCrossEntropyLoss.losses(logits.double(), target, double(weight), *facts[2:], torch.double)
        )
        delta = randn(*lone)
        truth = rules.LinearCrossEntropyLoss.delta_logits(
            delta.double(), logits.double(), target, double(weight), *facts[2:], torch.double
        )
        found = cuda.kernel("rows", rules.LinearCrossEntropyLoss.delta_logits)(delta, logits, *facts, wide)
        assert found.data_ptr() == logits.data_ptr()
        close(found, truth, scale=float(delta.abs().max()))
        assert launches == ["_cross_entropy", "_cross_entropy_delta"]


def terms(delta: Tensor, invstd: Tensor, channels: int) -> float:
    """The size of what may cancel: terms of a delta_input, and sums of delta x̂ over the rows of a channel."""
    return float(delta.abs().max()) * max(4 * float(invstd.max()), (delta.numel() / channels) ** 0.5)


NORMS = [((32, 64), 1), ((1, 1), 1), ((5, 3, 7), 2), ((70, 33), 1), ((3, 5001), 1)]


@WIDE_FIRST
@pytest.mark.parametrize(("shape", "axes"), NORMS)
def test_norms_of_rows(shape: Any, axes: int, dtype: torch.dtype, launches: list[str]) -> None:
    input, normalized = randn(*shape, dtype=dtype, scale=3) + 1, torch.Size(shape[-axes:])
    weight = randn(*normalized)
    _, mean, invstd = torch.native_layer_norm(input.float(), normalized, None, None, 1e-5)
    for delta, w in itertools.product(kinds(shape, dtype), (weight, None)):
        size = terms(delta, invstd, normalized.numel())
        exact(rules.LayerNorm.derivatives, delta, input, w, mean, invstd, normalized, (True, True, True), scale=size)
        exact(rules.RMSNorm.derivatives, delta, input, w, normalized, 1e-5, (True, True), scale=size)
    for needs in itertools.product((True, False), repeat=3):
        exact(rules.LayerNorm.derivatives, delta, input, weight, mean, invstd, normalized, needs, scale=size)
    assert sorted(launches) == ["_norm_derivatives"] * (16 + 6) + ["_rms_norm"] * 8
    del launches[:]
    for eps in (1e-3, None):
        exact(rules.RMSNorm.invrms, input, normalized, eps or rules.RMSNorm.least(dtype))
        exact(rules.RMSNorm.normalized, input, normalized, weight.to(dtype), eps or rules.RMSNorm.least(dtype))
    assert launches == ["_rms_norm"] * 4
    assert torch.equal(
        kernel_of(rules.RMSNorm.invrms)(input, normalized, None),
        kernel_of(rules.RMSNorm.invrms)(input, normalized, rules.RMSNorm.least(dtype)),
    )


def added(summed: Tensor, input: Tensor, other: Tensor) -> None:
    """Equal to torch's own sum; the interpreter rounds to bfloat16 towards zero."""
    rough = INTERPRETED and summed.dtype == torch.bfloat16
    torch.testing.assert_close(summed, input + other, rtol=EPS[torch.bfloat16] if rough else 0, atol=0)


@WIDE_FIRST
@pytest.mark.parametrize(("shape", "axes"), NORMS)
def test_norms_behind_a_residual(shape: Any, axes: int, dtype: torch.dtype, launches: list[str]) -> None:
    normalized = torch.Size(shape[-axes:])
    input, other = randn(*shape, dtype=dtype, scale=3) + 1, randn(*shape, dtype=dtype)
    weight, bias = randn(*normalized, dtype=dtype), randn(*normalized, dtype=dtype)
    last = tuple(range(-axes, 0))
    for w, b in ((weight, bias), (weight, None), (None, bias), (None, None)):
        output, summed, mean, invstd = kernel_of(rules.AddLayerNorm.outputs)(input, other, normalized, w, b, 1e-3)
        added(summed, input, other)
        truth = rules.AddLayerNorm.normalized(*map(double, (summed, normalized, w, b)), 1e-3)
        close(output, truth[0], scale=float(truth[0].abs().max()) * 4)  # seen: 60 roundings, of x - mean
        close(mean, summed.double().mean(last, keepdim=True))
        close(invstd, (summed.double().var(last, correction=0, keepdim=True) + 1e-3).rsqrt())
        again = kernel_of(rules.AddLayerNorm.normalized)(summed, normalized, w, b, 1e-3)
        assert all(torch.equal(x, y) for x, y in zip(again, (output, mean, invstd), strict=True))
    for w, eps in ((weight, 1e-3), (None, 1e-3), (weight, None)):
        output, summed, invrms = kernel_of(rules.AddRMSNorm.outputs)(input, other, normalized, w, eps)
        added(summed, input, other)
        exact(rules.AddRMSNorm.normalized, summed, normalized, w, eps or rules.RMSNorm.least(dtype))
        again = kernel_of(rules.AddRMSNorm.normalized)(summed, normalized, w, eps)
        assert all(torch.equal(x, y) for x, y in zip(again, (output, invrms), strict=True))
    assert launches == ["_add_norm"] * (2 * 4 + 3 * 3)
    del launches[:]
    for delta, delta_sum in zip(kinds(shape, dtype), [None, *kinds(shape, dtype)[1:]], strict=True):
        size = terms(delta, invstd, normalized.numel())
        facts = delta, delta_sum, summed, weight, mean, invstd, normalized
        for needs in ((True, True, True), (True, False, False), (False, True, False)):
            exact(rules.AddLayerNorm.derivatives, *facts, needs, scale=size)
        facts = delta, delta_sum, summed, weight, invrms, normalized
        for needs in ((True, True), (True, False), (False, True)):
            exact(rules.AddRMSNorm.derivatives, *facts, needs, scale=size)
    assert launches == ["_norm_derivatives"] * 4 * 6


@pytest.mark.usefixtures("registered")
def test_residuals_that_the_kernels_do_not_take(launches: list[str]) -> None:
    """Broadcast and mixed sums: the norm behind them alone; longer rows, other weights: the formulas."""
    x, w = randn(6, 8), randn(8)
    for other, runs in ((randn(8), 1), (randn(6, 8, dtype=torch.bfloat16), 1), (randn(6, 8).double(), 0)):
        del launches[:]
        weight = w.to(torch.promote_types(x.dtype, other.dtype))
        output, summed, *_ = kernel_of(rules.AddLayerNorm.outputs)(x, other, (8,), weight, None, 1e-5)
        close(summed, x.double() + other.double())
        close(output, F.layer_norm(summed.double(), (8,), w.double()))
        assert launches == ["_add_norm"] * runs
    long = randn(2, 2**14 + 1)
    del launches[:]
    kernel_of(rules.AddRMSNorm.outputs)(long, long, (2**14 + 1,), None, 1e-5)
    assert launches == []


ACTIVATIONS = ("relu", "gelu", "gelu_tanh", "silu", "mish", "tanh", "sigmoid")


@WIDE_FIRST
@pytest.mark.parametrize("activation", ACTIVATIONS)
@pytest.mark.parametrize("shape", [(7,), (300, 33), (2, 5, 64)])
def test_bias_and_activation(shape: Any, activation: str, dtype: torch.dtype, launches: list[str]) -> None:
    rule, by_output = rules.BiasActivation, activation in ("relu", "tanh", "sigmoid")
    x, bias, last = randn(*shape, dtype=dtype, scale=3), randn(shape[-1], dtype=dtype), torch.Size(shape[-1:])
    exact(rule.output, x, bias, activation)
    kept = (rule.output(x, bias, activation), None) if by_output else (x, bias)
    for delta in kinds(shape, dtype):
        size = float(delta.abs().max()) * 2 * (x.numel() / shape[-1]) ** 0.5
        for needs in ((True, True), (True, False), (False, True)):
            exact(rule.derivatives, delta, *kept, activation, last, needs, scale=size)
    assert launches == ["kernel"] * 13


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize(("shape", "groups"), [((4, 6, 5, 5), 3), ((2, 4), 2), ((3, 8, 100), 1), ((5, 32, 3), 32)])
def test_group_norm(shape: Any, groups: int, dtype: torch.dtype, launches: list[str]) -> None:
    input, weight = randn(*shape, dtype=dtype, scale=3) + 1, randn(shape[1])
    _, mean, invstd = rules.GroupNorm.forward(input.float(), groups, None, None, 1e-5)
    every = (True, True, True)
    for delta, w in itertools.product(kinds(shape, dtype), (weight, None)):
        size = terms(delta, invstd, shape[1])
        exact(rules.GroupNorm.derivatives, delta, input, w, mean, invstd, every, scale=size)
    exact(rules.GroupNorm.derivatives, delta, input, weight, mean, invstd, (False, True, False), scale=size)
    assert launches == ["_row_sums", "_affine"] * 8 + ["_row_sums"]


@WIDE_FIRST
@pytest.mark.parametrize("shape", [(40, 6), (3, 70, 5, 5), (2, 4, 3, 2, 3), (5, 3, 100)])
def test_batch_norm(shape: Any, dtype: torch.dtype, launches: list[str]) -> None:
    formats = {4: torch.channels_last, 5: torch.channels_last_3d}
    weight = randn(shape[1])
    for memory_format in {torch.contiguous_format, formats.get(len(shape), torch.contiguous_format)}:
        input = (randn(*shape, dtype=dtype, scale=3) + 1).contiguous(memory_format=memory_format)
        axes = (0, *range(2, len(shape)))
        mean, invstd = input.float().mean(axes), (input.float().var(axes, correction=0) + 1e-5).rsqrt()
        for delta, w in itertools.product(kinds(shape, dtype), (weight, None)):
            size = terms(delta, invstd, shape[1])
            exact(rules.BatchNorm.derivatives, delta, input, w, mean, invstd, (True,) * 3, scale=size)
            exact(rules.BatchNorm.grad_weight, delta, input, mean, invstd, scale=size)
        found = kernel_of(rules.BatchNorm.derivatives)(delta, input, w, mean, invstd, (True,) * 3)[0]
        assert found.stride() == input.stride()
    assert set(launches) <= {"_row_sums", "_column_sums", "_affine"}
    assert len(launches) % (8 * 3 + 2) == 0


POOLS: list[Any] = [
    ((2, 3, 9, 7), (3, 3), (2, 2), (1, 1), (1, 1), False),
    ((2, 3, 9, 7), (3, 2), (2, 3), (1, 0), (1, 1), True),
    ((1, 2, 8, 8), (2, 2), (2, 2), (0, 0), (1, 1), False),
    ((1, 5, 8, 6), (2, 3), (1, 1), (1, 1), (2, 1), False),
    ((1, 1, 1, 1), (1, 1), (1, 1), (0, 0), (1, 1), False),
]


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("memory_format", [torch.contiguous_format, torch.channels_last])
@pytest.mark.parametrize(("shape", "kernel", "stride", "padding", "dilation", "ceil"), POOLS)
def test_max_pool(
    shape: Any, kernel: Any, stride: Any, padding: Any, dilation: Any, ceil: bool, memory_format: Any,
    dtype: torch.dtype, launches: list[str],
) -> None:  # fmt: skip
    options = kernel, stride, padding, dilation, ceil
    input = randn(*shape, scale=2).round().to(dtype)  # many alike: the first of the largest wins
    for special in (None, INF, -INF, NAN):
        x = input if special is None else torch.where(torch.rand(shape, device=DEVICE) < 0.4, special, input)
        x = x.to(dtype).contiguous(memory_format=memory_format)
        found, winner = kernel_of(rules.MaxPool.winners)(x, *options)
        # of windows of -inf alone torch's own kernel for channels last on CUDA names the first place of the image
        output, expected = rules.MaxPool.winners(x.contiguous(), *options)
        torch.testing.assert_close(found, output, rtol=0, atol=0, equal_nan=True)
        assert torch.equal(winner, expected)
        assert winner.dtype == expected.dtype
        assert found.is_contiguous(memory_format=memory_format)
    for delta in kinds(tuple(output.shape), dtype):
        exact(rules.MaxPool.delta_input, delta, winner, shape, *options[:4], scale=float(delta.abs().max()))
    assert launches == ["_max_pool_winners"] * 4 + ["_max_pool_delta"] * 4


@WIDE_FIRST
@pytest.mark.parametrize("counted", [True, False])
@pytest.mark.parametrize(("shape", "kernel", "stride", "padding", "dilation", "ceil"), POOLS)
def test_avg_pool(
    shape: Any, kernel: Any, stride: Any, padding: Any, dilation: Any, ceil: bool, counted: bool, dtype: torch.dtype,
    launches: list[str],
) -> None:  # fmt: skip
    output = rules.AvgPool.forward(randn(*shape), kernel, stride, padding, ceil, counted, None)
    for delta, divisor in itertools.product(kinds(tuple(output.shape), dtype), (None, 3)):
        delta = delta.contiguous() if delta.dim() and not delta.is_contiguous() else delta
        for memory_format in (torch.contiguous_format, torch.channels_last):
            d = delta.contiguous(memory_format=memory_format)
            exact(rules.AvgPool.delta_input, d, shape, kernel, stride, padding, counted, divisor)
    assert launches == ["_avg_pool_delta"] * 16


ATTENTIONS: list[Any] = [
    # batch, L, T, E, F
    ((2, 3), 5, 7, 8, 8),
    ((2,), 70, 70, 16, 16),
    ((), 65, 40, 24, 20),
    ((1, 2, 1), 33, 70, 5, 3),
    ((1,), 1, 1, 1, 1),
]


@WIDE_FIRST
@pytest.mark.parametrize("how", ["plain", "causal", "bool", "added", "dropout"])
@pytest.mark.parametrize(("batch", "queries", "keys", "width", "width_v"), ATTENTIONS)
def test_attention(
    batch: Any, queries: int, keys: int, width: int, width_v: int, how: str, dtype: torch.dtype, launches: list[str]
) -> None:
    rule = rules.ScaledDotProductAttention
    query = randn(*batch, queries, 2 * width, dtype=dtype)[..., :width]  # rows with gaps between them
    key, value = randn(*batch, keys, width, dtype=dtype), randn(*batch, keys, width_v, dtype=dtype)
    mask = kept = None
    p = 0.0
    if how == "bool":
        mask = torch.rand(*batch[:1], *[1] * (len(batch) - 1), queries, keys, device=DEVICE) < 0.6
        mask[..., 0, :] = False  # a query that sees nothing
    elif how == "added":
        mask = randn(1, keys)
        mask[0, 0] = -INF if keys > 1 else 0.5
    elif how == "dropout":
        p, kept = 0.25, torch.rand(*batch, queries, keys, device=DEVICE) < 0.75
    causal, scale = how == "causal", 0.7 / math.sqrt(width)
    facts = query, key, value, mask, kept
    output, lse = kernel_of(rule.attended)(*facts, p, causal, scale)
    true_output, true_lse = rule.attended(*map(double, facts), p, causal, scale)
    # P and delta_scores are rounded to 16 bits before they are multiplied, some roundings of the largest in all
    rounding = 0.0 if dtype == torch.float32 else 3 * EPS[dtype] / (ROUNDINGS * EPS[torch.float32])

    def compare(found: Tensor, truth: Tensor) -> None:
        close(found, truth, scale=max(1.0, rounding) * max(float(truth.abs().max()), 1.0))

    compare(output, true_output)
    assert output.dtype == dtype
    close(lse, true_lse, scale=4.0)
    delta = randn(*batch, width_v, queries, dtype=dtype).mT
    for wanted in ((True, True, True), (True, False, False), (False, True, False), (False, False, True)):
        needed = value if wanted[0] or wanted[1] else None
        y = true_output.to(dtype) if needed is not None else None
        options = p, causal, scale, (*wanted, False)
        found = kernel_of(rule.deltas)(delta, query, key, needed, mask, kept, y, lse, *options)
        truths = rule.deltas(*map(double, (delta, query, key, needed, mask, kept, y, lse)), *options)
        for ours, truth in zip(found, truths, strict=True):
            assert (ours is None) == (truth is None)
            if ours is not None and truth is not None:
                compare(ours, truth)
    assert launches.count("attended") == 1
    assert launches.count("delta_query") == 2
    assert launches.count("delta_key_value") == 3


ACTIVATIONS = "smooth", "rectifiers", "piecewise", "exponential", "gated"


def pointwise_formulas() -> list[Any]:
    """Those that are served and, as a larger test of the printer, the forwards."""
    served = [f for f in cuda.SERVED["pointwise"] if f is not rules.Dropout.delta_input]
    forwards = [f for f in vars(rules).values() if hasattr(f, "output") and f.__module__.split(".")[-1] in ACTIVATIONS]
    found = [getattr(f, name) for f in forwards for name in ("output", "output_tanh") if hasattr(f, name)]
    return [*served, *found]


NUMBERS = {"threshold": 0.4, "negative_slope": 0.1, "alpha": 1.3, "min_val": -0.7, "max_val": 1.1, "lambd": 0.6}
NUMBERS |= {"beta": 1.7, "limit": 0.6, "value": 0.3}


@pytest.mark.parametrize("formula", pointwise_formulas(), ids=lambda formula: formula.__qualname__)
def test_pointwise(formula: Any, launches: list[str]) -> None:
    names, numbers = printer.parameters(formula)
    run, options = cuda.module("pointwise").kernel(formula), [NUMBERS[name] for name in numbers]
    for dtype, shape in itertools.product(DTYPES, ((7, 33), (2000,), ())):
        last = randn(*shape, dtype=dtype, scale=2)
        for delta in kinds(shape, dtype) if len(names) > 1 and shape else [randn(*shape, dtype=dtype)]:
            args = [*[delta, last][-len(names) :], *options]
            truth, found = formula(*map(double, args)), run(*args)
            assert found.dtype == dtype
            assert found.stride() == last.stride()
            # a rounding or two for each function, and where terms cancel, those of the terms
            rtol, atol = max(1e-6, EPS[dtype]), 1e-6 * max(1.0, float(delta.abs().max()))
            torch.testing.assert_close(found.double(), truth, rtol=rtol, atol=atol)
    special = torch.tensor([0.0, -0.0, 1e-30, -1e-30, 1e-4, -1e-4, 1, -1, 20, -20, 80, -80, 1e3, -1e3, INF, -INF, NAN])
    tensors = [t.contiguous().to(DEVICE) for t in torch.cartesian_prod(special, special).T][-len(names) :]
    args = [*tensors, *options]
    torch.testing.assert_close(run(*args), formula(*args), rtol=4e-6, atol=1e-6, equal_nan=True)
    assert launches == ["kernel"] * len(launches)
    assert len(launches) >= 10


@pytest.mark.parametrize("dtype", DTYPES)
def test_dropout(dtype: torch.dtype, launches: list[str]) -> None:
    mask = torch.rand(7, 33, device=DEVICE) < 0.6
    for delta in kinds((7, 33), dtype):
        exact(rules.Dropout.delta_input, delta, mask, 0.4)
    assert launches == ["kernel"] * 4
    exact(rules.Dropout.delta_input, randn(2, 3, 4, dtype=dtype), torch.rand(2, 3, 1, device=DEVICE) < 0.6, 0.4)
    exact(rules.Dropout.delta_input, delta, torch.zeros_like(mask), 1.0)
    assert len(launches) == 4


def test_elementary_functions() -> None:
    """Within a few units in the last place of float32, over all sizes."""
    sizes = torch.logspace(-30, 2, 3000)
    x = torch.cat([sizes, -sizes, torch.linspace(-12, 12, 3001), torch.tensor([0.0, -0.0, INF, -INF, NAN])]).to(DEVICE)

    def formula_of(function: Any) -> Any:
        def formula(input: Tensor) -> Tensor:
            return function(input)

        return formula

    for name in ("exp", "expm1", "log1p", "sigmoid", "tanh", "erfc", "erf", "log", "sqrt"):
        function = getattr(torch, name)
        argument = x.abs() if name in ("log", "sqrt") else x.clamp(min=-0.999999) if name == "log1p" else x
        found, truth = cuda.module("pointwise").kernel(formula_of(function))(argument), function(argument.double())
        # e^x of the language is one multiplication away from 2^x: x roundings; sigmoid has e^x in it, erfc e^-x²
        rtol = {"exp": 1e-5, "expm1": 1e-5, "sigmoid": 1e-5, "erfc": 2e-5}.get(name, 1e-6)
        tiny = truth.abs() < torch.finfo(torch.float32).tiny
        torch.testing.assert_close(
            found.double()[~tiny], truth.float().double()[~tiny], rtol=rtol, atol=0, equal_nan=True
        )
        assert (found[tiny].abs() <= torch.finfo(torch.float32).tiny).all()


def test_special_values(launches: list[str]) -> None:
    rows = [
        [INF, 0.0, 1.0], [-INF, 0.0, 1.0], [-INF, -INF, -INF], [NAN, 0.0, 1.0], [1e4, -1e4, 0.0], [1e30, 1e30, 0.0],
        [-INF, -INF, 3.0], [90.0, -90.0, -104.0], [-0.0, 0.0, -750.0],
    ]  # fmt: skip
    x = torch.tensor(rows, device=DEVICE)
    delta = randn(*x.shape)
    for rule, forward in SOFTMAXES.items():
        exact(rule.delta_input, delta, forward(x), -1, scale=4.0)
    labels, facts = torch.arange(len(rows), device=DEVICE) % 3, (None, -100)
    each = delta[:, 0].contiguous()
    exact(rules.CrossEntropyLoss.delta_input, each, x.log_softmax(1), labels, *facts, "none", 0.1, scale=4.0)
    loss = rules.LinearCrossEntropyLoss
    for smoothing in (0.0, 0.1):
        # beside 1e4 float32 has steps of 1e-3
        found = kernel_of(loss.losses)(x, labels, *facts, smoothing, torch.float32)
        truth = loss.losses(x.double(), labels, *facts, smoothing, torch.double)
        torch.testing.assert_close(found.double(), truth, rtol=1e-6, atol=1e-6, equal_nan=True)
        truth = loss.delta_logits(each.double(), x.double(), labels, *facts, smoothing, torch.double)
        found = kernel_of(loss.delta_logits)(each, x.clone(), labels, *facts, smoothing, torch.float32)
        close(found, truth, scale=4.0)
    q, k, v = randn(3, 4), randn(5, 4), randn(5, 4)
    for special in (INF, NAN):
        q[1, 1] = special
        output, lse = kernel_of(rules.ScaledDotProductAttention.attended)(q, k, v, None, None, 0.0, False, 0.5)
        truth, true_lse = rules.ScaledDotProductAttention.attended(*map(double, (q, k, v)), None, None, 0.0, False, 0.5)
        close(output, truth)
        close(lse, true_lse)
    assert len(launches) == 3 + 1 + 4 + 2


def test_a_wrong_kernel_is_caught(monkeypatch: pytest.MonkeyPatch) -> None:
    """The comparison notices one rounding of bfloat16 too many, and a term left out."""
    delta, output = randn(30, 40), randn(30, 40).softmax(-1)
    right = cuda.kernel("rows", rules.Softmax.delta_input)
    wrongs = [
        lambda d, y, dim: y * d,
        lambda d, y, dim: right(d, y.bfloat16(), dim),
        lambda d, y, dim: right(d, y, dim).T,
    ]
    for wrong in wrongs:
        monkeypatch.setattr(cuda, "kernel", lambda name, formula, wrong=wrong: wrong)
        with pytest.raises(AssertionError):
            exact(rules.Softmax.delta_input, delta, output, -1)


LAYERS: list[tuple[Callable[[], Any], Callable[[], Tensor]]] = [
    (lambda: torch.nn.LayerNorm(6), lambda: randn(4, 6)),
    (lambda: torch.nn.RMSNorm(6), lambda: randn(4, 6)),
    (lambda: torch.nn.GroupNorm(2, 6), lambda: randn(4, 6, 3)),
    (lambda: torch.nn.BatchNorm2d(3, track_running_stats=False), lambda: randn(4, 3, 4, 4)),
    (lambda: torch.nn.Softmax(-1), lambda: randn(4, 6)),
    (lambda: torch.nn.LogSoftmax(-1), lambda: randn(4, 6)),
    (lambda: torch.nn.MaxPool2d(3, 2, 1), lambda: randn(2, 3, 7, 7)),
    (lambda: torch.nn.AvgPool2d(3, 2, 1), lambda: randn(2, 3, 7, 7)),
]


@pytest.fixture
def registered(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """The kernels in use; interpreted, for tensors of the CPU."""
    with put_back():
        if INTERPRETED:
            monkeypatch.setattr(attention, "_torchs_choice", lambda *args: None)
            registry.activate("cuda")
        yield


@pytest.mark.usefixtures("registered")
@pytest.mark.parametrize(("make", "input"), LAYERS)
def test_layers_as_a_user_calls_them(make: Any, input: Any, launches: list[str]) -> None:
    twin = make().to(DEVICE)
    layer = mb.convert(make().to(DEVICE))
    x = input()
    grads = []
    for module in (layer, twin):
        leaf = x.clone().requires_grad_()
        leaves = [leaf, *module.parameters()]
        grads.append(torch.autograd.grad(module(leaf).square().sum(), leaves))
    for found, expected in zip(*grads, strict=True):
        torch.testing.assert_close(found, expected, rtol=1e-5, atol=1e-4)  # a sum of squares: gradients of about 10
    assert launches
    del launches[:]
    leaf = x.clone().requires_grad_()
    with mb.backend("formula"):
        layer(leaf).square().sum().backward()
    torch.autograd.grad(layer(leaf).square().sum(), leaf, create_graph=True)
    torch.func.grad(lambda v: layer(v).square().sum())(x)
    forwards = {"_rms_norm", "_max_pool_winners"}  # may run in the forward of a call that is differentiated twice
    assert set(launches) <= forwards


@pytest.mark.usefixtures("registered")
@pytest.mark.parametrize("dtype", [torch.float32, torch.float16])
def test_attention_and_losses_as_a_user_calls_them(dtype: torch.dtype, launches: list[str]) -> None:
    q, k, v = (randn(2, 2, 6, 8, dtype=dtype).requires_grad_() for _ in range(3))
    w, t = randn(9, 8, dtype=dtype).requires_grad_(), torch.randint(9, (24,), device=DEVICE)
    results = []
    for ours in (True, False):
        functions = mb.functional if ours else F
        y = functions.scaled_dot_product_attention(q, k, v, is_causal=True).reshape(24, 8)
        if ours:
            loss = mb.functional.linear_cross_entropy(y, w, t)
        else:
            loss = F.cross_entropy(F.linear(y, w).float(), t).to(dtype)
        results.append((loss, *torch.autograd.grad(loss, (q, k, v, w))))
    for found, expected in zip(*results, strict=True):
        assert found.dtype == dtype
        torch.testing.assert_close(found, expected, rtol=4 * EPS[dtype], atol=8 * EPS[dtype])
    forward = ["attended", "_cross_entropy"]
    assert launches == [*forward, "_cross_entropy_delta", "row_dots", "delta_query", "delta_key_value"]


def test_what_the_kernels_do_not_take_goes_to_the_formula(launches: list[str]) -> None:
    delta, output = randn(4, 6), randn(4, 6).softmax(0)
    for args in ((delta, output, 0), (delta.double(), output.double(), 1), (delta[:0], output[:0], 1)):
        assert torch.equal(kernel_of(rules.Softmax.delta_input)(*args), rules.Softmax.delta_input(*args))
    for formula in (rules.Softmax.delta_input, rules.Softmin.delta_input, rules.LogSoftmax.delta_input):
        found, truth = (run(delta.bfloat16(), output.bfloat16(), 0) for run in (kernel_of(formula), formula))
        assert torch.equal(found, formula(delta.bfloat16().float(), output.bfloat16().float(), 0).bfloat16())
        assert not torch.equal(found, truth)  # rounds at every step
    masked = rules.ScaledDotProductAttention
    q, mask = randn(3, 4), randn(3, 3)
    output, lse = masked.attended(q, q, q, mask, None, 0.0, False, 0.5)
    found = kernel_of(masked.deltas)(q, q, q, q, mask, None, output, lse, 0.0, False, 0.5, (False, False, False, True))
    assert found[3] is not None
    assert launches == []


def test_every_formula_that_is_served_has_its_kernel() -> None:
    for name, formulas in cuda.SERVED.items():
        assert all(callable(cuda.kernel(name, formula)) for formula in formulas)
