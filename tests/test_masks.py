"""ReLU's bit mask gives, bit for bit, what the formula gives."""

from __future__ import annotations

import pytest
import torch

from manual_backprop.kernels.masks import BITS, relu_delta_input
from manual_backprop.rules import ReLU
from manual_backprop.rules._rule import KERNELS

SPECIAL = [0.0, -0.0, 1.5, -1.5, float("inf"), -float("inf"), float("nan")]


@pytest.mark.parametrize("dtype", BITS)
def test_the_mask_equals_the_formula(dtype: torch.dtype) -> None:
    delta, output = torch.cartesian_prod(torch.tensor(SPECIAL, dtype=dtype), torch.tensor(SPECIAL, dtype=dtype)).T
    masked = relu_delta_input(delta, output)
    assert torch.equal(masked.view(BITS[dtype]), ReLU.delta_input(delta, output).view(BITS[dtype]))


def test_deltas_of_any_layout_are_left_unwritten() -> None:
    output = torch.randn(3, 4).relu()
    for delta in (torch.tensor(2.0).expand(3, 4), torch.randn(4, 3).T, torch.randn(3, 8)[:, 2:6]):
        kept = delta.clone()
        assert torch.equal(relu_delta_input(delta, output), ReLU.delta_input(delta, output))
        assert torch.equal(delta, kept)


def test_it_serves_where_nothing_is_differentiated_again() -> None:
    assert KERNELS[ReLU.delta_input] is relu_delta_input
