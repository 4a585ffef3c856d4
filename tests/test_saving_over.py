"""A tensor that is recomputed for one purpose is written over, and no other tensor ever is."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor

import manual_backprop as mb
import manual_backprop.functional as F
import manual_backprop.nn as nn
from manual_backprop import rules
from manual_backprop.engine import rule as _rule
from manual_backprop.kernels import batchnorm
from manual_backprop.memory import recompute as _recompute

N = 256


@pytest.fixture
def written(monkeypatch: pytest.MonkeyPatch) -> list[Tensor]:
    """What relu_ has written over from now on."""
    tensors: list[Tensor] = []
    over = _rule.OVER[rules.ReLU.forward]

    def noted(input: Tensor) -> Tensor:
        tensors.append(input)
        return over(input)

    monkeypatch.setitem(_rule.OVER, rules.ReLU.forward, noted)
    _rule.chosen.cache_clear()
    yield tensors  # type: ignore[misc]
    _rule.chosen.cache_clear()


def gradients(network: Callable[..., Tensor], mode: str, twice: bool = False) -> list[Tensor]:
    torch.manual_seed(0)
    weights = [torch.randn(N, N).div_(16).requires_grad_() for _ in range(3)]
    x = torch.randn(N, N)
    with mb.saving(mode):
        loss = network(x, *weights).square().sum()
    if twice:
        torch.autograd.grad(loss, weights, retain_graph=True)
    return list(torch.autograd.grad(loss, weights))


def normalized(x: Tensor, a: Tensor, b: Tensor, c: Tensor) -> Tensor:
    """What relu has as input is nobody else's: the norm's output, recomputed from the norm's input."""
    x = F.relu(F.layer_norm(F.linear(x, a), (N,)))
    return F.linear(F.relu(F.layer_norm(F.linear(x, b), (N,))), c)


def viewed(x: Tensor, a: Tensor, b: Tensor, c: Tensor) -> Tensor:
    """What relu has as input lies in the memory of the sigmoid's output, which the sigmoid keeps."""
    x = F.reshape(F.sigmoid(F.linear(x, a)), (N // 2, 2 * N))
    return F.linear(F.reshape(F.relu(x), (N, N)), F.linear(b, c))


def shared(x: Tensor, a: Tensor, b: Tensor, c: Tensor) -> Tensor:
    """Two ask for what relu has as input."""
    x = F.layer_norm(F.linear(x, a), (N,))
    return F.add(F.linear(F.relu(x), b), F.linear(x, c))


@pytest.mark.parametrize("twice", [False, True])
@pytest.mark.parametrize(("network", "over"), [(normalized, True), (viewed, False), (shared, None)])
def test_gradients_are_the_same_to_the_last_bit(
    network: Any, over: bool | None, twice: bool, written: list[Tensor]
) -> None:
    expected = gradients(network, "off", twice)
    assert not written
    found = gradients(network, "exact", twice)
    assert all(torch.equal(a, b) for a, b in zip(found, expected, strict=True))
    if over is not None:
        assert bool(written) is over


def test_a_rectified_batch_norm_is_recomputed_in_one_pass(
    written: list[Tensor], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Bit for bit, in both layouts, by kernels and by formulas; the step does not know the difference."""
    passes: list[str] = []
    key = (rules.ReLU.forward, rules.BatchNorm.scaled)
    fused = _recompute.FUSED[key]
    monkeypatch.setitem(_recompute.FUSED, key, lambda *args: passes.append("one") or fused(*args))
    monkeypatch.setattr(batchnorm, "WORTHWHILE", 0)
    layers = nn.Sequential(nn.Conv2d(3, 32, 3), nn.BatchNorm2d(32), nn.ReLU(), nn.Conv2d(32, 4, 3))
    for memory_format, backend in itertools.product(
        (torch.contiguous_format, torch.channels_last), ("auto", "formula")
    ):
        x = torch.randn(2, 3, 24, 24).contiguous(memory_format=memory_format)
        found = []
        for mode in ("off", "exact"):
            with mb.backend(backend), mb.saving(mode):
                loss = layers(x).square().sum()
                found.append(torch.autograd.grad(loss, list(layers.parameters())))
        assert all(torch.equal(a, b) for a, b in zip(*found, strict=True))
        assert passes == ["one"]
        passes.clear()
    assert not written


def test_the_tensor_itself_is_left_alone_while_someone_holds_it(written: list[Tensor]) -> None:
    layer, linear, x = nn.BatchNorm1d(N), nn.Linear(N, N), torch.randn(N, N, requires_grad=True)
    before = layer(F.mul(x, 2.0))
    loss = linear(F.relu(before)).sum()
    kept = before.detach().clone()
    loss.backward()
    assert not written
    assert torch.equal(before, kept)
