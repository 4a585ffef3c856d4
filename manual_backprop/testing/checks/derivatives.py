"""Derivatives of first and second order against finite differences in float64, in reverse and forward mode."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from ..layouts import separate
from ..nodes import functions as functions_of
from ..nodes import graph, need, plain_functions, without_tangent
from ..subject import CheckFailed, NotApplicable, Problem, Subject, delta_for, differentiable, gradients


def _differentiable_outputs(run: Callable[..., Any]) -> Callable[..., Any]:
    def only(*tensors: torch.Tensor) -> Any:
        outputs = differentiable(run(*tensors))
        return outputs if len(outputs) > 1 else outputs[0]

    return only


def _problem(subject: Subject, fast: bool = False) -> tuple[Problem, list[Tensor]]:
    problem = subject.problem(torch.float64, specs=subject.case.larger if fast else None)
    leaves = [separate(leaf) for leaf in problem.leaves()]
    if not any(o.requires_grad for o in differentiable(problem.ours(*leaves))):
        raise NotApplicable("no output depends on a differentiable input")
    return problem, leaves


def _check(subject: Subject, test: Callable[..., bool], fast: bool = False, **options: Any) -> None:
    problem, leaves = _problem(subject, fast)
    try:
        test(_differentiable_outputs(problem.ours), leaves, fast_mode=fast, **options)
    except Exception as raised:
        names = ", ".join(f"{i} is {name}" for i, name in enumerate(problem.names))
        raise CheckFailed(f"{test.__name__}: {raised}\n(inputs: {names})") from raised


def gradcheck(subject: Subject) -> str:
    """Every element of every gradient against central differences; a larger problem along random directions."""
    _check(subject, torch.autograd.gradcheck, check_grad_dtypes=True)
    if subject.case.larger:
        # fast mode multiplies atol by the sums of both directions, about 10^4 here: with the default, all would pass
        _check(subject, torch.autograd.gradcheck, fast=True, atol=1e-9)
        return "small: every element; larger: random directions"
    return "every element"


def gradgradcheck(subject: Subject) -> str:
    """The double backward: the backward formulas differentiated in reverse mode. The message says if it is missing."""
    try:
        _check(subject, torch.autograd.gradgradcheck, check_grad_dtypes=True)
    except CheckFailed as wrong:
        problem, leaves = _problem(subject)
        if _once(problem, leaves):
            message = "the double backward is missing: a backward is marked @once_differentiable"
            raise (NotApplicable if plain_functions(problem) else CheckFailed)(message) from wrong
        missing = _missing(problem, leaves)
        if missing:
            raise CheckFailed(
                f"the double backward is missing: {'; '.join(missing)}. Likely reasons: the backward uses detached "
                "tensors, .data or torch.no_grad(), or tensors that were not saved with ctx.save_for_backward"
            ) from wrong
        raise
    return "every element"


def _once(problem: Problem, leaves: list[Tensor]) -> bool:
    """Whether a backward refuses to be differentiated: torch then adds a node that raises after its results."""
    return any(node.name().endswith("Error") for node in graph(*_again(problem, leaves)[1]))


def _again(problem: Problem, leaves: list[Tensor]) -> tuple[list[Tensor | None], list[Tensor]]:
    """The gradients with create_graph=True, and those among them that require grad."""
    deltas = [delta_for(o).requires_grad_() for o in differentiable(problem.ours(*leaves)) if o.requires_grad]
    first = gradients(problem.ours, leaves, deltas, create_graph=True)[1]
    return first, [g for g in first if g is not None and g.requires_grad]


def _second(problem: Problem, leaves: list[Tensor]) -> tuple[list[Tensor | None], list[Tensor | None]]:
    """The gradients, and the derivatives of a weighted sum of them by the leaves; None where the graph has no path."""
    first, reached = _again(problem, leaves)
    if not reached:
        return first, [None] * len(leaves)
    weighted = torch.stack([(g * delta_for(g).conj()).sum().real for g in reached]).sum()
    return first, list(torch.autograd.grad(weighted, leaves, allow_unused=True))


def _missing(problem: Problem, leaves: list[Tensor]) -> list[str]:
    """The second derivatives that are zero for torch, but not by finite differences."""
    first, second = _second(problem, leaves)
    step, found = 1e-6, []
    for i, name in enumerate(problem.names):
        if second[i] is not None:
            continue
        moved = []
        for sign in (1, -1):
            there = [leaf.detach().clone() for leaf in leaves]
            there[i] += sign * step * delta_for(there[i])
            moved.append(gradients(problem.ours, [t.requires_grad_() for t in there])[1])
        for other, plus, minus, here in zip(problem.names, *moved, first, strict=True):
            if plus is None or minus is None or here is None or not here.numel():
                continue
            if float((plus - minus).abs().max()) / (2 * step) > 1e-4 * (1 + float(here.detach().abs().max())):
                no = "does not depend on it" if here.requires_grad else "does not require grad"
                found.append(f"the gradient by {other} changes with {name}, yet with create_graph=True it {no}")
    return found


def batched_grad(subject: Subject) -> str:
    """A batch of deltas at once: the backward formulas under vmap."""
    problem, leaves = _problem(subject)
    if others := plain_functions(problem):
        outputs = [o for o in differentiable(problem.ours(*leaves)) if o.requires_grad]
        deltas = [delta_for(o).expand(2, *o.shape) for o in outputs]
        try:
            torch.autograd.grad(outputs, leaves, deltas, is_grads_batched=True, allow_unused=True)
        except Exception as raised:  # a Function that is not a rule need not support vmap
            names = " or ".join(function.__name__ for function in others)
            raise NotApplicable(f"vmap does not support the backward of {names}: {_first_line(raised)}") from raised
    _check(subject, torch.autograd.gradcheck, check_batched_grad=True)
    return "as one by one"


def forward_mode(subject: Subject) -> str:
    """Forward mode: the tangent formula against central differences, and forward mode over the backward formulas."""
    problem, leaves = _problem(subject)
    need(functions_of(problem), without_tangent)
    _check(subject, torch.autograd.gradcheck, check_forward_ad=True, check_backward_ad=False)
    if plain_functions(problem) and _once(problem, leaves):
        return "every element; not over reverse: the double backward is missing"
    over_reverse = {"check_fwd_over_rev": True, "check_rev_over_rev": False, "check_undefined_grad": False}
    _check(subject, torch.autograd.gradgradcheck, **over_reverse)
    return "every element, forward over reverse too"


def _first_line(raised: Exception) -> str:
    return f"{raised}".strip().splitlines()[0][:120] if f"{raised}".strip() else type(raised).__name__
