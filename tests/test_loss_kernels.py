"""The loops of losses (kernels/losses.py) against their formulas."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor

from manual_backprop.engine.rule import KERNELS
from manual_backprop.engine.terms import in_opmath
from manual_backprop.kernels import losses, pointwise
from manual_backprop.rules import BCELoss, BCEWithLogitsLoss, HuberLoss, MSELoss, SmoothL1Loss

CASES: list[tuple[Callable[..., Tensor], tuple]] = [
    (MSELoss.delta_input, ()),
    (MSELoss.delta_target, ()),
    (SmoothL1Loss.delta_input, (0.7,)),
    (SmoothL1Loss.delta_target, (0.7,)),
    (HuberLoss.delta_input, (1.3,)),
    (HuberLoss.delta_target, (1.3,)),
    (BCELoss.delta_input, (None,)),
    (BCEWithLogitsLoss.delta_input, (None, None)),
]


pytestmark = pytest.mark.usefixtures("c_kernels")


@pytest.fixture
def loops(monkeypatch: pytest.MonkeyPatch) -> list[torch.dtype]:
    """The dtypes for which a loop is looked up from now on."""
    found: list[torch.dtype] = []
    compiled = pointwise.compiled
    monkeypatch.setattr(pointwise, "compiled", lambda f, dtype, rows=False: found.append(dtype) or compiled(f, dtype))
    return found


def given(dtype: torch.dtype, size: int = 40_001) -> tuple[Tensor, Tensor, Tensor]:
    """A delta, and probabilities, which serve as any numbers."""
    return torch.tensor(1.7, dtype=dtype), *(torch.rand(2, size) * 0.98 + 0.01).to(dtype)


def called(formula: Callable[..., Tensor], delta: Tensor, *tensors: Tensor, reduction: str, facts: tuple) -> tuple:
    """The arguments: torch has the reduction before a bound and after weights."""
    before = "BCE" in formula.__qualname__
    return (delta, *tensors, *facts, reduction) if before else (delta, *tensors, reduction, *facts)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16])
@pytest.mark.parametrize("reduction", ["mean", "sum"])
@pytest.mark.parametrize(("formula", "facts"), CASES, ids=lambda v: getattr(v, "__qualname__", None))
def test_one_delta_for_all(formula: Any, facts: tuple, reduction: str, dtype: torch.dtype) -> None:
    """Within the roundings of a step or two of the formula in float64: 4, and 0.51 where bfloat16 rounds once."""
    args = called(formula, *given(dtype), reduction=reduction, facts=facts)
    found = KERNELS[formula](*args)
    truth = formula(*(v.double() if isinstance(v, Tensor) else v for v in args))
    assert found.dtype == dtype
    terms = 0.0 if dtype == torch.bfloat16 else float(truth.abs().max())  # differences cancel
    bound = torch.finfo(dtype).eps * (0.51 * truth.abs() + 1e-5 if dtype == torch.bfloat16 else 4 * terms)
    assert bool(((found.double() - truth).abs() <= bound).all())


@pytest.mark.parametrize(("formula", "facts"), CASES, ids=lambda v: getattr(v, "__qualname__", None))
def test_other_deltas_go_to_the_formula(formula: Any, facts: tuple, loops: list[torch.dtype]) -> None:
    _, input, target = given(torch.float32, 33)
    for one, reduction in ((torch.randn(33), "none"), (torch.randn(1), "sum")):
        args = called(formula, one, input, target, reduction=reduction, facts=facts)
        assert torch.equal(KERNELS[formula](*args), formula(*args))
    assert not loops


def test_weights_go_to_the_formula() -> None:
    delta, input, target = given(torch.float32, 33)
    for formula, facts in ((BCELoss.delta_input, (target,)), (BCEWithLogitsLoss.delta_input, (None, target))):
        args = delta, input, target, *facts, "mean"
        assert torch.equal(KERNELS[formula](*args), formula(*args))


def test_tensors_of_two_dtypes_are_promoted_as_in_the_formula() -> None:
    delta, input, target = given(torch.float32, 33)
    args = delta, input, target.double(), "mean"
    found, expected = KERNELS[MSELoss.delta_input](*args), in_opmath(MSELoss.delta_input, *args)
    assert found.dtype == expected.dtype
    torch.testing.assert_close(found, expected)


def test_a_wrong_loop_is_seen() -> None:
    def wrong(input: Tensor, target: Tensor, factor: float) -> Tensor:
        return (input - target) * factor * 1.0001

    run = losses.along(wrong, lambda delta, _: (2 * delta,))
    delta, input, target = given(torch.float32)
    found, truth = run(delta, input, target, "sum"), MSELoss.delta_input(delta, input, target, "sum")
    assert float((found - truth).abs().max()) > 4 * torch.finfo(torch.float32).eps * float(truth.abs().max())
