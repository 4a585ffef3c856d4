"""Kernels of interpolation, padding, grid_sample and instance normalization: the formulas' numbers, in every layout."""

from __future__ import annotations

from collections.abc import Callable
from itertools import product
from typing import Any

import pytest
import torch
from torch import Tensor

import manual_backprop as mb
from manual_backprop.kernels.registry import REGISTERED
from manual_backprop.rules import GridSample, InstanceNorm, Interpolate, Pad

LAST = {4: torch.channels_last, 5: torch.channels_last_3d}
REALS = (torch.float32, torch.float64)


def compare(formula: Callable[..., Any], *arguments: Any, dtype: torch.dtype) -> None:
    """The kernel serves, and what it computes is what the formula does."""
    (kernel,) = [kernels["cpu"].run for formulas, kernels in REGISTERED.items() if formulas == (formula,)]
    found, expected = kernel(*arguments), formula(*arguments)
    assert found is not NotImplemented
    rtol = 1e-12 if dtype == torch.float64 else 1e-4  # the formula's places are float32, those of the kernel float64
    for one, other in zip(*(v if isinstance(v, tuple) else (v,) for v in (found, expected)), strict=True):
        assert (one is None) == (other is None)
        if one is not None:
            torch.testing.assert_close(one, other, rtol=rtol, atol=rtol * float(other.abs().max()))


def layouts(tensor: Tensor) -> list[Tensor]:
    last = [tensor.contiguous(memory_format=LAST[tensor.dim()])] if tensor.dim() in LAST else []
    return [tensor, *last, tensor.transpose(0, -1).contiguous().transpose(0, -1)]


SIZES = {1: ((57,), (301,)), 2: ((9, 7), (21, 15)), 3: ((3, 5, 4), (6, 7, 9))}


@pytest.mark.parametrize("dtype", REALS)
@pytest.mark.parametrize(("mode", "axes"), [
    *product(("nearest", "nearest-exact", "linear"), (1, 2, 3)),
    *product(("cubic", "linear-antialias", "cubic-antialias"), (2,)),
])  # fmt: skip
def test_interpolation(mode: str, axes: int, dtype: torch.dtype) -> None:
    torch.manual_seed(0)
    for size, outputs in (SIZES[axes], SIZES[axes][::-1]):
        for delta in layouts(torch.randn(4, 5, *outputs, dtype=dtype)):
            for corners, scale in product((False, True), (None, 1.3)):
                arguments = (4, 5, *size), outputs, mode, corners, (scale,) * axes
                compare(Interpolate.delta_input, delta, *arguments, dtype=dtype)


@pytest.mark.parametrize("dtype", REALS)
@pytest.mark.parametrize("mode", ["reflect", "replicate", "circular"])
def test_padding(mode: str, dtype: torch.dtype) -> None:
    torch.manual_seed(0)
    for delta, axis in product(layouts(torch.randn(6, 5, 8, 9, dtype=dtype)), (-1, -2)):
        for left, right in ((1, 2), (0, 3), (-1, 2), (2, -2), (-1, -1)):
            compare(Pad.fold, delta, axis, left, right, mode, dtype=dtype)


@pytest.mark.parametrize("dtype", REALS)
@pytest.mark.parametrize("axes", [2, 3])
def test_grid_sample(axes: int, dtype: torch.dtype) -> None:
    torch.manual_seed(0)
    size, places = ((5, 6), (9, 8)) if axes == 2 else ((3, 4, 5), (4, 3, 6))
    grid = torch.rand(3, *places, axes, dtype=dtype) * 4 - 2
    inputs, deltas = (layouts(torch.randn(3, 4, *shape, dtype=dtype)) for shape in (size, places))
    for input, delta in zip(inputs, deltas, strict=True):
        for mode, padding, corners in product((0, 1, 2)[: 5 - axes], (0, 1, 2), (False, True)):
            for needs in ((True, True), (True, False), (False, True)):
                given = input if needs[1] else None
                arguments = input.shape, grid, mode, padding, corners, given, needs
                compare(GridSample.derivatives, delta, *arguments, dtype=dtype)


@pytest.mark.parametrize("dtype", REALS)
@pytest.mark.parametrize("affine", [False, True])
def test_instance_norm(affine: bool, dtype: torch.dtype) -> None:
    torch.manual_seed(0)
    weight = torch.randn(5, dtype=dtype) if affine else None
    for input, delta in zip(*(layouts(torch.randn(4, 5, 6, 7, dtype=dtype)) for _ in range(2)), strict=True):
        mean = InstanceNorm.mean(input)
        arguments = input, weight, mean, InstanceNorm.invstd(input, mean, 1e-5), (True, affine, affine)
        compare(InstanceNorm.derivatives, delta, *arguments, dtype=dtype)


@pytest.mark.parametrize("dtype", REALS)
@pytest.mark.parametrize("mode", ["nearest", "nearest-exact"])
def test_nearest_sends_each_delta_to_the_element_that_was_copied(mode: str, dtype: torch.dtype) -> None:
    """torch's kernels round places differently, by their number of axes and by layout."""
    torch.manual_seed(0)
    for axes, channels, factor in product((1, 2, 3), (2, 5), (0.37, 1.0, 1.1, 1.9, 2.2)):
        for input in layouts(torch.randn(2, channels, *(5, 4, 6)[:axes], dtype=dtype)):
            input.requires_grad_()
            output = mb.functional.interpolate(input, scale_factor=factor, mode=mode)
            delta = torch.randn_like(output)
            (delta_input,) = torch.autograd.grad(output, input, delta)
            one, other = (delta * output).sum(), (delta_input * input).sum()
            torch.testing.assert_close(one, other, rtol=1e-4, atol=1e-4)
