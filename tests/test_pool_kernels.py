"""The C kernels of pools.c against the formulas in float64, and aside where they must be."""

from __future__ import annotations

import itertools
from typing import Any

import pytest
import torch
from torch import Tensor

import manual_backprop as mb
from manual_backprop.engine.rule import KERNELS
from manual_backprop.kernels import pools
from manual_backprop.rules import AdaptiveAvgPool, AvgPool

from .test_native import calls

SHAPES = {1: (3, 5, 19), 2: (2, 18, 11, 13), 3: (2, 3, 6, 7, 9)}
AXES = pytest.mark.parametrize("axes", SHAPES)
DTYPES = pytest.mark.parametrize("dtype", pools.REAL)
WINDOWS = [
    (2, 2, 0),
    (3, 2, 1),
    (3, 1, 1),
    (2, 3, 0),
    (4, 3, 2),
    (5, 4, 2),
    (1, 1, 0),
    (1, 2, 0),
]  # size, step, padding
ROUNDINGS = 8  # of the largest; seen: 3, in sums of 125 numbers


@pytest.fixture(autouse=True)
def at_any_size(c_kernels: None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pools, "WORTHWHILE", 0)


def close(found: Tensor, truth: Tensor, twin: Tensor | None = None) -> None:
    """Within some roundings of float64's; of the shape, dtype and memory format of the twin's."""
    size = torch.finfo(found.dtype).eps * float(truth.abs().max())
    assert found.shape == truth.shape
    assert float((found.double() - truth).abs().max()) <= ROUNDINGS * size
    if twin is not None:
        assert (found.dtype, found.stride()) == (twin.dtype, twin.stride())


def images(axes: int, dtype: torch.dtype) -> list[Tensor]:
    """Channels first and, in two axes, last; without a batch."""
    x = torch.randn(SHAPES[axes], dtype=dtype)
    return [x, x[0]] + ([x.contiguous(memory_format=torch.channels_last)] if axes == 2 else [])


@DTYPES
@AXES
@pytest.mark.parametrize("threads", [1, 2])
def test_means(axes: int, dtype: torch.dtype, threads: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch, "get_num_threads", lambda: threads)
    names = calls(monkeypatch)
    if axes == 3 and dtype == torch.bfloat16:
        pytest.skip("torch has no such forward on the CPU to compare with; functional.py widens first")
    cases = itertools.product(images(axes, dtype), WINDOWS, (False, True), (False, True), (None, -3)[: min(axes, 2)])
    expected = 0
    for x, window, ceil_mode, padded, divisor in cases:
        sizes = tuple((v,) * axes for v in window)
        options = *sizes, ceil_mode, padded, divisor
        output = KERNELS[AvgPool.output](x, *options)
        close(output, AvgPool.output(x.double(), *options), AvgPool.output(x, *options))
        turned = torch.randn(output.shape[::-1], dtype=dtype).permute(*range(output.dim())[::-1])
        for delta in (torch.randn_like(output), turned):
            facts = x.shape, *sizes, padded, divisor
            close(KERNELS[AvgPool.delta_input](delta, *facts), AvgPool.delta_input(delta.double(), *facts))
        expected += 2 + x.is_contiguous()  # ATen's forward for channels last
        assert len(names) == expected
    with pytest.raises(AssertionError):
        close(output * (1 + 4 * ROUNDINGS * torch.finfo(dtype).eps), AvgPool.output(x.double(), *options))


@DTYPES
@AXES
@pytest.mark.parametrize("size", [2, 3, 4, 5, 11])
def test_adaptive_means(size: int, axes: int, dtype: torch.dtype, monkeypatch: pytest.MonkeyPatch) -> None:
    names = calls(monkeypatch)
    for x in images(axes, dtype):
        sizes = (size,) * axes
        output = KERNELS[AdaptiveAvgPool.output](x, sizes)
        close(output, AdaptiveAvgPool.output(x.double(), sizes), AdaptiveAvgPool.output(x, sizes))
        delta = torch.randn_like(output)
        found = KERNELS[AdaptiveAvgPool.delta_input](delta, x.shape, sizes)
        close(found, AdaptiveAvgPool.delta_input(delta.double(), x.shape, sizes))
        forward = [f"mean_pool_{pools.REAL[dtype]}"] * x.is_contiguous()  # ATen's for channels last
        assert names == [*forward, f"mean_pool_delta_input_{pools.REAL[dtype]}"]
        names.clear()


def test_infinities_and_nan_stay_in_their_windows() -> None:
    x = torch.zeros(1, 1, 6, 40)
    x[..., 0, 0], x[..., 0, 20], x[..., 5, 39] = torch.inf, -torch.inf, torch.nan
    options = (3, 3), (2, 2), (1, 1), True, True, None
    found, expected = KERNELS[AvgPool.output](x, *options), AvgPool.output(x, *options)
    torch.testing.assert_close(found, expected, rtol=0, atol=0, equal_nan=True)
    facts = x.shape, (3, 3), (2, 2), (1, 1), True, None
    delta = found.nan_to_num(nan=torch.nan)
    torch.testing.assert_close(
        KERNELS[AvgPool.delta_input](delta, *facts),
        AvgPool.delta_input(delta, *facts),
        rtol=1e-6,
        atol=0,
        equal_nan=True,
    )


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"kernel_size": 2, "padding": 2}, "pad should be"),
        ({"kernel_size": 20}, "too small"),
        ({"kernel_size": 2, "divisor_override": 0}, "divisor must be not zero"),
    ],
)
def test_torch_still_refuses_what_it_refuses(options: Any, message: str) -> None:
    with pytest.raises(RuntimeError, match=message):
        mb.functional.avg_pool2d(torch.randn(1, 1, 4, 4), **options)


def test_what_the_kernels_do_not_take_goes_to_the_formula(monkeypatch: pytest.MonkeyPatch) -> None:
    names = calls(monkeypatch)
    options = (2, 2), (2, 2), (0, 0), False, True, None
    for x in (
        torch.randn(2, 3, 9, 18)[..., ::2],
        torch.randn(2, 3, 9, 9, dtype=torch.float16),
        torch.randn(0, 3, 9, 9),
    ):
        assert torch.equal(KERNELS[AvgPool.output](x, *options), AvgPool.output(x, *options))
    x = torch.randn(2, 3, 8, 8, requires_grad=True)
    (grad,) = torch.autograd.grad(mb.functional.avg_pool2d(x, 2).square().sum(), x, create_graph=True)
    assert grad.requires_grad
    assert names == ["mean_pool_float"]  # the forward alone
    with mb.backend("formula"):
        mb.functional.avg_pool2d(x, 2).sum().backward()
    assert names == ["mean_pool_float"]


def test_small_images_keep_atens_forward(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.undo()
    names, x = calls(monkeypatch), torch.randn(2, 3, 9, 9)
    assert torch.equal(mb.functional.avg_pool2d(x, 3, 2, 1), torch.nn.functional.avg_pool2d(x, 3, 2, 1))
    assert names == []
