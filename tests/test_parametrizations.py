"""Weights that torch.nn.utils.parametrizations computes: converted, a parametrized module trains on rules alone."""

from __future__ import annotations

import copy
import pickle
from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn
from torch.nn.utils import parametrizations

import manual_backprop as mb
from manual_backprop._nodes import is_view, rule_of
from manual_backprop._observe import graph

WEIGHTS: dict[str, Callable[[], nn.Module]] = {
    "weight norm": lambda: parametrizations.weight_norm(nn.Linear(4, 3)),
    "weight norm of columns": lambda: parametrizations.weight_norm(nn.Linear(4, 3), dim=1),
    "weight norm of all": lambda: parametrizations.weight_norm(nn.Linear(4, 3), dim=None),
    "weight norm of channels": lambda: parametrizations.weight_norm(nn.Conv1d(2, 3, 3), dim=1),
    "spectral norm": lambda: parametrizations.spectral_norm(nn.Linear(4, 3)),
    "spectral norm of an image's": lambda: parametrizations.spectral_norm(nn.Conv2d(2, 3, 3)),
    "spectral norm of a vector": lambda: parametrizations.spectral_norm(nn.LayerNorm(4)),
}
INPUTS = {nn.Linear: (2, 4), nn.LayerNorm: (2, 4), nn.Conv1d: (2, 2, 5), nn.Conv2d: (2, 2, 5, 5)}


def pair(name: str) -> tuple[nn.Module, nn.Module, Tensor]:
    torch.manual_seed(0)
    theirs = WEIGHTS[name]().double()
    shape = next(shape for cls, shape in INPUTS.items() if isinstance(theirs, cls))
    return theirs, mb.convert(copy.deepcopy(theirs)), torch.randn(shape, dtype=torch.float64)


@pytest.mark.parametrize("name", WEIGHTS)
def test_a_converted_module_trains_as_torchs_and_on_rules_alone(name: str) -> None:
    theirs, ours, x = pair(name)
    optimizers = [torch.optim.SGD(module.parameters(), lr=0.1) for module in (theirs, ours)]
    for _ in range(5):
        for module, optimizer in zip((theirs, ours), optimizers, strict=True):
            optimizer.zero_grad()
            module(x).square().mean().backward()
            optimizer.step()
    torch.testing.assert_close(dict(ours.state_dict()), dict(theirs.state_dict()), rtol=1e-12, atol=1e-12)
    nodes = [node for node in graph([ours(x)]) if not is_view(node)]
    assert nodes
    assert all(rule_of(node) is not None for node in nodes)


@pytest.mark.parametrize("name", WEIGHTS)
def test_its_derivatives(name: str) -> None:
    _, ours, x = pair(name)
    ours.eval()  # in training the power iteration goes on at each call
    names = [n for n, _ in ours.named_parameters()]

    def run(*parameters: Tensor) -> Tensor:
        return torch.func.functional_call(ours, dict(zip(names, parameters, strict=True)), x)

    parameters = [p.detach().clone().requires_grad_() for p in ours.parameters()]
    assert torch.autograd.gradcheck(run, parameters)
    assert torch.autograd.gradgradcheck(run, parameters)


def test_orthogonal_weights_are_torchs() -> None:
    for options in ({"orthogonal_map": "cayley"}, {"orthogonal_map": "matrix_exp"}, {"orthogonal_map": "householder"}):
        torch.manual_seed(0)
        theirs = parametrizations.orthogonal(nn.Linear(3, 3).double(), **options)
        ours = mb.convert(copy.deepcopy(theirs))
        for module in (theirs, ours):
            module.weight.pow(3).sum().backward()
        for one, other in zip(theirs.parameters(), ours.parameters(), strict=True):
            torch.testing.assert_close(other.grad, one.grad, rtol=1e-12, atol=1e-12)


def test_there_and_back() -> None:
    theirs, ours, x = pair("weight norm")
    part = ours.parametrizations.weight[0]  # type: ignore[union-attr,index]
    assert type(part).__module__.startswith("manual_backprop.nn")
    assert mb.conversion_report(ours).left == ()
    copied = pickle.loads(pickle.dumps(part))
    assert type(copied) is type(part)
    expected = ours(x)
    mb.revert(ours)
    assert [type(module) for module in ours.modules()][1:] == [type(module) for module in theirs.modules()][1:]
    torch.testing.assert_close(ours(x), expected)
