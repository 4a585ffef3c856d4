"""bfloat16 in C: read as it is, computed with as float32 and rounded once, from the rows' kernels up to the layers."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor

import manual_backprop as mb
from manual_backprop.engine.rule import KERNELS
from manual_backprop.kernels import rows
from manual_backprop.rules import (
    CrossEntropyLoss,
    GroupNorm,
    LayerNorm,
    LogSoftmax,
    RMSNorm,
    Softmax,
    Softmin,
)

from .test_native import calls
from .test_row_kernels import EPS, ROUNDINGS, double, term

pytestmark = pytest.mark.usefixtures("c_kernels")


def once(formula: Callable[..., Any], *args: Any, scale: float = 1.0) -> None:
    """bfloat16 is computed with as float32, sums along a row in double, and rounded once: half a unit in the last
    place beside the formula in float64, and a few roundings of float32 of terms of the size of `scale`."""
    found, truth = KERNELS[formula](*args), formula(*map(double, args))
    for ours, value in zip(*((v,) if isinstance(v, Tensor) else v for v in (found, truth)), strict=True):
        half = EPS[torch.bfloat16] / 2 if ours.dtype == torch.bfloat16 else 0.0
        bound = 1.01 * half * value.abs() + ROUNDINGS * EPS[torch.float32] * max(scale, float(value.abs().max()))
        assert bool(((ours.double() - value).abs() <= bound).all())


@pytest.mark.parametrize("shape", [(5, 33), (70, 128), (3, 2000)])
def test_backwards_in_bfloat16_round_once(shape: tuple[int, int], monkeypatch: pytest.MonkeyPatch) -> None:
    names = calls(monkeypatch)
    x, delta = (torch.randn(2, *shape) * 2).bfloat16()
    for rule, output in ((Softmax, x.softmax(-1)), (Softmin, x.softmax(-1)), (LogSoftmax, x.log_softmax(-1))):
        once(rule.delta_input, delta, output, 1)
    once(Softmax.delta_input, delta, x.softmax(0), 0)
    labels = torch.randint(shape[1], shape[:1])
    facts = labels, None, -100, "mean", 0.1
    once(CrossEntropyLoss.delta_input, torch.tensor(1.5).bfloat16(), x.log_softmax(-1), *facts)
    last, every = torch.Size(shape[1:]), (True, True, True)
    weight = torch.randn(shape[1])
    _, mean, invstd = torch.native_layer_norm(x.float(), last, None, None, 1e-5)
    for w in (weight, weight.bfloat16(), None):
        size = term(delta.float(), invstd, w) * shape[0] ** 0.5
        once(LayerNorm.derivatives, delta, x, w, mean, invstd, last, every, scale=size)
        once(RMSNorm.derivatives, delta, x, w, last, 1e-5, (True, True), scale=size)
    images = x.reshape(shape[0], 1, -1).repeat(1, 4, 1)
    _, mean, invstd = torch.native_group_norm(images.float(), None, None, shape[0], 4, shape[1], 2, 1e-5)
    weight, size = torch.randn(4), term(delta.float(), invstd, None) * (4 * shape[0] * shape[1]) ** 0.5
    once(GroupNorm.derivatives, images.flip(0), images, weight, mean, invstd, every, scale=size)
    assert len(names) == 15  # RMSNorm computes its statistic by a kernel, too
    assert all(name.endswith("_bfloat16") for name in names)


def test_rms_norm_forward_in_bfloat16_rounds_once(monkeypatch: pytest.MonkeyPatch) -> None:
    names, x, weight = calls(monkeypatch), torch.randn(130, 129).bfloat16(), torch.randn(129).bfloat16()
    found = KERNELS[RMSNorm.normalized](x, (129,), weight, 1e-5)
    expected = RMSNorm.normalized(x.double(), (129,), weight.double(), 1e-5)
    # half a unit in the last place of bfloat16, and what float32 adds
    torch.testing.assert_close(found.double(), expected, rtol=1.01 * 2.0**-8, atol=0)
    assert found.dtype == torch.bfloat16
    assert names == ["rms_norm_bfloat16"]


LAYERS: list[tuple[Callable[..., torch.nn.Module], tuple[int, ...], list[str]]] = [
    (lambda nn: nn.LayerNorm(33), (600, 33), ["norm_derivatives"]),
    (lambda nn: nn.RMSNorm(33), (600, 33), ["rms_norm", "rms_norm", "norm_derivatives"]),
    (lambda nn: nn.GroupNorm(2, 6), (8, 6, 400), ["group_norm_derivatives"]),
    (lambda nn: nn.Softmax(-1), (600, 33), ["softmax_delta_input"]),
    (lambda nn: nn.LogSoftmax(-1), (600, 33), ["log_softmax_delta_input"]),
    (lambda nn: nn.PReLU(6), (8, 6, 400), ["prelu_derivatives"]),
]


@pytest.mark.parametrize(("make", "shape", "kernels"), LAYERS)
def test_layers_in_bfloat16_run_the_kernels(
    make: Any, shape: Any, kernels: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    names = calls(monkeypatch)
    x, delta, results = torch.randn(shape).bfloat16(), torch.randn(shape).bfloat16(), []
    for nn, dtype in ((mb.nn, torch.bfloat16), (torch.nn, torch.float64)):
        layer, leaf = make(nn).to(dtype), x.to(dtype, copy=True).requires_grad_()
        output = layer(leaf)
        output.backward(delta.to(dtype))
        gradients = [p.grad for p in (leaf, *layer.parameters())]
        assert {t.dtype for t in (output, *gradients)} == {dtype}
        results.append([output.detach(), *gradients])
    for found, truth in zip(*results, strict=True):
        # of the largest: an output that is kept in bfloat16 is what the backward starts from
        assert float((found.double() - truth).abs().max()) <= 4 * EPS[torch.bfloat16] * float(truth.abs().max())
    assert names == [f"{kernel}_bfloat16" for kernel in kernels]


def test_layer_norm_forward(monkeypatch: pytest.MonkeyPatch) -> None:
    """The caches hold what is smaller, of which ATen's forward takes as long."""
    monkeypatch.setattr(rows, "around", lambda *_: True)
    monkeypatch.setattr(rows, "WORTHWHILE", 0)
    names, x = calls(monkeypatch), torch.randn(70, 129).bfloat16()
    weight, bias = torch.randn(2, 129).bfloat16()
    for w, b in ((weight, bias), (None, None)):
        found, mean, invstd = KERNELS[LayerNorm.normalized](x, (129,), w, b, 1e-5)
        wide = [None if v is None else v.double() for v in (w, b)]
        expected = LayerNorm.normalized(x.double(), (129,), *wide, 1e-5)[0]
        bound = 1.01 * EPS[torch.bfloat16] / 2 * expected.abs() + ROUNDINGS * EPS[torch.float32] * expected.abs().max()
        assert bool(((found.double() - expected).abs() <= bound).all())
        assert (found.dtype, mean.dtype, invstd.dtype) == (torch.bfloat16, torch.float32, torch.float32)
    assert names == ["layer_norm_bfloat16"] * 2


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16, torch.float32, torch.float64])
def test_the_eps_of_rms_norm_is_torchs(dtype: torch.dtype) -> None:
    """None, the default, is the eps of a dtype: of float32 for 16 bits, or small inputs would be made much smaller."""
    for scale in (1.0, 1e-3):
        x, results = (torch.randn(600, 33) * scale).to(dtype), []
        for nn in (mb.nn, torch.nn):
            leaf = x.clone().requires_grad_()
            output = nn.RMSNorm(33, dtype=dtype)(leaf)
            output.sum().backward()
            results.append((output.detach(), leaf.grad))
        for ours, theirs in zip(*results, strict=True):
            largest = float(theirs.abs().max())
            assert float((ours - theirs).abs().max()) <= 8 * torch.finfo(dtype).eps * largest  # seen: 2
