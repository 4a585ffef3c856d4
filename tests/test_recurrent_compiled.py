"""Recurrent functions in a graph of torch.compile, with its generated C++."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

import manual_backprop.functional as F


def normal(*shape: int) -> Tensor:
    return torch.randn(shape, dtype=torch.float64)


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize(("name", "gates"), [("rnn_tanh", 1), ("rnn_relu", 1), ("gru", 3), ("lstm", 4)])
def test_a_backward_leaves_the_last_states_as_they_are(name: str, gates: int) -> None:
    """After one step they are the output, which the backward needs, too."""
    torch.manual_seed(0)
    weights = [normal(gates * 2, 3), normal(gates * 2, 2), normal(gates * 2), normal(gates * 2)]

    def last(x: Tensor, *states: Tensor) -> list[Tensor]:
        hx = states if name == "lstm" else states[0]
        found = getattr(F, name)(x, hx, weights, True, 1, 0.0, True, False, False)
        return [state.flatten() for state in found[1:]]

    inputs = [t.requires_grad_() for t in (normal(1, 1, 3), *[normal(1, 1, 2)] * (2 if name == "lstm" else 1))]
    torch.compiler.reset()
    found = torch.compile(last, fullgraph=True, dynamic=False)(*inputs)
    before = [state.detach().clone() for state in found]
    torch.autograd.grad(found, inputs, [torch.full_like(state, 3.0) for state in found])
    assert all(map(torch.equal, found, before))
