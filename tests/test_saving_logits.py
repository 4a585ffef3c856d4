"""Logits that are recomputed from the last Linear's input and weight, where that was asked for."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest
import torch
from torch import Tensor
from torch.utils.checkpoint import checkpoint

import manual_backprop as mb
import manual_backprop.functional as F
import manual_backprop.nn as nn
from manual_backprop.memory import recompute as _recompute
from manual_backprop.memory import saving as _saving
from tests.limits import large

N, I, V = 16, 4, 80  # noqa: E741


@pytest.fixture(autouse=True)
def small_tensors_count(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    large(monkeypatch, 1)
    with mb.saving("exact"):
        yield


def network(bias: bool = True) -> torch.nn.Sequential:
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(I, I), nn.GELU(), nn.Linear(I, V, bias=bias))


X, TARGET = torch.randn(N, I, generator=torch.Generator().manual_seed(1)), torch.arange(N) * 5


def plainly(net: torch.nn.Module) -> Tensor:
    return F.cross_entropy(net(X), TARGET)


def softly(net: torch.nn.Module) -> Tensor:
    return F.cross_entropy(net(X), TARGET, torch.linspace(0.5, 2, V), label_smoothing=0.1)


def capped(net: torch.nn.Module) -> Tensor:
    return F.cross_entropy(F.tanh(net(X)), TARGET)


def hooked(net: torch.nn.Module) -> Tensor:
    logits = net(X)
    logits.register_hook(lambda delta: delta * 3)
    return F.cross_entropy(logits, TARGET)


def used_elsewhere(net: torch.nn.Module) -> Tensor:
    logits = net(X)
    return F.cross_entropy(logits, TARGET) + logits.square().mean()


def checkpointed(net: torch.nn.Module) -> Tensor:
    return checkpoint(plainly, net, use_reentrant=False)


def gradients(net: torch.nn.Module, loss: Callable[..., Tensor]) -> list[Tensor]:
    net.zero_grad()
    loss(net).backward()
    return [p.grad.clone() for p in net.parameters()]  # type: ignore[union-attr]


@pytest.mark.parametrize("loss", [plainly, softly, capped, hooked, used_elsewhere, checkpointed])
@pytest.mark.parametrize("bias", [True, False])
def test_the_same_gradients_to_the_last_bit(loss: Callable, bias: bool) -> None:
    net = network(bias)
    expected = gradients(net, loss)
    with mb.saving("exact", logits_again=True):
        found = gradients(net, loss)
    assert all(torch.equal(a, b) for a, b in zip(found, expected, strict=True))


def test_bytes() -> None:
    net = network()

    def counted(**options: bool) -> int:
        with mb.saving("exact", **options):
            return mb.saved_bytes(net, X, loss=lambda logits: F.cross_entropy(logits, TARGET)).ours

    assert counted() - counted(logits_again=True) == N * V * 4
    assert _saving.logits is False, "the former choice returns"


def test_they_come_from_the_linear_layer(monkeypatch: pytest.MonkeyPatch) -> None:
    net = network()
    with mb.saving("exact", logits_again=True):
        expected = gradients(net, plainly)
        value = plainly(net)
        net.zero_grad()
        output_of = _recompute.output_of
        monkeypatch.setattr(_recompute, "output_of", lambda node, task: output_of(node, task) * 2)
        value.backward()
    assert not torch.equal(net[2].weight.grad, expected[2])


def test_retained_gradient_of_the_logits() -> None:
    net = network()

    def retained() -> Tensor:
        logits = net(X)
        logits.retain_grad()
        F.cross_entropy(logits, TARGET).backward()
        return logits.grad  # type: ignore[return-value]

    expected = retained()
    with mb.saving("exact", logits_again=True):
        assert torch.equal(retained(), expected)


def test_second_derivatives() -> None:
    net = network().double()
    weights = list(net.parameters())
    x = X.double().requires_grad_()
    with mb.saving("exact", logits_again=True):
        assert torch.autograd.gradgradcheck(lambda x, *_: F.cross_entropy(net(x), TARGET), (x, *weights))


def test_a_weight_that_has_moved_is_an_error() -> None:
    net = network()
    with mb.saving("exact", logits_again=True):
        value = plainly(net)
        with torch.no_grad():
            net[2].weight.zero_()  # type: ignore[operator]
        with pytest.raises(RuntimeError, match="modified by an inplace operation"):
            value.backward()


def test_a_frozen_layer_and_other_modes() -> None:
    net = network()
    net[2].requires_grad_(False)
    net[0].weight.requires_grad_(True)
    with mb.saving("off", logits_again=True):
        expected = gradients(net[:2], lambda part: F.cross_entropy(net[2](part(X)), TARGET))
    with mb.saving("exact", logits_again=True):
        found = gradients(net[:2], lambda part: F.cross_entropy(net[2](part(X)), TARGET))
    assert all(torch.equal(a, b) for a, b in zip(found, expected, strict=True))
