"""The C of maxpool.c is the formula to the last bit, sums apart; it stays aside where it must."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor

import manual_backprop as mb
from manual_backprop.engine.rule import KERNELS
from manual_backprop.kernels import maxpool, memory, native
from manual_backprop.rules import MaxPool

from .test_native import calls

POOLS = [  # kernel_size, stride, padding, dilation, ceil_mode
    ((2, 2), (2, 2), (0, 0), (1, 1), False),
    ((3, 3), (2, 2), (1, 1), (1, 1), True),
    ((3, 2), (1, 3), (1, 0), (2, 1), False),
    ((4, 5), (3, 4), (2, 2), (1, 2), True),
    ((1, 3), (5, 1), (0, 1), (3, 3), True),
    ((2, 2), (3, 3), (1, 1), (4, 3), True),
    ((2,), (2,), (0,), (1,), False),
    ((3,), (2,), (1,), (1,), True),
    ((2,), (1,), (1,), (2,), False),
    ((2, 2, 2), (2, 2, 2), (0, 0, 0), (1, 1, 1), False),
    ((3, 2, 3), (2, 1, 3), (1, 0, 1), (1, 2, 2), True),
    ((1, 4, 2), (3, 2, 1), (0, 2, 1), (1, 1, 3), True),
]
SIZES = {1: (13,), 2: (11, 13), 3: (5, 7, 13)}
DTYPES = pytest.mark.parametrize("dtype", native.REAL)
ROUNDINGS = 4  # of the largest; seen: 1.5, in sums of 20 numbers


pytestmark = pytest.mark.usefixtures("c_kernels")


def same(found: tuple[Tensor, Tensor], expected: tuple[Tensor, Tensor]) -> None:
    """Outputs and winners, with their memory format."""
    torch.testing.assert_close(found[0], expected[0], rtol=0, atol=0, equal_nan=True)
    assert torch.equal(found[1], expected[1])
    assert [(t.stride(), t.dtype) for t in found] == [(t.stride(), t.dtype) for t in expected]


def back(delta: Tensor, winner: Tensor, shape: Any, options: tuple) -> Tensor:
    """The kernel's delta_input, after comparing it with the formula in float64, which adds in another order."""
    found = KERNELS[MaxPool.delta_input](delta, winner, shape, *options[:4])
    truth = MaxPool.delta_input(delta.double(), winner, shape, *options[:4])
    scale = torch.finfo(delta.dtype).eps * float(truth.abs().max())
    assert found.dtype == delta.dtype
    assert float((found.double() - truth).abs().max()) <= ROUNDINGS * scale
    return found


@DTYPES
@pytest.mark.parametrize(("options", "last"), [(p, last) for p in POOLS for last in (False, True)[: len(p[0])]])
def test_max_pool(options: Any, last: bool, dtype: torch.dtype, monkeypatch: pytest.MonkeyPatch) -> None:
    names, axes = calls(monkeypatch), len(options[0])
    size = SIZES[axes]
    input = torch.randn(3, 18, *size).round(decimals=1).to(dtype)  # ties
    input[0, 0, ..., :5] = -torch.inf
    input[1, :3, ..., 3:7] = torch.nan
    input[2] = 0.0
    if last:
        input = input.contiguous(memory_format=memory.LAST[axes + 2])
    found = KERNELS[MaxPool.winners](input, *options)
    same(found, MaxPool.winners(input, *options))
    assert found[1].dtype == torch.uint8
    output, winner = found
    turned = torch.randn_like(output.transpose(1, -1).contiguous()).transpose(1, -1)
    for delta in (torch.randn_like(output), turned):
        assert back(delta, winner, input.shape, options).stride() == input.stride()
    kinds = ["max_pool_winners", "max_pool_delta_input", "max_pool_delta_input"]
    assert names == [f"{kind}_{native.REAL[dtype]}" for kind in kinds]


@DTYPES
@pytest.mark.parametrize("options", POOLS)
def test_without_a_batch(options: Any, dtype: torch.dtype, monkeypatch: pytest.MonkeyPatch) -> None:
    names, size = calls(monkeypatch), SIZES[len(options[0])]
    input = torch.randn(5, *size, dtype=dtype)
    output, winner = KERNELS[MaxPool.winners](input, *options)
    same((output, winner), MaxPool.winners(input, *options))
    back(torch.randn_like(output), winner, input.shape, options)
    assert len(names) == 2


@DTYPES
@pytest.mark.parametrize("options", [p for p in POOLS if len(p[0]) == 2])
def test_rows_of_every_width(options: Any, dtype: torch.dtype) -> None:
    """Windows of one row are taken 16, 8 or 4 at a time, the last of them overlapping those before."""
    for width in (*range(9, 45), 63, 130, 600):
        input = torch.randn(2, 3, 9, width).round(decimals=1).to(dtype)
        input[0, 0, ::2, ::3] = torch.nan
        same(KERNELS[MaxPool.winners](input, *options), MaxPool.winners(input, *options))


def test_a_byte_holds_the_places_of_a_window_up_to_256(monkeypatch: pytest.MonkeyPatch) -> None:
    names, x = calls(monkeypatch), torch.arange(600.0).expand(1, 1, 600)
    for places, dtype in ((256, torch.uint8), (257, torch.int16)):
        options = (places,), (1,), (0,), (1,), False
        output, winner = KERNELS[MaxPool.winners](x, *options)
        assert winner.dtype == dtype
        assert winner.unique().tolist() == [places - 1]
        assert torch.equal(output, x[..., places - 1 :])
        expected = torch.zeros(600).index_fill(0, torch.arange(places - 1, 600), 1.0)
        assert torch.equal(back(torch.ones_like(output), winner, x.shape, options)[0, 0], expected)
    assert len(names) == 2


@pytest.mark.parametrize(
    "make",
    [
        lambda: (torch.randn(1, 1, 30, 30), ((20, 13), (1, 1), (0, 0), (1, 1), False)),  # 260 places
        lambda: (torch.randn(2, 3, 9, 9, dtype=torch.float16), ((2, 2), (2, 2), (0, 0), (1, 1), False)),
        lambda: (torch.randn(2, 3, 9, 18)[..., ::2], ((2, 2), (2, 2), (0, 0), (1, 1), False)),
        lambda: (torch.randn(0, 3, 9, 18), ((2, 2), (2, 2), (0, 0), (1, 1), False)),
    ],
)
def test_what_the_kernel_does_not_take_goes_to_the_formula(make: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    names = calls(monkeypatch)
    input, options = make()
    output, winner = KERNELS[MaxPool.winners](input, *options)
    same((output, winner), MaxPool.winners(input, *options))
    assert names == []


def test_a_window_that_holds_nothing_reads_and_writes_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    names = calls(monkeypatch)
    options = (2, 2), (3, 3), (1, 1), (4, 4), True  # steps at -1 and 3, where x has the one place 0
    input = torch.ones(2, 3, 1, 1)
    output, winner = KERNELS[MaxPool.winners](input, *options)
    assert names == []
    assert torch.equal(output, torch.nn.functional.max_pool2d(input, *options))
    assert output.eq(-torch.inf).all()
    delta_input = KERNELS[MaxPool.delta_input](torch.ones_like(output), winner, input.shape, *options[:4])
    assert names == ["max_pool_delta_input_float"]
    assert torch.equal(delta_input, torch.zeros_like(input))


def test_places_beyond_the_window_write_nothing() -> None:
    winner = torch.full((1, 1, 1, 1), 255, dtype=torch.uint8)
    options = (2, 2), (2, 2), (0, 0), (1, 1)
    found = KERNELS[MaxPool.delta_input](torch.ones(1, 1, 1, 1), winner, (1, 1, 2, 2), *options)
    assert torch.equal(found, torch.zeros(1, 1, 2, 2))


def test_torch_still_refuses_what_it_refuses() -> None:
    for options in ({"kernel_size": 2, "padding": 2}, {"kernel_size": 20}, {"kernel_size": 2, "stride": 0}):
        errors = []
        for pool in (mb.functional.max_pool2d, torch.nn.functional.max_pool2d):
            with pytest.raises(RuntimeError) as raised:
                pool(torch.randn(1, 1, 4, 4, requires_grad=True), **options)
            errors.append(str(raised.value).splitlines()[0])
        assert errors[1] in errors[0]


def test_the_sizes_of_the_output_are_torchs() -> None:
    for size in range(1, 9):
        for k, s, p, d, ceil in ((2, 2, 1, 1, True), (3, 2, 1, 1, True), (3, 5, 1, 2, True), (2, 3, 0, 1, False)):
            found = maxpool._planned((1, 1, size), (k,), (s,), (p,), (d,), ceil)
            try:
                expected = torch.nn.functional.max_pool1d(torch.zeros(1, 1, size), k, s, p, d, ceil).shape
            except RuntimeError:
                assert found is None
            else:
                assert found is None or found[0] == expected
