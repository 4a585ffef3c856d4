"""Rows that go around the caches (stream.h) are, bit for bit, those that go through them."""

from __future__ import annotations

import ctypes
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import torch

from manual_backprop.engine.rule import KERNELS
from manual_backprop.engine.terms import widen
from manual_backprop.kernels import batchnorm, memory, native, rows, softmax
from manual_backprop.rules import (
    AddLayerNorm,
    AddRMSNorm,
    BatchNorm,
    CrossEntropyLoss,
    GroupNorm,
    LayerNorm,
    LogSoftmax,
    RMSNorm,
    Softmax,
)

SHAPES = [(6, 128), (5, 64), (3, 65), (7, 640)]
DTYPES = pytest.mark.parametrize("dtype", rows.REAL)


@pytest.fixture(autouse=True)
def caches_that_hold_nothing(c_kernels: None, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setattr(softmax, "WORTHWHILE", dict.fromkeys(rows.REAL, 0))
    monkeypatch.setattr(softmax, "ACROSS_WORTHWHILE", dict.fromkeys(rows.REAL, 0))
    monkeypatch.setattr(rows, "WORTHWHILE", 0)
    monkeypatch.setattr(batchnorm, "WORTHWHILE", 0)
    monkeypatch.setattr(rows, "around", lambda *_: True)
    yield
    native.library().know_cache(ctypes.c_int64(memory.largest_cache()))


def same(formula: Callable[..., Any], *args: Any) -> None:
    found = []
    for cache in (0, 2**62):
        native.library().know_cache(ctypes.c_int64(cache))
        results = KERNELS[formula](*args)
        found.append(results if isinstance(results, tuple) else (results,))
    for around, through in zip(*found, strict=True):
        assert (around is None) == (through is None)
        assert around is None or torch.equal(around, through)


@DTYPES
@pytest.mark.parametrize("shape", SHAPES)
def test_softmax_and_cross_entropy(shape: tuple[int, int], dtype: torch.dtype) -> None:
    x, delta = torch.randn(2, *shape).to(dtype)
    same(Softmax.output, x, -1, None)
    same(LogSoftmax.output, x, -1, None)
    same(Softmax.delta_input, delta, x.softmax(-1), -1)
    same(LogSoftmax.delta_input, delta, x.log_softmax(-1), -1)
    same(Softmax.output, x, 0, None)
    same(LogSoftmax.output, x, 0, None)
    same(Softmax.delta_input, delta, x.softmax(0), 0)
    same(LogSoftmax.delta_input, delta, x.log_softmax(0), 0)
    if dtype != torch.bfloat16:
        same(CrossEntropyLoss.output, x, torch.arange(len(x)), None, -100, "mean", 0.1)


@DTYPES
@pytest.mark.parametrize("shape", SHAPES)
def test_norms(shape: tuple[int, int], dtype: torch.dtype) -> None:
    x, delta = torch.randn(2, *shape, dtype=dtype)
    weight, bias = torch.randn(2, shape[-1], dtype=dtype)
    last = torch.Size(shape[-1:])
    for w in (weight, None):
        _, mean, invstd = torch.native_layer_norm(x, last, w, None, 1e-5)
        same(LayerNorm.derivatives, delta, x, w, mean, invstd, last, (True, True, True))
        same(LayerNorm.derivatives, delta, x, w, mean, invstd, last, (True, False, False))
        same(RMSNorm.derivatives, delta, x, w, last, 1e-5, (True, True))
        same(RMSNorm.normalized, x, last, w, 1e-5)
        for e in (delta.flip(0), None):
            same(AddLayerNorm.derivatives, delta, e, x, w, mean, invstd, last, (True, True, True))
            same(AddLayerNorm.derivatives, delta, e, x, w, mean, invstd, last, (True, False, False))
        same(AddLayerNorm.outputs, x, delta, last, w, bias, 1e-5)
        same(AddRMSNorm.outputs, x, delta, last, w, 1e-5)
        for b in (bias, None):
            same(LayerNorm.normalized, x, last, w, b, 1e-5)


@DTYPES
@pytest.mark.parametrize("positions", [64, 128, 65])
def test_norms_of_channels(positions: int, dtype: torch.dtype) -> None:
    x, delta = torch.randn(2, 3, 8, positions, dtype=dtype)
    weight = torch.randn(8, dtype=dtype)
    _, mean, invstd = torch.native_group_norm(x, weight, None, 3, 8, positions, 2, 1e-5)
    same(GroupNorm.derivatives, delta, x, weight, mean, invstd, (True, True, True))
    mean, invstd = widen(x.mean((0, 2)), x.var((0, 2)).rsqrt())
    same(BatchNorm.derivatives, delta, x, weight, mean, invstd, (True, True, True))
    same(BatchNorm.scaled, x, weight, None, mean, invstd, 1e-5)
    turned = [v.transpose(0, 1).reshape(8, -1).T.contiguous() for v in (delta, x)]
    for channels in (8, 64):
        wide = [v.repeat(1, channels // 8) for v in turned]
        facts = [v.repeat(channels // 8) for v in (weight, mean, invstd)]
        same(BatchNorm.derivatives, *wide, *facts, (True, True, True))


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_a_layer_norm_of_its_own_is_as_exact_as_atens(dtype: torch.dtype) -> None:
    """Each in roundings of numbers of the size of the output, about 4."""
    x = torch.randn(50, 300, dtype=dtype) * 3 + 7
    weight, bias = torch.randn(2, 300, dtype=dtype)
    eps, last = torch.finfo(dtype).eps, torch.Size([300])
    for facts in ((weight, bias), (weight, None), (None, bias), (None, None)):
        found, twin = KERNELS[LayerNorm.normalized](x, last, *facts, 1e-5), LayerNorm.normalized(x, last, *facts, 1e-5)
        wide = [None if v is None else v.double() for v in facts]
        truth = LayerNorm.normalized(x.double(), last, *wide, 1e-5)
        for ours, theirs, value in zip(found, twin, truth, strict=True):
            assert ours.shape == theirs.shape
            assert ours.dtype == theirs.dtype
            error, atens = (float((v.double() - value).abs().max()) for v in (ours, theirs))
            assert error <= max(atens, 4 * eps * float(value.abs().max()))
