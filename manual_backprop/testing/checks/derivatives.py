"""Derivatives against finite differences in float64, of first and second order, in both directions."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch

from ..subject import CheckFailed, NotApplicable, Subject, differentiable


def _differentiable_outputs(run: Callable[..., Any]) -> Callable[..., Any]:
    def only(*tensors: torch.Tensor) -> Any:
        outputs = differentiable(run(*tensors))
        return outputs if len(outputs) > 1 else outputs[0]

    return only


def _check(subject: Subject, test: Callable[..., bool], fast: bool = False, **options: Any) -> None:
    problem = subject.problem(torch.float64, specs=subject.case.larger if fast else None)
    leaves = problem.leaves()
    if not any(o.requires_grad for o in differentiable(problem.ours(*leaves))):
        raise NotApplicable("no output depends on a differentiable input")
    try:
        test(_differentiable_outputs(problem.ours), leaves, fast_mode=fast, **options)
    except Exception as raised:
        names = ", ".join(f"{i} is {name}" for i, name in enumerate(problem.names))
        raise CheckFailed(f"{test.__name__}: {raised}\n(inputs: {names})") from raised


def gradcheck(subject: Subject) -> str:
    """Every element of every gradient against central differences; a larger problem along random directions."""
    _check(subject, torch.autograd.gradcheck, check_grad_dtypes=True)
    if subject.case.larger:
        # fast mode multiplies atol by the sums of both directions, some 10^4 here: the default would let anything pass
        _check(subject, torch.autograd.gradcheck, fast=True, atol=1e-9)
        return "small: every element; larger: random directions"
    return "every element"


def gradgradcheck(subject: Subject) -> str:
    """The derivative of the backward formulas, right to left."""
    _check(subject, torch.autograd.gradgradcheck, check_grad_dtypes=True)
    return "every element"


def batched_grad(subject: Subject) -> str:
    """Many deltas at once: the backward formulas under vmap."""
    _check(subject, torch.autograd.gradcheck, check_batched_grad=True)
    return "as one by one"


def forward_mode(subject: Subject) -> str:
    """Left to right: the tangent formula against central differences, and over the backward formulas."""
    _check(subject, torch.autograd.gradcheck, check_forward_ad=True, check_backward_ad=False)
    over_reverse = {"check_fwd_over_rev": True, "check_rev_over_rev": False, "check_undefined_grad": False}
    _check(subject, torch.autograd.gradgradcheck, **over_reverse)
    return "every element, forward over reverse too"
