"""What all rules share: no work for deltas that are not there."""

from __future__ import annotations

import functools
from typing import Any

import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode

import manual_backprop as mb

LAYERS = [
    mb.nn.BatchNorm2d(16),
    mb.nn.LayerNorm(6),
    mb.nn.GroupNorm(4, 16),
    mb.nn.Dropout(0.5),
    mb.nn.Dropout2d(0.5),
    mb.nn.AlphaDropout(0.5),
    mb.nn.RReLU(),
]


class Operators(TorchDispatchMode):
    """The names of the operators that run inside."""

    def __init__(self) -> None:
        super().__init__()
        self.names: list[str] = []

    def __torch_dispatch__(self, func: Any, types: Any, args: tuple = (), kwargs: dict | None = None) -> Any:
        self.names.append(func.name())
        return func(*args, **(kwargs or {}))


@pytest.mark.parametrize("layer", LAYERS, ids=lambda layer: type(layer).__name__)
def test_masks_and_statistics_get_no_deltas_of_zeros(layer: torch.nn.Module) -> None:
    output = layer(torch.randn(4, 16, 6, 6, requires_grad=True))
    delta = torch.ones_like(output)
    with Operators() as operators:
        output.backward(delta)
    assert operators.names, "the backward ran"
    assert not [name for name in operators.names if "zero" in name]


def test_without_any_delta_there_are_no_derivatives() -> None:
    x = torch.ones(3, requires_grad=True)
    # what gradcheck uses: hands on undefined deltas
    torch._C._functions.UndefinedGrad()(mb.functional.dropout(x)).sum().backward()
    assert x.grad is None


def test_what_is_wrapped_around_a_backward_runs(monkeypatch: pytest.MonkeyPatch) -> None:
    seen, written = [], mb.rules.Tanh.backward

    @functools.wraps(written)
    def noted(ctx: Any, *deltas: Any) -> Any:
        seen.append(len(deltas))
        return 2 * written(ctx, *deltas)

    monkeypatch.setattr(mb.rules.Tanh, "backward", staticmethod(noted))
    x = torch.randn(3, requires_grad=True)
    mb.functional.tanh(x).sum().backward()
    torch.testing.assert_close(x.grad, 2 * (1 - x.detach().tanh().square()))
    with torch.autocast("cpu"):
        mb.functional.tanh(x).sum().backward()
    assert seen == [1, 1]
