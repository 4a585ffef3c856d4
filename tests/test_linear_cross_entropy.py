"""LinearCrossEntropyLoss: never all logits in memory, and the class where torch has none."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor
from torch.autograd import forward_ad
from torch.utils._python_dispatch import TorchDispatchMode

import manual_backprop as mb
import manual_backprop.functional as F
import manual_backprop.nn as nn
from manual_backprop.nn.loss_linear import _Former
from manual_backprop.rules import linear_cross_entropy

NEW = pytest.mark.skipif(not hasattr(torch.nn, "LinearCrossEntropyLoss"), reason="torch has no such class")


class Largest(TorchDispatchMode):
    """The elements of the largest tensor that any operation returns."""

    elements = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: tuple = (), kwargs: dict | None = None) -> Any:
        result = func(*args, **(kwargs or {}))
        for value in result if isinstance(result, (tuple, list)) else (result,):
            if isinstance(value, Tensor):
                self.elements = max(self.elements, value.numel())
        return result


def test_the_logits_are_never_whole(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(linear_cross_entropy, "ELEMENTS", 8 * 500)
    x, target = torch.randn(64, 4, requires_grad=True), torch.randint(500, (64,))
    with Largest() as seen:
        nn.LinearCrossEntropyLoss(4, 500)(x, target).backward()
    assert seen.elements <= 8 * 500
    with Largest() as seen:
        nn.CrossEntropyLoss()(nn.Linear(4, 500)(x), target).backward()
    assert seen.elements == 64 * 500, "the tool sees whole logits"


@pytest.mark.parametrize("backend", ["auto", "formula"])
@pytest.mark.parametrize("elements", [1, 13, 5 * 6, 10**6])
def test_runs_of_rows_add_up(elements: int, backend: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Rows one by one, some at a time with fewer at the end, all at once: the same within roundings of float64."""
    monkeypatch.setattr(linear_cross_entropy, "ELEMENTS", elements)
    x, weight, bias = (
        torch.randn(*shape, dtype=torch.float64, requires_grad=True) for shape in ((17, 4), (6, 4), (6,))
    )
    target, classes = torch.arange(17) % 6, torch.rand(6, dtype=torch.float64)
    options = {"weight": classes, "ignore_index": 2, "label_smoothing": 0.1}
    with mb.backend(backend):
        loss = F.linear_cross_entropy(x, weight, target, linear_bias=bias, **options)
        found = torch.autograd.grad(loss, (x, weight, bias))
    expected = torch.nn.functional.cross_entropy(torch.nn.functional.linear(x, weight, bias), target, **options)
    torch.testing.assert_close(loss, expected)
    torch.testing.assert_close(found, torch.autograd.grad(expected, (x, weight, bias)))


@pytest.mark.parametrize("moving", [0, 1, 2])
def test_one_tangent_at_a_time(moving: int) -> None:
    values = [torch.randn(*shape, dtype=torch.float64) for shape in ((5, 4), (6, 4), (6,))]
    target, tangent = torch.arange(5), torch.randn_like(values[moving])

    def along(function: Any) -> Any:
        with forward_ad.dual_level():
            given = [forward_ad.make_dual(v, tangent) if i == moving else v for i, v in enumerate(values)]
            return forward_ad.unpack_dual(function(*given)).tangent

    found = along(lambda x, w, b: F.linear_cross_entropy(x, w, target, linear_bias=b))
    torch.testing.assert_close(
        found, along(lambda x, w, b: torch.nn.functional.cross_entropy(torch.nn.functional.linear(x, w, b), target))
    )


@pytest.mark.parametrize(
    "options",
    [{}, {"bias": True, "label_smoothing": 0.1, "ignore_index": 3}, {"reduction": "none", "weight": torch.arange(6.0)}],
)
def test_the_class_for_a_torch_without_one(options: dict[str, Any]) -> None:
    ours: Any = type("LinearCrossEntropyLoss", (_Former,), {"forward": nn.LinearCrossEntropyLoss.forward})
    torch.manual_seed(0)
    layer = ours(4, 6, **options)
    x, target = torch.randn(5, 4, requires_grad=True), torch.tensor([0, 1, 3, 5, 2])
    facts = {"ignore_index": -100, **{k: v for k, v in options.items() if k != "bias"}}
    expected = torch.nn.functional.cross_entropy(layer.linear(x), target, **facts)
    torch.testing.assert_close(layer(x, target), expected)
    assert type(layer(x, target).grad_fn).__name__.startswith("LinearCrossEntropyLoss")


@NEW
@pytest.mark.parametrize("options", [{}, {"bias": True, "out_features": (2, 3), "dtype": torch.float64}])
def test_that_class_is_made_as_torchs_is(options: dict[str, Any]) -> None:
    def made(cls: Any) -> torch.nn.Module:
        torch.manual_seed(0)
        return cls(4, 6, **options)

    ours, theirs = made(_Former), made(torch.nn.LinearCrossEntropyLoss)
    assert ours.extra_repr() == theirs.extra_repr()
    assert list(ours.state_dict()) == list(theirs.state_dict())
    for a, b in zip(ours.parameters(), theirs.parameters(), strict=True):
        assert torch.equal(a, b)


@pytest.mark.parametrize(
    ("options", "message"),
    [({"weight": torch.ones(5)}, "weight shape"), ({"label_smoothing": 2.0}, "label_smoothing to be in range")],
)
def test_what_that_class_refuses(options: dict[str, Any], message: str) -> None:
    for cls in {_Former, nn.LinearCrossEntropyLoss}:
        with pytest.raises(RuntimeError, match=message):
            cls(4, 6, **options)


def test_saved_bytes() -> None:
    class Head(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.body, self.loss = nn.Linear(8, 8), nn.LinearCrossEntropyLoss(8, 4096)

        def forward(self, x: Tensor, target: Tensor) -> Tensor:
            return self.loss(self.body(x), target)

    found = mb.saved_bytes(Head(), torch.randn(16, 8), torch.zeros(16, dtype=torch.long))
    assert found.ours == 16 * 8 * 4, "the input of the last layer, and no logits"
