"""What random programs inside `mb.explicit()` found, each as the few lines that it comes down to."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import nullcontext
from types import ModuleType

import pytest
import torch
from torch import Tensor
from torch.overrides import TorchFunctionMode
from torch.utils.checkpoint import checkpoint

import manual_backprop as mb
from manual_backprop.engine import node
from tests.limits import large


class Counting(TorchFunctionMode):
    """A mode of a user's, which sees the calls of torch's functions and passes them on."""

    calls = 0

    def __torch_function__(self, func: Callable, types: object, args: tuple = (), kwargs: dict | None = None) -> object:
        self.calls += 1
        return func(*args, **(kwargs or {}))


def written(x: Tensor) -> Tensor:
    y = x * 1.5
    y[..., 0] = y[..., -1].clone()
    return y


COMPOSED = {
    "repeat_interleave": lambda x: x.repeat_interleave(2, -1),
    "as_strided": lambda x: x.as_strided((2, 3), (3, 1)),
    "write": written,
    "kron": lambda x: torch.kron(x, x),
}
"""What explicit takes apart into operators, views among them."""


@pytest.mark.parametrize("between", [nullcontext, Counting])
@pytest.mark.parametrize("part", COMPOSED.values(), ids=COMPOSED)
def test_a_context_inside_of_another(part: Callable[[Tensor], Tensor], between: Callable) -> None:
    """The outer context saw the calls that the inner one makes with autograd off, and gave their views a history."""
    x = torch.randn(2, 2, 3, dtype=torch.float64, requires_grad=True)
    (expected,) = torch.autograd.grad(part(x).square().sum(), x)
    with mb.explicit(), between() as mode, mb.explicit(strict=True):
        y = part(x)
    torch.testing.assert_close(torch.autograd.grad(y.square().sum(), x)[0], expected)
    assert mode is None or mode.calls
    with mb.explicit():

        def inner(x: Tensor) -> Tensor:
            with between(), mb.explicit():
                return part(x)

        y = checkpoint(inner, x, use_reentrant=False)
    torch.testing.assert_close(torch.autograd.grad(y.square().sum(), x)[0], expected)


def test_the_contexts_around_are_on_again_after_an_error() -> None:
    x = torch.ones(2, requires_grad=True)
    with mb.explicit(), Counting() as mode:
        with mb.explicit(), pytest.raises(RuntimeError, match="overflowed"):
            x.as_strided((-1,), (1,))
        calls = mode.calls
        y = torch.relu(x)
    assert mode.calls == calls + 1
    rule = mb.rule_of(y.grad_fn)
    assert rule is not None
    assert rule.__name__ == "ReLU"


@pytest.mark.parametrize("space", [torch.nn.functional, mb.functional], ids=["torch", "ours"])
def test_hinge_embedding_loss_keeps_what_its_target_was(space: ModuleType) -> None:
    x = torch.tensor([0.5, 0.5, 2.0], requires_grad=True)
    target = torch.tensor([1.0, -1.0, -1.0])
    loss = space.hinge_embedding_loss(x, target, reduction="sum")
    with torch.no_grad():
        target.fill_(1)
        x.fill_(9)
    loss.backward()
    assert x.grad is not None
    assert x.grad.tolist() == [1, -1, 0]


LOSSES: dict[str, Callable[[ModuleType, Tensor, Tensor], Tensor]] = {
    "poisson": lambda space, x, y: space.poisson_nll_loss(x, y.abs(), full=True),
    "poisson of a rate": lambda space, x, y: space.poisson_nll_loss(x, y.abs(), log_input=False),
    "poisson without mean": lambda space, x, y: space.poisson_nll_loss(x, y.abs(), reduction="none").mul_(2).sum(),
    "margin": lambda space, x, y: space.margin_ranking_loss(x, y, y.sign()),
    "margin without mean": lambda space, x, y: (
        space.margin_ranking_loss(x, y, y.sign(), 1, reduction="none").mul_(2).sum()
    ),
}


@pytest.mark.parametrize("native", [False, True])
@pytest.mark.parametrize("loss", LOSSES.values(), ids=LOSSES)
def test_the_input_of_a_loss_may_be_overwritten_before_the_backward(loss: Callable, native: bool) -> None:
    """torch saves what it has made of the input, not the input."""
    torch.manual_seed(0)
    x, y = torch.rand(3, 4, dtype=torch.float64), torch.randn(3, 4, dtype=torch.float64)
    found = []
    for space in (torch.nn.functional, *[mb.functional] * (4 if native and node.wait() else 1)):
        leaf = x.clone().requires_grad_()
        value = leaf * 1
        result = loss(space, value, y)
        with torch.no_grad():
            value.fill_(9)
        found.append(torch.autograd.grad(result, leaf)[0])
    for other in found[1:]:
        torch.testing.assert_close(other, found[0])


def test_a_checkpoint_whose_input_comes_back_as_a_copy(monkeypatch: pytest.MonkeyPatch) -> None:
    """As save_on_cpu gives it back on a GPU. The second forward recomputed other tensors than the first, so that torch
    refused what it saved."""
    large(monkeypatch, 1)
    torch.manual_seed(0)
    x, weight = torch.randn(6, 8, dtype=torch.float64), torch.randn(5, 8, dtype=torch.float64, requires_grad=True)
    found = []
    for F in (torch.nn.functional, mb.functional):

        def inner(h: Tensor, F: ModuleType = F) -> Tensor:
            return F.linear(F.tanh(F.gelu(F.silu(F.relu(h)))), weight)

        leaf = x.clone().requires_grad_()
        with torch.autograd.graph.saved_tensors_hooks(lambda t: t.detach(), lambda t: t.clone()):
            y = checkpoint(inner, F.silu(F.layer_norm(leaf, (8,))), use_reentrant=False)
        found.append(torch.autograd.grad(y.square().sum(), (leaf, weight)))
    torch.testing.assert_close(*found)


@pytest.mark.parametrize("space", [torch.nn.functional, mb.functional], ids=["torch", "ours"])
@pytest.mark.parametrize("name", ["hinge_embedding_loss", "cosine_embedding_loss"])
def test_a_target_that_chooses_has_no_part_in_the_graph(space: ModuleType, name: str) -> None:
    """Asked for its gradient, our node ran again, whose saved tensors were freed."""
    target = torch.tensor([1.0, -1.0, 1.0], requires_grad=True)
    inputs = [torch.randn(3, 2) for _ in range(2)] if name.startswith("cosine") else [torch.randn(3)]
    assert not getattr(space, name)(*inputs, target).requires_grad
    inputs[0].requires_grad_()
    loss = getattr(space, name)(*inputs, target)
    (delta,) = torch.autograd.grad(loss, inputs[0])
    assert delta.any()
    assert torch.autograd.grad(loss, target, allow_unused=True) == (None,)


@pytest.mark.parametrize("layers", [torch.nn, mb.nn], ids=["torch", "ours"])
@pytest.mark.parametrize("training", [True, False])
def test_a_step_between_forward_and_backward_of_an_instance_norm(layers: ModuleType, training: bool) -> None:
    """torch's layer saves a copy of the weight for each sample, and so does not notice the step."""
    torch.manual_seed(0)
    layer = layers.InstanceNorm1d(3, affine=True, track_running_stats=True, dtype=torch.float64).train(training)
    x, found = torch.randn(2, 3, 5, dtype=torch.float64, requires_grad=True), []
    for moved in (False, True):
        layer.load_state_dict({**layer.state_dict(), "weight": torch.tensor([0.5, 1.0, 2.0])})
        y = layer(x)
        if moved:
            with torch.no_grad():
                layer.weight.mul_(1.25)
                layer.bias.add_(1)
        first = torch.autograd.grad(y.pow(3).sum(), (x, layer.weight), create_graph=True)
        second = torch.autograd.grad(sum(g.square().sum() for g in first), (x, layer.weight))
        found.append([g.detach() for g in (*first, *second)])
    torch.testing.assert_close(*found)


@pytest.mark.parametrize("recorded", [True, False])
@pytest.mark.parametrize("trains", [True, False])
def test_attention_lays_its_output_out_as_torch_does(trains: bool, recorded: bool) -> None:
    """Whether v.reshape(-1) is a view, so that an edit in place of it is seen in v, follows from the layout. torch's
    unfused forward, which it takes where the mask has a gradient, returns a contiguous tensor."""
    torch.manual_seed(0)
    query = torch.randn(5, 3, 4).transpose(0, 1).requires_grad_()
    key, mask = torch.randn(3, 2, 4), torch.randn(5, 2, requires_grad=trains)
    found = []
    for space in (torch.nn.functional, mb.functional):
        with torch.set_grad_enabled(recorded):
            y = space.scaled_dot_product_attention(query, key, key, mask)
            y.reshape(-1)[:2] += 1
        found.append((y.stride(), y.detach().clone()))
    assert found[1][0] == found[0][0]
    torch.testing.assert_close(found[1][1], found[0][1])
