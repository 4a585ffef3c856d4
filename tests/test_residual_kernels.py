"""A residual and its norm, a bias and its activation, as C: against the formulas in float64, and against two layers."""

from __future__ import annotations

import itertools
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor
from torch._subclasses.fake_tensor import FakeTensorMode

import manual_backprop as mb
from manual_backprop.engine.rule import KERNELS
from manual_backprop.kernels import bias_activation, native, rows
from manual_backprop.rules import AddLayerNorm, AddRMSNorm, BiasActivation, RMSNorm
from manual_backprop.rules.bias_activation import ACTIVATIONS

from .test_native import calls
from .test_row_kernels import EPS, NORMS, ROUNDINGS, THREADS, exact, kinds, term

pytestmark = pytest.mark.usefixtures("c_kernels")
DTYPES = pytest.mark.parametrize("dtype", rows.REAL)
WIDE = pytest.mark.parametrize("dtype", [torch.float32, torch.float64])


@pytest.fixture(autouse=True)
def any_size(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rows, "WORTHWHILE", 0)
    monkeypatch.setattr(bias_activation, "WORTHWHILE", 0)


def once(found: Tensor, truth: Tensor, scale: float = 0.0) -> None:
    """Computed in a dtype of at least float32 and rounded once: half a step of the stored dtype, and what the computing
    adds, in roundings of the largest, or of `scale`, the size of terms that may cancel."""
    real = torch.promote_types(found.dtype, torch.float32)
    half = EPS[found.dtype] / 2 if found.dtype == torch.bfloat16 else 0.0
    bound = 1.01 * half * truth.abs() + ROUNDINGS * EPS[real] * max(scale, float(truth.abs().max()))
    assert found.shape == truth.shape
    assert bool(((found.double() - truth).abs() <= bound).all())


@THREADS
@DTYPES
@pytest.mark.parametrize(("shape", "axes"), NORMS)
def test_forward(shape: Any, axes: int, dtype: torch.dtype, threads: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch, "get_num_threads", lambda: threads)
    names, last = calls(monkeypatch), tuple(range(-axes, 0))
    normalized = torch.Size(shape[-axes:])
    input, other = (torch.randn(shape) * 3 + 1).to(dtype), torch.randn(shape).to(dtype)
    weight, bias = torch.randn(2, *normalized).to(dtype)
    kept = [v.clone() for v in (input, other, weight, bias)]
    for w, b in itertools.product((weight, None), (bias, None)):
        output, summed, mean, invstd = KERNELS[AddLayerNorm.outputs](input, other, normalized, w, b, 1e-3)
        assert torch.equal(summed, input + other)
        s = summed.double()
        wide = [None if v is None else v.double() for v in (w, b)]
        truth = AddLayerNorm.normalized(s, normalized, *wide, 1e-3)
        once(output, truth[0])
        once(mean, s.mean(last, keepdim=True))
        once(invstd, (s.var(last, correction=0, keepdim=True) + 1e-3).rsqrt())
        again = KERNELS[AddLayerNorm.normalized](summed, normalized, w, b, 1e-3)
        assert all(torch.equal(x, y) for x, y in zip(again, (output, mean, invstd), strict=True))
    for w, eps in itertools.product((weight, None), (1e-3, None)):
        output, summed, invrms = KERNELS[AddRMSNorm.outputs](input, other, normalized, w, eps)
        assert torch.equal(summed, input + other)
        s, e = summed.double(), RMSNorm.least(dtype) if eps is None else eps
        truth = AddRMSNorm.normalized(s, normalized, None if w is None else w.double(), e)
        once(output, truth[0])
        once(invrms, truth[1])
        again = KERNELS[AddRMSNorm.normalized](summed, normalized, w, eps)
        assert all(torch.equal(x, y) for x, y in zip(again, (output, invrms), strict=True))
    assert all(torch.equal(v, k) for v, k in zip((input, other, weight, bias), kept, strict=True))
    kind = rows.REAL[dtype]
    assert names == [f"layer_norm_{kind}"] * 8 + [f"rms_norm_{kind}"] * 8


@THREADS
@WIDE
@pytest.mark.parametrize(("shape", "axes"), NORMS)
def test_backward(shape: Any, axes: int, dtype: torch.dtype, threads: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch, "get_num_threads", lambda: threads)
    names, normalized = calls(monkeypatch), torch.Size(shape[-axes:])
    summed, weight = torch.randn(shape, dtype=dtype) * 3 + 1, torch.randn(normalized, dtype=dtype)
    _, mean, invstd = torch.native_layer_norm(summed, normalized, None, None, 1e-5)
    invrms = RMSNorm.invrms(summed, normalized, 1e-5)
    deltas = kinds(shape, dtype)
    for delta, delta_sum in zip(deltas, [None, deltas[2], deltas[3], deltas[1]], strict=True):
        for w in (weight, None):
            size, facts = term(delta, invstd, w), (delta, delta_sum, summed, w)
            for needs in itertools.product((True, False), repeat=3) if summed.numel() < 2**16 else ((True,) * 3,):
                exact(AddLayerNorm.derivatives, *facts, mean, invstd, normalized, needs, scale=size)
            for needs in ((True, True), (True, False), (False, True)):
                exact(AddRMSNorm.derivatives, *facts, invrms, normalized, needs, scale=size)
    assert names == [f"norm_derivatives_{rows.REAL[dtype]}"] * (8 * ((6 if summed.numel() < 2**16 else 1) + 3))


def test_backward_in_bfloat16_rounds_once(monkeypatch: pytest.MonkeyPatch) -> None:
    names, last = calls(monkeypatch), torch.Size((33,))
    delta, delta_sum, summed = (torch.randn(3, 70, 33) * 2).bfloat16()
    _, mean, invstd = torch.native_layer_norm(summed.float(), last, None, None, 1e-5)
    for w in (torch.randn(33), torch.randn(33).bfloat16(), None):
        facts = delta, delta_sum, summed, w
        wide = [None if v is None else v.double() for v in facts]
        size = term(delta.float(), invstd, w) * 70**0.5
        found = KERNELS[AddLayerNorm.derivatives](*facts, mean, invstd, last, (True, True, True))
        truth = AddLayerNorm.derivatives(*wide, mean.double(), invstd.double(), last, (True, True, True))
        found += KERNELS[AddRMSNorm.derivatives](*facts, invstd, last, (True, True))
        truth += AddRMSNorm.derivatives(*wide, invstd.double(), last, (True, True))
        for ours, exactly in zip(found, truth, strict=True):
            once(ours, exactly, size)
    assert names == ["norm_derivatives_bfloat16"] * 6


def test_a_sum_that_the_c_does_not_make_is_normalized_by_it(monkeypatch: pytest.MonkeyPatch) -> None:
    """So that it can be recomputed by the same loop: broadcast, of two dtypes, strided."""
    names, x = calls(monkeypatch), torch.randn(6, 8)
    for other in (torch.randn(8), torch.randn(6, 8).bfloat16(), torch.randn(8, 6).T):
        output, summed, *_ = KERNELS[AddLayerNorm.outputs](x, other, (8,), None, None, 1e-5)
        assert torch.equal(summed, x + other)
        assert torch.equal(output, KERNELS[AddLayerNorm.normalized](summed, (8,), None, None, 1e-5)[0])
        output, summed, _ = KERNELS[AddRMSNorm.outputs](x, other, (8,), None, 1e-5)
        assert torch.equal(output, KERNELS[AddRMSNorm.normalized](summed, (8,), None, 1e-5)[0])
    assert names == ["layer_norm_float", "layer_norm_float", "rms_norm_float", "rms_norm_float"] * 3


def test_deltas_and_weights_of_another_dtype_go_to_the_formula(monkeypatch: pytest.MonkeyPatch) -> None:
    names, x, last = calls(monkeypatch), torch.randn(6, 8), torch.Size((8,))
    mean, invstd = torch.zeros(6, 1), torch.ones(6, 1)
    for delta_sum in (torch.randn(6, 8).double(), torch.randn(6, 8).half()):
        found = KERNELS[AddLayerNorm.derivatives](x, delta_sum, x, None, mean, invstd, last, (True, False, False))[0]
        expected = AddLayerNorm.delta_sum(x, delta_sum.float(), x, None, mean, invstd, last)
        torch.testing.assert_close(found.float(), expected)
        KERNELS[AddRMSNorm.derivatives](x, delta_sum, x, None, invstd, last, (True, False))
    assert names == []


@THREADS
@DTYPES
@pytest.mark.parametrize("activation", ACTIVATIONS)
@pytest.mark.parametrize("shape", [(7,), (1, 1), (130, 33), (2, 5, 640), (300, 300)])
def test_bias_and_activation(
    shape: Any, activation: str, dtype: torch.dtype, threads: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch, "get_num_threads", lambda: threads)
    x, bias, last = (torch.randn(shape) * 3).to(dtype), torch.randn(shape[-1]).to(dtype), torch.Size(shape[-1:])
    z = x.double() + bias.double()
    output = KERNELS[BiasActivation.output](x, bias, activation)
    assert output.dtype == dtype
    once(output, ACTIVATIONS[activation].output(z), scale=float(z.abs().max()))
    by_output = ACTIVATIONS[activation].by_output
    kept = (output, None) if by_output else (x, bias)
    for delta in kinds(shape, dtype):
        wide = [None if v is None else v.double() for v in (delta, *kept)]
        truth = BiasActivation.derivatives(*wide, activation, last, (True, True))
        size = 2 * float(delta.abs().max()) * (x.numel() / shape[-1]) ** 0.5
        for needs in ((True, True), (True, False), (False, True)):
            before = [None if v is None else v.clone() for v in (delta, *kept)]
            found = KERNELS[BiasActivation.derivatives](delta, *kept, activation, last, needs)
            assert [v is not None for v in found] == list(needs)
            for ours, exactly in zip(found, truth, strict=True):
                if ours is not None:
                    once(ours, exactly, size)
            for one, other in zip((delta, *kept), before, strict=True):
                assert one is None or torch.equal(one, other)


def test_bias_and_activation_run_the_loops(monkeypatch: pytest.MonkeyPatch) -> None:
    compiled: list[tuple[Any, ...]] = []
    build = bias_activation.compiled

    def noted(formula: Any, dtype: torch.dtype, **options: bool) -> Any:
        compiled.append((formula.__qualname__, dtype, options.get("sums", False)))
        return build(formula, dtype, **options)

    monkeypatch.setattr(bias_activation, "compiled", noted)
    for cached in (bias_activation._forward, bias_activation._backward):
        cached.cache_clear()
    x, b = torch.randn(6, 8, requires_grad=True), torch.randn(8, requires_grad=True)
    mb.functional.bias_activation(x, b, "gelu").sum().backward()
    mb.functional.bias_activation(x, b.detach(), "gelu").sum().backward()
    gelu = "delta_bias_gelu", torch.float32
    assert compiled == [("bias_gelu", torch.float32, False), (*gelu, True), (*gelu, False)]
    del compiled[:]
    for tensors in ((x.double(), b), (x.T.contiguous().T, b), (x, b.half())):
        mb.functional.bias_activation(*tensors, "gelu").sum().backward()
    assert compiled == []


INF, NAN = float("inf"), float("nan")
# y at infinity and at minus infinity, where x times a factor that is 0 there is NaN. Not compared with ATen: on some
# processors its GELU in float32 is oneDNN's, which has NaN at infinity
AT_INFINITY = {"relu": (INF, 0.0), "tanh": (1.0, -1.0), "sigmoid": (1.0, 0.0)}
PRODUCT = (INF, NAN)


@pytest.mark.parametrize("dtype", rows.REAL)
@pytest.mark.parametrize("activation", ACTIVATIONS)
def test_special_values(activation: str, dtype: torch.dtype) -> None:
    values = [0.0, -0.0, 1.0, -1.0, 3.0, -3.0, 20.0, -20.0, 90.0, -90.0]
    ends = [*AT_INFINITY.get(activation, PRODUCT), NAN]
    x = torch.tensor([[*values, INF, -INF, NAN], [*values[::-1], INF, -INF, NAN]], dtype=dtype)
    found = KERNELS[BiasActivation.output](x, torch.zeros(x.shape[1], dtype=dtype), activation)
    expected = ACTIVATIONS[activation].output(x.double())
    expected[:, -3:] = torch.tensor(ends)
    # -20 and the like: 0, or the last bits of something else
    torch.testing.assert_close(found.double(), expected, rtol=2 * EPS[dtype] + 1e-6, atol=1e-6, equal_nan=True)


def test_two_layers_and_one_rule_have_the_same_gradients() -> None:
    torch.manual_seed(0)
    x, r, w, b = (torch.randn(40, 16, dtype=torch.double, requires_grad=True) for _ in range(4))
    w, b = w[0].detach().requires_grad_(), b[0].detach().requires_grad_()

    def grads(y: Tensor, s: Tensor) -> tuple[Tensor, ...]:
        return torch.autograd.grad((y * s.detach().cos()).sum() + s.sin().sum(), [x, r, w, b])

    s = x + r
    apart = grads(F.layer_norm(s, (16,), w, b), s)
    together = grads(*mb.functional.add_layer_norm(x, r, (16,), w, b))
    torch.testing.assert_close(together, apart, rtol=1e-12, atol=1e-12)  # float64, sums in another order


@pytest.mark.parametrize("asked", ["output", "sum"])
def test_one_of_the_two_outputs_alone(asked: str) -> None:
    x, r, w = (torch.randn(size, dtype=torch.double, requires_grad=True) for size in ((6, 8), (6, 8), (8,)))
    y, s = mb.functional.add_layer_norm(x, r, (8,), w)
    found = torch.autograd.grad((y if asked == "output" else s).square().sum(), [x, r, w], allow_unused=True)
    s = x + r
    y = F.layer_norm(s, (8,), w)
    expected = torch.autograd.grad((y if asked == "output" else s).square().sum(), [x, r, w], allow_unused=True)
    torch.testing.assert_close(found[:2], expected[:2], rtol=1e-12, atol=1e-12)  # as above
    assert (found[2] is None) == (asked == "sum")


def test_a_wrong_kernel_is_caught(monkeypatch: pytest.MonkeyPatch) -> None:
    """The comparison notices a delta of the sum that is left out, and a mean over rows in place of a sum."""
    right = KERNELS[AddLayerNorm.derivatives]
    monkeypatch.setitem(KERNELS, AddLayerNorm.derivatives, lambda d, e, *rest: right(d, None, *rest))
    x, last = torch.randn(6, 8), torch.Size((8,))
    with pytest.raises(AssertionError):
        exact(AddLayerNorm.derivatives, x, x, x, None, x[:, :1] * 0, x[:, :1] * 0 + 1, last, (True, True, True))
    forms = KERNELS[BiasActivation.derivatives](x, x, x[0], "gelu", last, (True, True))
    with pytest.raises(AssertionError):
        once(
            forms[1] / 6,
            BiasActivation.derivatives(x.double(), x.double(), x[0].double(), "gelu", last, (True, True))[1],
        )


def test_without_a_compiler_formulas_run(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(native, "library", lambda: None)
    monkeypatch.setattr(bias_activation, "compiled", lambda *_, **__: None)
    bias_activation._forward.cache_clear()
    bias_activation._backward.cache_clear()
    x, r, b = torch.randn(3, 40, 16, requires_grad=True).unbind()
    y, _ = mb.functional.add_layer_norm(x, r, (16,), b[0])
    z = mb.functional.bias_activation(y, b[0], "silu")
    torch.testing.assert_close(z, F.silu(F.layer_norm(x + r, (16,), b[0]) + b[0]))
    z.sum().backward()
    bias_activation._forward.cache_clear()
    bias_activation._backward.cache_clear()


@pytest.mark.usefixtures("fake_gpu")
@pytest.mark.parametrize("dtypes", [(torch.bfloat16, torch.bfloat16), (torch.float32, torch.bfloat16)])
def test_under_cuda_autocast_the_norm_is_in_float32_and_the_sum_as_it_is(dtypes: tuple) -> None:
    """As torch's layer_norm has it there, and in newer versions its rms_norm."""
    was, weight = torch.is_autocast_enabled("cuda"), torch.ones(4)
    with FakeTensorMode() as mode:
        x, y = (torch.empty(3, 4, dtype=dtype, device="cuda", requires_grad=True) for dtype in dtypes)
        w = mode.from_tensor(weight).to("cuda")
        torch.set_autocast_enabled("cuda", True)
        try:
            for ours, theirs in (
                (mb.functional.add_layer_norm, F.layer_norm),
                (mb.functional.add_rms_norm, F.rms_norm),
            ):
                output, summed = ours(x, y, (4,), w)
                assert summed.dtype == (x + y).dtype
                assert output.dtype == theirs(x + y, (4,), w).dtype
        finally:
            torch.set_autocast_enabled("cuda", was)
