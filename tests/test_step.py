"""The written program as a fast step: gradients as torch's, and what makes it write itself anew or refuse."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

import manual_backprop as mb
from manual_backprop.bench.networks import NETWORKS
from manual_backprop.engine import node
from manual_backprop.errors import BadInput
from manual_backprop.listing.step import Step

SMALL = ("mlp-small", "mlp-silu", "lenet-5", "gpt-small", "unet")


@pytest.fixture(params=["native", "python"])
def route(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """Run by the native machinery, or as lines of Python."""
    if request.param == "python":
        monkeypatch.setattr(node, "module", None)
        monkeypatch.setattr(node, "call", None)
        monkeypatch.setattr(node, "begin", lambda: None)
    elif not node.wait():
        pytest.skip("no C++ compiler")
    return str(request.param)


def mlp() -> nn.Sequential:
    return nn.Sequential(nn.Linear(6, 16), nn.ReLU(), nn.Linear(16, 4)).double()


def batch(rows: int = 5) -> tuple[Tensor, Tensor]:
    return torch.randn(rows, 6, dtype=torch.float64), torch.randint(4, (rows,))


def pair(build: Callable[[], nn.Module] = mlp) -> tuple[nn.Module, nn.Module]:
    torch.manual_seed(0)
    theirs = build()
    return mb.convert(copy.deepcopy(theirs)), theirs


def assert_same_gradients(ours: nn.Module, theirs: nn.Module, tolerance: float = 1e-12) -> None:
    """tolerance: of the largest gradient's norm."""
    largest = max(p.grad.norm().item() for p in theirs.parameters() if p.grad is not None)
    for (name, p), q in zip(ours.named_parameters(), theirs.parameters(), strict=True):
        assert (p.grad is None) == (q.grad is None), name
        if p.grad is not None and q.grad is not None:
            assert (p.grad - q.grad).norm().item() <= tolerance * largest, name
            assert p.grad.stride() == q.grad.stride(), name


@pytest.mark.parametrize("name", SMALL)
def test_gradients_and_loss_are_torchs(name: str, route: str) -> None:
    network = NETWORKS[name]
    ours, theirs = pair(lambda: network.build().double())
    x, t = network.input(), network.target()
    x = x.double() if x.is_floating_point() else x
    step = Step(ours, F.cross_entropy, None)
    for _ in range(3):  # recorded, then run from the recording
        ours.zero_grad()
        theirs.zero_grad()
        loss = step(x, targets=t)
        expected = F.cross_entropy(theirs(x), t)
        expected.backward()
        # float64 sums in another order
        assert abs(loss.item() - expected.item()) <= 1e-12 * abs(expected.item())
        assert not loss.requires_grad
        assert_same_gradients(ours, theirs)
    for (key, p), q in zip(ours.named_buffers(), theirs.buffers(), strict=True):
        torch.testing.assert_close(p, q, rtol=1e-12, atol=0, msg=key)  # float64, sums in another order
    (compiled,) = step.known.values()
    assert [type(v).__name__ for v in compiled.native.values()] == (["PyCapsule"] if route == "native" else [])


def test_gradients_add_up_and_none_is_respected(route: str) -> None:
    ours, theirs = pair()
    step = mb.write_out(ours, batch()[0], targets=batch()[1], loss=F.cross_entropy).step()
    for _ in range(3):
        x, t = batch()
        step(x, targets=t)
        F.cross_entropy(theirs(x), t).backward()
        assert_same_gradients(ours, theirs)
    held = [p.grad for p in ours.parameters()]
    ours.zero_grad(set_to_none=False)
    theirs.zero_grad()
    x, t = batch()
    step(x, targets=t)
    F.cross_entropy(theirs(x), t).backward()
    assert_same_gradients(ours, theirs)
    assert all(p.grad is g for p, g in zip(ours.parameters(), held, strict=True)), "in place"
    ours.zero_grad()
    kept = [step(x, targets=t) and None, [p.grad for p in ours.parameters()]][1]
    numbers = [g.clone() for g in kept if g is not None]
    ours.zero_grad()
    step(*batch()[:1], targets=t)
    assert all(torch.equal(g, n) for g, n in zip(kept, numbers, strict=True)), "an old gradient is not written to"


def test_one_tensor_that_is_two_gradients_is_two_tensors() -> None:
    class Sum(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.a, self.b = nn.Parameter(torch.ones(3)), nn.Parameter(torch.ones(3))

        def forward(self, x: Tensor) -> Tensor:
            return x * (self.a + self.b)

    model = Sum()
    step = Step(model, lambda o, t: (o * t).sum(), None)
    for _ in range(2):
        model.zero_grad()
        step(torch.ones(3), targets=torch.arange(3.0))
        assert model.a.grad is not None
        assert model.b.grad is not None
        assert model.a.grad.data_ptr() != model.b.grad.data_ptr()
        model.a.grad.zero_()
        assert model.b.grad.tolist() == [0.0, 1.0, 2.0]


def test_with_an_optimizer_it_trains_as_torch_does(route: str) -> None:
    ours, theirs = pair()
    mine, other = (torch.optim.AdamW(m.parameters(), lr=0.01) for m in (ours, theirs))
    step = mb.write_out(ours, batch()[0], targets=batch()[1], loss=F.cross_entropy).step(mine)
    for _ in range(20):
        x, t = batch()
        step(x, targets=t)
        other.zero_grad()
        F.cross_entropy(theirs(x), t).backward()
        other.step()
    for p, q in zip(ours.parameters(), theirs.parameters(), strict=True):
        torch.testing.assert_close(p, q, rtol=1e-10, atol=1e-12)  # float64 over 20 steps


def test_dropout_draws_anew_each_time_and_as_the_seed_says(route: str) -> None:
    ours, theirs = pair(lambda: nn.Sequential(nn.Linear(6, 64), nn.Dropout(0.5), nn.Linear(64, 4)).double())
    x, t = batch()
    step = Step(ours, F.cross_entropy, None)
    losses = []
    for seed in range(4):
        for model in (ours, theirs):
            model.zero_grad()
        torch.manual_seed(seed)
        losses.append(step(x, targets=t).item())
        torch.manual_seed(seed)
        F.cross_entropy(theirs(x), t).backward()
        assert_same_gradients(ours, theirs)
    assert len(set(losses)) == 4


def test_it_is_written_anew_for_another_batch_flag_or_parameter() -> None:
    ours, theirs = pair(lambda: nn.Sequential(nn.Linear(6, 8), nn.BatchNorm1d(8), nn.Linear(8, 4)).double())
    step = Step(ours, F.cross_entropy, None)

    def compare(rows: int = 5) -> None:
        x, t = batch(rows)
        ours.zero_grad()
        theirs.zero_grad()
        step(x, targets=t)
        F.cross_entropy(theirs(x), t).backward()
        assert_same_gradients(ours, theirs)

    compare()
    compare(7)
    assert len(step.known) == 2
    for model in (ours, theirs):
        model.eval()
    compare()
    for model in (ours, theirs):
        model.train()
        model[0].weight.requires_grad_(False)  # type: ignore[index]
    compare()
    fresh = nn.Linear(8, 4).double()
    for model in (ours, theirs):
        model[2] = copy.deepcopy(fresh)  # type: ignore[index]
    compare()
    for model in (ours, theirs):
        model[0].bias = nn.Parameter(torch.ones(8, dtype=torch.float64))  # type: ignore[index]
    compare()
    x, t = torch.randn(6, 5, dtype=torch.float64).T, batch()[1]  # other strides
    ours.zero_grad()
    theirs.zero_grad()
    step(x, targets=t)
    F.cross_entropy(theirs(x), t).backward()
    assert_same_gradients(ours, theirs)


def test_as_one_node_it_passes_what_waits_for_gradients() -> None:
    ours, theirs = pair()
    step = Step(ours, F.cross_entropy, None)
    for _ in range(2):
        x, t = batch()
        loss, output = step.node(x, targets=t)
        (loss / 3).backward()
        expected = theirs(x)
        (F.cross_entropy(expected, t) / 3).backward()
        torch.testing.assert_close(output, expected.detach(), rtol=1e-12, atol=0)
        assert_same_gradients(ours, theirs)
    with pytest.raises(RuntimeError, match="second time"):
        loss.backward()


class Reads(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.fc = nn.Linear(6, 4)

    def forward(self, x: Tensor) -> Tensor:
        return self.fc(x) * (2.0 if x.sum().item() > 0 else 1.0)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda m: m[0].register_forward_hook(lambda *a: None), "0 has hooks"),
        (lambda m: m[0].weight.register_hook(lambda g: g), "0.weight has hooks"),
    ],
)
def test_hooks_are_refused(change: Any, message: str) -> None:
    ours, _ = pair()
    change(ours)
    x, t = batch()
    with pytest.raises(BadInput, match=message):
        Step(ours, F.cross_entropy, None)(x, targets=t)


def test_a_hook_that_comes_later_is_refused_and_gone_again_it_goes_on() -> None:
    ours, _ = pair()
    step = Step(ours, F.cross_entropy, None)
    x, t = batch()
    step(x, targets=t)
    hook = ours[1].register_forward_hook(lambda *a: None)  # type: ignore[index]
    with pytest.raises(BadInput, match="1 has hooks"):
        step(x, targets=t)
    hook.remove()
    assert step(x, targets=t).isfinite()


def test_what_python_branches_on_is_refused() -> None:
    x, t = batch()
    with pytest.raises(BadInput, match="reads numbers"):
        Step(Reads(), F.cross_entropy, None)(x.float(), targets=t)
    with pytest.raises(BadInput, match="requires one"):
        Step(mlp(), F.cross_entropy, None)(x.requires_grad_(), targets=t)


def test_a_bad_label_is_refused_as_torch_refuses_it() -> None:
    ours, _ = pair()
    step = Step(ours, F.cross_entropy, None)
    x, t = batch()
    step(x, targets=t)
    for _ in range(2):
        with pytest.raises(IndexError, match="out of bounds"):
            step(x, targets=torch.full_like(t, 9))
    assert step(x, targets=t).isfinite()
