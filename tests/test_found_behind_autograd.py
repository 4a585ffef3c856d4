"""What random programs found with hooks, second derivatives and edits that autograd does not see, in a few lines."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.autograd.graph import allow_mutation_on_saved_tensors
from torch.utils.checkpoint import checkpoint

import manual_backprop.functional as F
import manual_backprop.nn as nn

LABELS = torch.tensor([0, 2, -100, 1])

LOSSES: dict[str, Callable[[Any, Tensor], Tensor]] = {
    "labels": lambda f, x: f.cross_entropy(x, LABELS, reduction="none"),
    "weighted": lambda f, x: f.cross_entropy(x, LABELS, torch.arange(1.0, 4).double(), label_smoothing=0.2),
    "probabilities": lambda f, x: f.cross_entropy(x, x.square()),
    "distances": lambda f, x: f.l1_loss(x, x.square(), reduction="none"),
    "no distance": lambda f, x: f.l1_loss(x, x, reduction="none"),
}


def logits(*shape: int) -> Tensor:
    torch.manual_seed(0)
    return torch.randn(*shape, dtype=torch.float64, requires_grad=True)


@pytest.mark.parametrize("loss", LOSSES)
def test_hooks_on_a_loss_whose_backward_is_differentiated(loss: str) -> None:
    """What the loss keeps has a node of its own: the second backward does not visit that of the loss."""
    found = []
    for functional in (F, torch.nn.functional):
        x, deltas = logits(4, 3), []

        def doubled(delta: Tensor, deltas: list = deltas) -> Tensor:
            deltas.append(delta)
            return delta * 2

        value = LOSSES[loss](functional, x)
        value.register_hook(doubled)
        derivatives = [torch.autograd.grad(value.sum(), x, create_graph=True)[0]]
        while len(derivatives) < 3 and derivatives[-1].requires_grad:  # the third goes through that node twice
            (moved,) = torch.autograd.grad(derivatives[-1].sin().sum(), x, create_graph=True)
            derivatives.append(moved)
        found.append((derivatives, len(deltas)))
    (ours, visits), (theirs, expected) = found
    assert visits == expected == 1
    for a, b in zip(ours, theirs, strict=True):
        torch.testing.assert_close(a, b)


def test_the_node_of_what_a_loss_keeps_has_no_memory_of_its_own() -> None:
    storages, x = set(), logits(4, 3)
    with torch.autograd.graph.saved_tensors_hooks(lambda t: storages.add(t.untyped_storage()._cdata) or t, lambda t: t):
        F.cross_entropy(x, LABELS)
    assert len(storages) == 2, "log p and the labels"


def test_a_node_that_has_saved_nothing_runs_again() -> None:
    bias = torch.zeros(2, requires_grad=True)
    value = F.linear(torch.ones(3, 2), torch.ones(2, 2), bias).sum()
    value.backward()
    value.backward()
    assert torch.equal(bias.grad, torch.full((2,), 6.0))  # type: ignore[arg-type]
    weight = torch.ones(2, 2, requires_grad=True)
    value = F.linear(torch.ones(3, 2), weight, bias).sum()
    value.backward()
    with pytest.raises(RuntimeError, match="backward through the graph a second time"):
        value.backward()


@pytest.mark.parametrize("view", [False, True])
def test_a_weight_as_large_as_the_output_that_is_edited_as_data(view: bool) -> None:
    found = []
    for functional in (F, torch.nn.functional):
        x, weight = logits(128, 128), torch.nn.Parameter(torch.ones(128, 128, dtype=torch.float64))
        used = weight.view(128, 128) if view else weight
        after = torch.ones(1, 128, dtype=torch.float64, requires_grad=True)
        y = functional.linear(functional.layer_norm(x, (128, 128), used), after)  # type: ignore[attr-defined]
        weight.data.mul_(1.25)
        y.sum().backward()
        found.append(after.grad)
    torch.testing.assert_close(*found)


@pytest.mark.parametrize("name", ["elu", "celu", "selu", "relu", "leaky_relu", "silu"])
def test_writes_where_torch_keeps_copies_of_saved_tensors(name: str) -> None:
    """Its mode looks at operations of torch; what a kernel in C writes it would not see."""
    found = []
    for functional in (F, torch.nn.functional):
        x = logits(4, 64, 64)
        with allow_mutation_on_saved_tensors():
            y = getattr(functional, name)(functional.log_softmax(x, 0), inplace=True)  # type: ignore[attr-defined]
            y.sum().backward()
        found.append(x.grad)
    torch.testing.assert_close(*found)


def test_weights_edited_where_torch_keeps_copies_of_saved_tensors() -> None:
    found = []
    for layers in (nn, torch.nn):
        x = logits(64, 256)
        torch.manual_seed(1)
        net = torch.nn.Sequential(
            layers.Linear(256, 256), layers.LayerNorm((64, 256)), layers.GELU(), layers.Linear(256, 3)
        )  # type: ignore[attr-defined]
        with allow_mutation_on_saved_tensors():
            y = net.double()(x)
            with torch.no_grad():
                for p in net.parameters():
                    p.mul_(1.25)
            y.square().sum().backward()
        found.append(torch.cat([x.grad.flatten(), *(p.grad.flatten() for p in net.parameters())]))  # type: ignore[union-attr]
    torch.testing.assert_close(*found)


@pytest.mark.parametrize("dropout", [0.0, 0.3])
def test_attention_with_large_scores(dropout: float) -> None:
    """e^(S - lse) would be off by the rounding of S, here one hundredth."""
    gradients = []
    for functional, dtype in ((F, torch.float32), (torch.nn.functional, torch.float64)):
        torch.manual_seed(0)
        query, value = (torch.randn(2, 8, 16) for _ in range(2))
        query, value = (t.to(dtype).requires_grad_() for t in (query * 100, value))
        mask = torch.zeros(8, 8, dtype=dtype, requires_grad=True)  # with a gradient torch takes no fused kernel
        torch.manual_seed(1)
        y = functional.scaled_dot_product_attention(query, query, value, mask, dropout)  # type: ignore[attr-defined]
        y.square().sum().backward()
        gradients.append((query.grad, value.grad, mask.grad))
    for a, b in zip(*gradients, strict=True):
        torch.testing.assert_close(a.double(), b, rtol=1e-6, atol=1e-6 * b.abs().max().item())  # type: ignore[union-attr]


def test_a_divergence_from_itself_moves_nothing() -> None:
    x = (logits(2, 10, 10).detach() * 30).requires_grad_()
    F.kl_div(x, x, reduction="batchmean", log_target=True).backward()
    assert not x.grad.any()  # type: ignore[union-attr]


@pytest.mark.parametrize("name", ["glu", "div", "bias_activation", "add_layer_norm", "add_rms_norm", "cross_entropy"])
def test_hessians_of_what_is_edited_behind_a_rule(name: str) -> None:
    functions: dict[str, Callable[[Tensor], Tensor]] = {
        "glu": F.glu,
        "div": lambda x: F.div(x, x + 3),
        "bias_activation": lambda x: F.bias_activation(x, x.detach(), "gelu"),
        "add_layer_norm": lambda x: F.add_layer_norm(x, x * x, (4,))[0],
        "add_rms_norm": lambda x: F.add_rms_norm(x, x * x, (4,))[0],
        "cross_entropy": lambda x: F.cross_entropy(x.reshape(2, 2), torch.tensor([0, 1]), reduction="none"),
    }
    x = torch.linspace(-1, 1.2, 4, dtype=torch.float64)
    found = torch.func.hessian(lambda x: functions[name](x).mul_(2).square().sum())(x)
    torch.testing.assert_close(found, torch.func.hessian(lambda x: (functions[name](x) * 2).square().sum())(x))


@pytest.mark.parametrize("shape", [(4,), (2, 4), (2, 2, 2, 4)])
def test_a_compiled_edit_behind_a_linear_layer(shape: tuple[int, ...]) -> None:
    torch._dynamo.reset()
    weight, bias, x = torch.randn(3, 4), torch.randn(3), torch.randn(shape, requires_grad=True)
    compiled = torch.compile(lambda x: F.linear(x, weight, bias).mul_(2), fullgraph=True, backend="aot_eager")
    compiled(x).sum().backward()
    torch.testing.assert_close(x.grad, 2 * weight.sum(0).expand(shape))


def test_a_checkpointed_node_that_is_asked_in_a_later_pass() -> None:
    """A checkpoint lets each saved tensor be unpacked once in a pass, also where the output is kept for later."""
    torch.manual_seed(0)
    x, weight = torch.randn(512, 32), torch.ones(32, requires_grad=True)

    def part(x: Tensor, weight: Tensor) -> Tensor:
        return F.mul(*F.add_rms_norm(x, x, (32,), weight))

    y = checkpoint(part, x, weight, use_reentrant=False)
    (gradient,) = torch.autograd.grad(y.sum(), weight, create_graph=True)
    (second,) = torch.autograd.grad(gradient.sum(), weight, allow_unused=True)
    assert second is None or not second.any()
