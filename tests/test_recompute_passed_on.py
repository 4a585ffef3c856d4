"""Recomputation through what only moves numbers (copies, writes in place), and through products and quotients."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
import torch
from torch import Tensor

import manual_backprop as mb
import manual_backprop.functional as F
import manual_backprop.nn as nn
from manual_backprop.engine import node
from manual_backprop.memory.recompute import Ask, ask_for

from .test_recompute import ARGUMENTS, IN_PLACE, OURS, ROWS, TORCH, WIDTH, on_both

TORCH.mul, TORCH.div = torch.mul, torch.div
OURS.mul, OURS.div = F.mul, F.div


@pytest.fixture(autouse=True)
def exact() -> Iterator[None]:
    with mb.saving("exact"):
        yield


KEEP_THEIR_INPUT = ("relu6", "silu", "mish", "hardswish", "hardtanh", "hardsigmoid")
"""Their backward wants the input, so in place they work on a copy, and write."""


@pytest.mark.parametrize("name", KEEP_THEIR_INPUT)
def test_in_place_keeps_no_more_than_out_of_place(name: str) -> None:
    def kept(inplace: bool) -> int:
        class Activation(torch.nn.Module):
            def forward(self, input: Tensor) -> Tensor:
                return getattr(F, name)(input, inplace=inplace)

        layers = [nn.Linear(WIDTH, WIDTH), nn.BatchNorm1d(WIDTH), Activation(), nn.Linear(WIDTH, WIDTH)]
        return mb.saved_bytes(torch.nn.Sequential(*layers), torch.randn(ROWS, WIDTH, requires_grad=True)).ours

    activation = 4 * ROWS * WIDTH
    assert kept(inplace=True) == kept(inplace=False)
    assert activation <= kept(inplace=True) < 2 * activation  # what BatchNorm got, and its statistics


@pytest.mark.parametrize("name", IN_PLACE)
def test_what_is_written_in_place_is_read_by_a_matmul(name: str) -> None:
    def program(library: Any) -> list[Tensor]:
        first, norm, last = library.nn.Linear(WIDTH, WIDTH), library.nn.BatchNorm1d(WIDTH), library.nn.Linear(WIDTH, 2)
        x = torch.randn(ROWS, WIDTH, requires_grad=True)
        y = getattr(library, name)(norm(first(x)), *ARGUMENTS.get(name, ()), inplace=True)
        last(y).square().sum().backward()
        return [x.grad, *(p.grad for layer in (first, norm, last) for p in layer.parameters())]

    on_both(program)


def test_a_write_into_other_strides() -> None:
    """What a matmul has saved is laid out as the tensor that was written to, not as the value."""

    def program(library: Any) -> list[Tensor]:
        x = torch.randn(ROWS, WIDTH, requires_grad=True)
        y = library.layer_norm(x, (WIDTH,)).t()
        z = library.linear(library.silu(y, inplace=True), torch.ones(3, ROWS, requires_grad=True))
        z.square().sum().backward()
        return [x.grad]  # type: ignore[list-item]

    on_both(program)


def test_an_edit_of_what_was_written_raises_torchs_error() -> None:
    def program(library: Any) -> list[Tensor]:
        x = torch.randn(ROWS, WIDTH, requires_grad=True)
        y = library.silu(library.layer_norm(x, (WIDTH,)), inplace=True)
        z = library.linear(y, torch.ones(2, WIDTH, requires_grad=True))
        y.mul_(2)
        z.sum().backward()
        return [x.grad]  # type: ignore[list-item]

    on_both(program)
    with pytest.raises(RuntimeError, match="modified by an inplace operation"):
        program(OURS)


def test_derivatives_of_derivatives_go_through_the_write() -> None:
    def program(library: Any) -> list[Tensor]:
        x = torch.randn(ROWS, WIDTH, requires_grad=True)
        weight = torch.randn(2, WIDTH, requires_grad=True)
        y = library.silu(library.layer_norm(x, (WIDTH,)), inplace=True)
        (grad,) = torch.autograd.grad(library.linear(y, weight).sin().sum(), weight, create_graph=True)
        grad.square().sum().mul(1e-6).backward()
        return [x.grad, weight.grad]  # type: ignore[list-item]

    on_both(program)


def test_a_view_of_what_was_written() -> None:
    def program(library: Any) -> list[Tensor]:
        x = torch.randn(ROWS, WIDTH, requires_grad=True)
        y = library.silu(library.layer_norm(x, (WIDTH,)), inplace=True).view(-1, WIDTH // 2)
        library.linear(y, torch.ones(2, WIDTH // 2, requires_grad=True)).square().sum().backward()
        return [x.grad]  # type: ignore[list-item]

    on_both(program)


def test_the_ask_goes_to_the_rule_that_computed() -> None:
    x = torch.randn(2 * ROWS, 2 * WIDTH, requires_grad=True)
    node.enable(False)
    try:
        y = F.silu(F.layer_norm(x, (2 * WIDTH,)), inplace=True)
        asked = ask_for(y)
    finally:
        node.enable(True)
    assert isinstance(asked, Ask)
    assert asked.node.name() == "SiLUBackward"
    assert asked.depth == 2


@pytest.mark.parametrize("operator", ["mul", "div"])
def test_a_gate_is_recomputed(operator: str) -> None:
    """silu(a) b, as in the feed-forward networks of language models: a and b are kept, the product is not."""

    def program(library: Any) -> list[Tensor]:
        up, gate, down = (library.nn.Linear(WIDTH, WIDTH) for _ in range(3))
        x = torch.randn(ROWS, WIDTH, requires_grad=True)
        y = getattr(library, operator)(library.silu(gate(x)), up(x).exp())
        down(y).square().sum().backward()
        return [x.grad, *(p.grad for layer in (up, gate, down) for p in layer.parameters())]

    on_both(program)


def test_a_product_is_not_kept() -> None:
    class Gated(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.up, self.gate, self.down = (nn.Linear(WIDTH, WIDTH) for _ in range(3))

        def forward(self, input: Tensor) -> Tensor:
            return self.down(F.mul(F.silu(self.gate(input)), self.up(input)))

    found = mb.saved_bytes(Gated(), torch.randn(ROWS, WIDTH, requires_grad=True))
    assert found.ours == 2 * 4 * ROWS * WIDTH  # what silu got, and the other factor
