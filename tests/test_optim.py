"""The optimizer's step inside the backward: the same numbers, no gradient left, and what it refuses."""

from __future__ import annotations

import copy
from typing import Any

import pytest
import torch
from torch import Tensor

import manual_backprop as mb
import manual_backprop.nn as nn
from manual_backprop.errors import BadInput

OPTIMIZERS: dict[str, tuple[Any, dict]] = {
    "SGD": (torch.optim.SGD, {"lr": 0.1, "momentum": 0.9, "weight_decay": 0.01}),
    "Adam": (torch.optim.Adam, {"lr": 0.01}),
    "AdamW-foreach": (torch.optim.AdamW, {"lr": 0.01, "foreach": True}),
    "RMSprop": (torch.optim.RMSprop, {"lr": 0.01}),
}


def network() -> torch.nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Linear(6, 8), nn.BatchNorm1d(8), nn.GELU(), nn.Linear(8, 8), nn.LayerNorm(8), nn.Linear(8, 1)
    )


def groups(net: torch.nn.Module) -> list[dict]:
    first, *rest = net.parameters()
    return [{"params": [first], "lr": 0.05}, {"params": rest}]


def batches(count: int = 6) -> list[Tensor]:
    return list(torch.randn(count, 16, 6, generator=torch.Generator().manual_seed(1)))


def train(name: str, inside: bool, accumulate: int = 1, clip: float | None = None) -> tuple[torch.nn.Module, Any]:
    net = network()
    make, options = OPTIMIZERS[name]
    optimizer = make(groups(net), **options)
    schedule = torch.optim.lr_scheduler.StepLR(optimizer, 2, 0.5)
    handle = mb.step_in_backward(optimizer, clip) if inside else None
    for i, x in enumerate(batches()):
        last = (i + 1) % accumulate == 0
        if handle is not None and not last:
            with handle.accumulate():
                net(x).square().mean().backward()
        else:
            net(x).square().mean().backward()
        if not last:
            continue
        if inside:
            assert all(p.grad is None for p in net.parameters())
        elif clip is not None:
            torch.nn.utils.clip_grad_value_(net.parameters(), clip)
        optimizer.step()
        optimizer.zero_grad()
        schedule.step()
    return net, optimizer


@pytest.mark.parametrize("name", OPTIMIZERS)
@pytest.mark.parametrize("accumulate", [1, 3])
def test_the_same_parameters_and_state(name: str, accumulate: int) -> None:
    (expected, theirs), (net, ours) = train(name, False, accumulate), train(name, True, accumulate)
    for a, b in zip(net.parameters(), expected.parameters(), strict=True):
        assert torch.equal(a, b)
    assert all(
        str(ours.state[a]) == str(theirs.state[b]) for a, b in zip(net.parameters(), expected.parameters(), strict=True)
    )


def test_elements_are_clipped() -> None:
    expected, net, free = train("SGD", False, clip=0.01)[0], train("SGD", True, clip=0.01)[0], train("SGD", True)[0]
    for a, b in zip(net.parameters(), expected.parameters(), strict=True):
        assert torch.equal(a, b)
    assert not torch.equal(free[0].weight, net[0].weight)  # type: ignore[index]


def test_a_parameter_that_the_last_backward_does_not_reach_is_moved_by_step() -> None:
    a, b = (torch.ones(3, requires_grad=True) for _ in range(2))
    optimizer = torch.optim.SGD([a, b], lr=1.0)
    handle = mb.step_in_backward(optimizer)
    with handle.accumulate():
        (a.sum() + b.sum()).backward()
    a.sum().backward()
    assert torch.equal(a, torch.full((3,), -1.0))
    assert torch.equal(b, torch.ones(3))
    optimizer.step()
    assert torch.equal(b, torch.zeros(3))


def test_gradients_stay_after_remove() -> None:
    net = network()
    before = copy.deepcopy(net.state_dict())
    handle = mb.step_in_backward(torch.optim.SGD(net.parameters(), lr=1.0))
    handle.remove()
    net(batches()[0]).sum().backward()
    assert all(p.grad is not None for p in net.parameters())
    assert torch.equal(net[0].weight, before["0.weight"])  # type: ignore[index]


def test_tied_weights_move_once() -> None:
    def run(inside: bool) -> Tensor:
        torch.manual_seed(0)
        layer = nn.Linear(4, 4)
        optimizer = torch.optim.SGD(layer.parameters(), lr=0.1)
        if inside:
            mb.step_in_backward(optimizer)
        layer(layer(torch.ones(2, 4))).square().sum().backward()
        optimizer.step()
        return layer.weight.detach()

    assert torch.equal(run(True), run(False))


def test_a_second_backward_through_the_same_graph_is_an_error() -> None:
    net = network()
    mb.step_in_backward(torch.optim.SGD(net.parameters(), lr=0.1))
    loss = net(batches()[0]).square().sum()
    loss.backward(retain_graph=True)
    with pytest.raises(RuntimeError, match="modified by an inplace operation"):
        loss.backward()


def test_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    weights = [torch.ones(2, requires_grad=True)]
    with pytest.raises(BadInput, match="LBFGS needs all gradients"):
        mb.step_in_backward(torch.optim.LBFGS(weights))
    with pytest.raises(TypeError, match=r"takes a torch\.optim\.Optimizer\. got: list"):
        mb.step_in_backward(weights)  # type: ignore[arg-type]
    with pytest.raises(BadInput, match="clip_value=0: expected a positive"):
        mb.step_in_backward(torch.optim.SGD(weights, lr=1), 0)
    monkeypatch.setattr("manual_backprop.optim.processes", lambda: 2)
    with pytest.raises(BadInput, match="2 processes"):
        mb.step_in_backward(torch.optim.SGD(weights, lr=1))


def test_a_closure() -> None:
    def run(inside: bool) -> tuple[torch.nn.Module, float]:
        net = network()
        optimizer = torch.optim.AdamW(net.parameters(), lr=0.01)
        if inside:
            mb.step_in_backward(optimizer)

        def closure() -> Tensor:
            optimizer.zero_grad()
            loss = net(batches()[0]).square().mean()
            loss.backward()
            return loss

        return net, [optimizer.step(closure).item() for _ in range(3)][-1]

    (expected, last), (net, ours) = run(False), run(True)
    assert ours == last
    for a, b in zip(net.parameters(), expected.parameters(), strict=True):
        assert torch.equal(a, b)


def test_two_optimizers_of_one_model() -> None:
    def run(inside: bool) -> torch.nn.Module:
        net = network()
        first, second = torch.optim.SGD(net[:3].parameters(), lr=0.1), torch.optim.AdamW(net[3:].parameters(), lr=0.01)
        for optimizer in (first, second) if inside else ():
            mb.step_in_backward(optimizer)
        for x in batches():
            net(x).square().mean().backward()
            for optimizer in (first, second):
                optimizer.step()
                optimizer.zero_grad()
        return net

    for a, b in zip(run(True).parameters(), run(False).parameters(), strict=True):
        assert torch.equal(a, b)


def test_torch_refuses_a_gradient_scaler_for_gradients_that_are_gone() -> None:
    net = network()
    optimizer = torch.optim.SGD(net.parameters(), lr=0.1)
    mb.step_in_backward(optimizer)
    scaler = torch.amp.GradScaler("cpu", init_scale=8.0)
    scaler.scale(net(batches()[0]).square().mean()).backward()  # type: ignore[union-attr]
    with pytest.raises(AssertionError, match="No inf checks were recorded"):
        scaler.step(optimizer)


def test_several_processes_that_meet_later_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    net = network()
    mb.step_in_backward(torch.optim.SGD(net.parameters(), lr=0.1))
    monkeypatch.setattr("manual_backprop.optim.processes", lambda: 2)
    with pytest.raises(BadInput, match="2 processes"):
        net(batches()[0]).square().mean().backward()
