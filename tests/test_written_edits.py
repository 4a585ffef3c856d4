"""Programs of forwards that edit a view in place, or join a tensor with empty ones."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

import manual_backprop as mb
from manual_backprop.errors import BadInput
from tests.test_write_out import LEVELS, Of, assert_same, double  # noqa: F401

EDITS: dict[str, Callable[[Tensor], Tensor]] = {
    "relu": lambda v: F.relu(v, inplace=True),
    "silu": lambda v: F.silu(v, inplace=True),
    "dropout": lambda v: F.dropout(v, 0.3, True, True),
    "hardswish": lambda v: F.hardswish(v, inplace=True),
    "mul_": lambda v: v.mul_(2.0),
    "add_ of a value with a gradient": lambda v: v.add_(v.detach() * 3),
}


@pytest.mark.parametrize("level", LEVELS)
@pytest.mark.parametrize("edit", EDITS.values(), ids=list(EDITS))
def test_the_result_of_an_edit_of_a_view_is_a_new_value(edit: Callable[[Tensor], Tensor], level: str) -> None:
    """As in EfficientNet, which drops in place from a flattened tensor."""
    net = Of(lambda net, x: net.b(edit((2 * net.a(x)).view(2, 3, 6))), a=mb.nn.Linear(4, 6), b=mb.nn.Linear(6, 3))
    program = assert_same(net, torch.randn(6, 4), level=level)
    assert "copy_(" not in program.text


@pytest.mark.parametrize("level", LEVELS)
def test_what_else_is_in_edited_memory_is_refused(level: str) -> None:
    def run(net: torch.nn.Module, x: Tensor) -> Tensor:
        h = 2 * net.a(x)
        F.relu(h.view(2, 3, 6), inplace=True)
        return h

    with pytest.raises(BadInput, match="edit in place of a part of a tensor cannot be written out, unless only its"):
        mb.write_out(Of(run, a=mb.nn.Linear(4, 6)), torch.randn(6, 4), loss=lambda y, _: y.sum(), level=level)


def test_a_part_assigned_to_is_refused() -> None:
    def run(net: torch.nn.Module, x: Tensor) -> Tensor:
        h = 2 * net.a(x)
        h[:, 0] = h[:, 1] * 3
        return h

    with pytest.raises(BadInput, match=r"expected: a new tensor, by torch\.cat, torch\.where"):
        mb.write_out(Of(run, a=mb.nn.Linear(4, 6)), torch.randn(6, 4), loss=lambda y, _: y.sum())


@pytest.mark.parametrize("level", LEVELS)
def test_a_tensor_joined_with_empty_ones_is_that_tensor(level: str) -> None:
    """As the first step of a cache of keys."""
    net = Of(lambda net, x: net.b(torch.cat([torch.empty(0), net.a(x)])), a=mb.nn.Linear(4, 6), b=mb.nn.Linear(6, 3))
    text = assert_same(net, torch.randn(5, 4), level=level).text.lower().partition("def main")[0]
    assert ("cat" in text) == (level == "torch")


@pytest.mark.parametrize("level", LEVELS)
def test_a_joined_tensor_can_be_edited_and_its_parts_be_read_later(level: str) -> None:
    def run(net: torch.nn.Module, x: Tensor) -> Tensor:
        a = net.a(x)
        joined = torch.cat([torch.empty(0), a])
        joined += 1
        return joined * a

    assert_same(Of(run, a=mb.nn.Linear(4, 6)), torch.randn(5, 4), level=level)
