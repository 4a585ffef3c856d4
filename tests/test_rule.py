"""What all rules share: no work for deltas that are not there."""

from __future__ import annotations

import functools
from typing import Any

import pytest
import torch
from torch import Tensor
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


class Third(mb.rules.Rule):
    """y = x / 3"""

    @staticmethod
    def forward(input: torch.Tensor) -> torch.Tensor:
        return input / 3

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple, output: torch.Tensor) -> None:
        pass

    @staticmethod
    def backward(ctx: Any, delta: torch.Tensor) -> torch.Tensor:
        return Third.delta_input(delta)

    @staticmethod
    def delta_input(delta: torch.Tensor) -> torch.Tensor:
        return Third.scaled(delta)

    @staticmethod
    def scaled(delta: torch.Tensor) -> torch.Tensor:
        return delta / 3

    @staticmethod
    def tangent(inputs: tuple, tangents: tuple, output: torch.Tensor) -> torch.Tensor:
        return next(Third.delta_input(tangent) for tangent in tangents)


def test_an_overridden_formula_that_would_never_run_is_refused() -> None:
    """The methods that call it name the parent: silently, the old formula would run."""

    def straight(delta: torch.Tensor) -> torch.Tensor:
        return delta

    def own_backward(ctx: Any, delta: torch.Tensor) -> torch.Tensor:
        return delta

    words = r"Straight overrides delta_input, but Third\.backward and Third\.tangent call Third\.delta_input.*"
    with pytest.raises(TypeError, match=words + "would never run.*Override backward and tangent in Straight, too"):
        type("Straight", (Third,), {"delta_input": staticmethod(straight)})
    members = {"delta_input": staticmethod(straight), "backward": staticmethod(own_backward)}
    with pytest.raises(TypeError, match=r"Third\.tangent calls Third\.delta_input"):
        type("Straight", (Third,), members)
    with pytest.raises(TypeError, match=r"overrides scaled, but Third\.delta_input calls Third\.scaled"):
        type("Straight", (Third,), {"scaled": staticmethod(straight)})
    with pytest.raises(TypeError, match=r"Cat\.backward"):
        type("Straight", (mb.rules.Cat,), {"delta_input": staticmethod(straight)})


def test_a_subclass_that_overrides_the_caller_too_is_right() -> None:
    class Half(Third):
        """y = x / 3, with a backward of its own"""

        @staticmethod
        def backward(ctx: Any, delta: torch.Tensor) -> torch.Tensor:
            return Half.delta_input(delta)

        @staticmethod
        def delta_input(delta: torch.Tensor) -> torch.Tensor:
            return delta / 2

        @staticmethod
        def tangent(inputs: tuple, tangents: tuple, output: torch.Tensor) -> torch.Tensor:
            return tangents[0] / 2

    x = torch.ones(3, requires_grad=True)
    mb.functional.call(Half, x).sum().backward()
    assert x.grad.tolist() == [0.5] * 3  # type: ignore[union-attr]


def test_a_formula_called_through_the_class_that_runs_may_be_overridden() -> None:
    class Times(mb.rules.Rule):
        """y = x"""

        @staticmethod
        def forward(input: torch.Tensor) -> torch.Tensor:
            return input.clone()

        @staticmethod
        def setup_context(ctx: Any, inputs: tuple, output: torch.Tensor) -> None:
            pass

        @staticmethod
        def backward(ctx: Any, delta: torch.Tensor) -> torch.Tensor:
            return ctx._forward_cls.delta_input(delta)

        @staticmethod
        def delta_input(delta: torch.Tensor) -> torch.Tensor:
            return delta

    class Reversed(Times):
        """y = x, the gradient's sign turned"""

        @staticmethod
        def delta_input(delta: torch.Tensor) -> torch.Tensor:
            return -delta

    x = torch.ones(3, requires_grad=True)
    mb.functional.call(Reversed, x).sum().backward()
    assert x.grad.tolist() == [-1.0] * 3  # type: ignore[union-attr]


class Scale(mb.rules.Rule):
    """y = factor x

    input (*)   factor: number   output, delta (*)

    delta_input = factor delta
    """

    def forward(input: Tensor, factor: float = 3.0) -> Tensor:
        return input * factor

    def delta_input(delta: Tensor, factor: float) -> Tensor:
        return delta * factor


@pytest.mark.parametrize("calls", [1, 5])  # the first calls run in Python, later ones as a native node
def test_default_values_of_a_forward_are_filled_in(calls: int) -> None:
    for _ in range(calls):
        x = torch.ones(2, requires_grad=True)
        y = mb.functional.call(Scale, x)
        y.sum().backward()
        assert torch.equal(y, torch.full((2,), 3.0))
        assert x.grad is not None
        assert torch.equal(x.grad, torch.full((2,), 3.0))
    with pytest.raises((ValueError, TypeError)):
        mb.functional.call(Scale)


def test_the_rule_of_a_node_is_the_rule_itself() -> None:
    """Also where a version of the rule has run: in Python, in place, in forward mode, for an inner node."""
    x = torch.randn(2, 3, requires_grad=True)
    for _ in range(5):
        assert mb.rule_of(mb.functional.relu(x).grad_fn) is mb.rules.ReLU
    assert mb.rule_of(mb.functional.relu(mb.functional.mul(x, 2.0), inplace=True).grad_fn) is mb.rules.ReLU
    loss = mb.functional.cross_entropy(x, torch.tensor([0, 2]))
    assert mb.rule_of(loss.grad_fn) is mb.rules.CrossEntropyLoss
    assert mb.rule_of(mb.functional.call(Scale, x).grad_fn) is Scale
    with torch.autograd.forward_ad.dual_level():
        dual = torch.autograd.forward_ad.make_dual(x, torch.ones_like(x))
        assert mb.rule_of(mb.functional.relu(dual).grad_fn) is mb.rules.ReLU
    assert mb.rule_of((x * 2).grad_fn) is None
