"""The products of dropout (kernels/dropout.py) and alpha dropout's forward are the formulas to the last bit."""

from __future__ import annotations

import ctypes
from collections.abc import Iterator
from typing import Any

import pytest
import torch
from torch import Tensor

import manual_backprop as mb
from manual_backprop.engine.rule import KERNELS
from manual_backprop.kernels import c, memory, native
from manual_backprop.kernels.registry import REGISTERED
from manual_backprop.rules import AlphaDropout, Dropout

from .test_native import calls

WORDS = {torch.float32: torch.int32, torch.float64: torch.int64, torch.bfloat16: torch.int16}
RULES = pytest.mark.parametrize("rule", [Dropout, AlphaDropout])


pytestmark = pytest.mark.usefixtures("c_kernels")


@pytest.fixture(params=[0, 2**62], ids=["around", "through"])
def cache(request: pytest.FixtureRequest) -> Iterator[None]:
    """Whether results go around the caches: these hold nothing, or everything."""
    native.library().know_cache(ctypes.c_int64(request.param))
    yield
    native.library().know_cache(ctypes.c_int64(memory.largest_cache()))


def same_bits(found: Tensor, truth: Tensor) -> None:
    numbers, words = ~truth.isnan(), WORDS[truth.dtype]
    assert (found.dtype, found.stride()) == (truth.dtype, truth.stride())
    assert torch.equal(found.isnan(), ~numbers)  # any of the NaNs
    assert torch.equal(found[numbers].view(words), truth[numbers].view(words))


def images(dtype: torch.dtype) -> list[tuple[Tensor, int]]:
    """Tensors, and how many of their axes a mask of channels has: channels first and last, with a batch and without."""
    last = torch.randn(3, 64, 5, 7).contiguous(memory_format=torch.channels_last)
    given = [(torch.randn(3, 5, 128), 2), (torch.randn(4, 33), 1), (torch.randn(2, 3, 4, 5, 6), 2), (last, 2),
             (torch.randn(3, 200, 200), 1)]  # fmt: skip
    for x, _ in given:
        x[..., 0] = -0.0
        x[0, ..., 1], x[-1, ..., 1], x[0, ..., 2] = torch.inf, -torch.inf, torch.nan
    return [(x.to(dtype), axes) for x, axes in given]


def channels(x: Tensor, axes: int) -> Tensor:
    return torch.rand(*x.shape[:axes], *[1] * (x.dim() - axes)) > 0.4


@RULES
@pytest.mark.usefixtures("cache")
@pytest.mark.parametrize("threads", [1, 2])
@pytest.mark.parametrize("dtype", c.TYPES)
def test_whole_channels_bit_for_bit(
    rule: Any, dtype: torch.dtype, threads: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch, "get_num_threads", lambda: threads)
    names = calls(monkeypatch)
    for x, axes in images(dtype):
        mask = channels(x, axes)
        for p in (0.1, 0.4):
            same_bits(KERNELS[rule.delta_input](x, mask, p), rule.delta_input(x, mask, p))
    assert names == [f"masked_channels_{native.REAL[dtype]}"] * 10


@pytest.mark.usefixtures("cache")
@pytest.mark.parametrize("dtype", c.TYPES)
def test_alpha_dropouts_forward(dtype: torch.dtype, monkeypatch: pytest.MonkeyPatch) -> None:
    names = calls(monkeypatch)
    given = images(dtype)
    for x, axes in given:
        for mask in (channels(x, axes), torch.rand(x.shape) > 0.2):
            same_bits(KERNELS[AlphaDropout.output](x, mask, 0.4), AlphaDropout.output(x, mask, 0.4))
    same_bits(
        KERNELS[AlphaDropout.output](x[0, 0, 0], mask[0, 0, 0], 0.4),
        AlphaDropout.output(x[0, 0, 0], mask[0, 0, 0], 0.4),
    )
    expected = [x.is_contiguous() for x, _ in given].count(True) + len(
        given
    )  # of a mask that lies otherwise, the formula
    assert names == [f"masked_channels_{native.REAL[dtype]}"] * expected


@RULES
@pytest.mark.parametrize("dtype", c.TYPES)
def test_bit_for_bit(rule: Any, dtype: torch.dtype) -> None:
    shape = (40, 31, 5)
    mask = torch.rand(shape) > 0.3
    deltas = torch.randn(shape), torch.randn(shape[::-1]).permute(2, 1, 0), torch.ones(1, 31, 5).expand(shape)
    deltas[0].view(-1)[:4] = torch.tensor([torch.inf, -torch.inf, torch.nan, -0.0])
    formula, kernel = rule.delta_input, KERNELS[rule.delta_input]
    cases = [(delta.to(dtype), mask, p) for delta in deltas for p in (0.1, 0.3, 1.0)]
    expected = [formula(*case) for case in cases]
    for case, truth in zip(cases, expected, strict=True):
        same_bits(kernel(*case), truth)
    left = [case[2] for case in cases if REGISTERED[formula,]["cpu"].run(*case) is NotImplemented]
    assert left == ([1.0] * 3 if rule is Dropout else []), "what is left to the formula"


@RULES
def test_other_tensors_go_to_the_formula(rule: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    names, mask, delta = calls(monkeypatch), torch.rand(6, 4) > 0.3, torch.randn(6, 4)
    kernel = KERNELS[rule.delta_input]
    assert torch.equal(kernel(delta.half(), mask, 0.5), rule.delta_input(delta.half(), mask, 0.5))
    assert torch.equal(kernel(delta, mask[:1], 0.5), rule.delta_input(delta, mask[:1], 0.5))
    for x, one in (
        (delta.T, mask.T[:, :1]),
        (delta[:, ::2], mask[:, :1]),
        (delta, mask[:, ::4]),
        (delta[:0], mask[:0, :1]),
    ):
        assert torch.equal(kernel(x, one, 0.5), rule.delta_input(x, one, 0.5))
    assert names == []
    found = torch.func.vmap(lambda d, m: kernel(d, m, 0.5))(delta, mask)
    assert torch.equal(found, rule.delta_input(delta, mask, 0.5))


@pytest.mark.parametrize("name", ["Dropout", "Dropout2d", "AlphaDropout", "FeatureAlphaDropout"])
@pytest.mark.parametrize("memory_format", [torch.contiguous_format, torch.channels_last])
def test_layers_are_their_twins(name: str, memory_format: torch.memory_format) -> None:
    x, results = torch.randn(30, 20, 5, 5).contiguous(memory_format=memory_format), []
    for nn in (mb.nn, torch.nn):
        torch.manual_seed(5)
        leaf = x.clone(memory_format=torch.preserve_format).requires_grad_()
        output = getattr(nn, name)(0.1)(leaf)
        output.square().sum().backward()
        results.append((output, leaf.grad))
    for ours, theirs in zip(*results, strict=True):
        near = 1e-6 if "Alpha" in name else 0.0  # torch multiplies and adds alpha dropout's numbers in another order
        torch.testing.assert_close(ours, theirs, rtol=near, atol=near)
