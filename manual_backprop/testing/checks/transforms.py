"""torch.func and torch.compile applied to the rules."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.func import grad, hessian, jacrev, vmap

from ...engine.torch_private import refused_by_compile, tree_flatten
from ..compare import same
from ..nodes import functions, need, plain_functions, reason, without_setup, without_tangent, without_vmap
from ..subject import CheckFailed, NotApplicable, Problem, Subject, delta_for, differentiable, gradients
from .values import as_twin, outcome


def _scalar(run: Callable[..., Any]) -> Callable[..., Tensor]:
    """A scalar function of the outputs whose second derivative is not zero."""

    def of(*tensors: Tensor) -> Tensor:
        outputs = differentiable(run(*tensors))
        return sum(((o * o / 2 + o) * delta_for(o)).sum() for o in outputs)  # type: ignore[return-value]

    return of


def _first(run: Callable[..., Any]) -> Callable[..., Tensor]:
    return lambda *tensors: differentiable(run(*tensors))[0]


def _batch(problem: Problem) -> list[Tensor]:
    return [torch.stack([t, 0.9 * t, 1.1 * t]) for t in problem.tensors]


def _vmap_grad(run: Callable[..., Any], problem: Problem) -> Any:
    batch = _batch(problem)
    arguments = tuple(range(len(batch)))
    return vmap(grad(_scalar(run), argnums=arguments), randomness="same")(*batch)


def _jacrev(run: Callable[..., Any], problem: Problem) -> Any:
    return jacrev(_first(run), argnums=tuple(range(len(problem.tensors))))(*problem.tensors)


def _hessian(run: Callable[..., Any], problem: Problem) -> Any:
    return hessian(_scalar(run), argnums=tuple(range(len(problem.tensors))))(*problem.tensors)


def _one_by_one(run: Callable[..., Any], problem: Problem) -> Any:
    """The expected result of vmap(grad), by plain backwards."""
    rows = []
    for row in zip(*_batch(problem), strict=True):
        leaves = [t.detach().clone().requires_grad_() for t in row]
        rows.append(torch.autograd.grad(_scalar(run)(*leaves), leaves, allow_unused=True, materialize_grads=True))
    return tuple(torch.stack(column) for column in zip(*rows, strict=True))


def _jacobian(run: Callable[..., Any], problem: Problem) -> Any:
    return torch.autograd.functional.jacobian(_first(run), tuple(problem.tensors))


def _second(run: Callable[..., Any], problem: Problem) -> Any:
    return torch.autograd.functional.hessian(_scalar(run), tuple(problem.tensors))


TRANSFORMS = (
    ("vmap(grad)", _vmap_grad, _one_by_one, (without_vmap,)),
    ("jacrev", _jacrev, _jacobian, ()),
    ("hessian", _hessian, _second, (without_tangent, without_vmap)),
)
"""Name, the transform, the same by plain backwards, and tests for Functions that do not support it."""


def transforms(subject: Subject) -> str:
    """vmap(grad), jacrev and hessian: the twin's results (1e-10 of the largest value, float64), or its error.

    Without a twin the results are compared with those of plain backwards.
    """
    problem = subject.problem(torch.float64)
    leaves = problem.leaves()
    if not any(o.requires_grad for o in differentiable(problem.ours(*leaves))):
        raise NotApplicable("no output depends on a differentiable input")
    through = functions(problem)
    need(through, without_setup)
    done, lacking = [], []
    for name, apply, plainly, lacks in TRANSFORMS:
        if f"transforms: {name}" in subject.case.without:
            continue
        if (why := reason(through, *lacks)) is not None:
            lacking.append(f"{name} not applicable: {why}")
            continue
        pair = _pair(name, apply, plainly, problem)
        if pair is None:
            continue
        for i, (a, b) in enumerate(zip(tree_flatten(pair[0])[0], tree_flatten(pair[1])[0], strict=True)):
            same(f"{name}, entry {i}", a, b, rtol=1e-10, atol=1e-12)
        done.append(name)
    if not done:
        raise NotApplicable("; ".join(lacking) or "these transforms are refused, as by the twin")
    return "; ".join([", ".join(done), *lacking])


def _pair(name: str, apply: Any, plainly: Any, problem: Problem) -> tuple[Any, Any] | None:
    """Our result and the expected one; None where there is nothing to compare with."""
    if problem.twin is None:
        expected, refused = outcome(lambda: plainly(problem.ours, problem))
        found = apply(problem.ours, problem)
        return None if refused is not None else (found, expected)
    _, refused = outcome(lambda: apply(problem.twin, problem))
    if refused is not None and re.search("not (yet )?(implemented|support)", str(refused), re.IGNORECASE):
        # what torch has not implemented for the twin may well work for ours
        return None
    return as_twin(name, lambda: apply(problem.ours, problem), lambda: apply(problem.twin, problem))


def _compiled(subject: Subject, backend: str, rtol: float) -> str:
    problem = subject.problem(torch.float64)
    layer = problem.ours
    if subject.random:
        raise NotApplicable("compiled random numbers are drawn in another order")
    expected_outputs, expected = gradients(layer, problem.leaves())
    torch.compiler.reset()
    compiled = torch.compile(layer, fullgraph=True, backend=backend, dynamic=False)
    try:
        outputs, found = gradients(compiled, problem.leaves())
    except Exception as raised:
        others = plain_functions(problem)
        if others and refused_by_compile(raised):  # without fullgraph=True it would run uncompiled
            names = " or ".join(function.__name__ for function in others)
            line = str(raised).strip().splitlines()[0]
            raise NotApplicable(f"torch.compile cannot put {names} into a graph: {line}") from raised
        raise CheckFailed(f"torch.compile({backend}): {raised}") from raised
    for a, b in zip(outputs, expected_outputs, strict=True):
        same("compiled output", a, b, rtol=rtol)
    for name, x, y in zip(problem.names, found, expected, strict=True):
        same(f"compiled gradient by {name}", x, y, rtol=rtol)
    return "one graph, same gradients"


def compiled(subject: Subject) -> str:
    """torch.compile(fullgraph=True) through AOTAutograd: one graph, same gradients (1e-12: sums in another order)."""
    return _compiled(subject, "aot_eager", 1e-12)


def compiled_inductor(subject: Subject) -> str:
    """torch.compile(fullgraph=True) with generated C++ (1e-10: fused multiply-adds round differently)."""
    if "compiled" in subject.case.without:  # AOTAutograd's graph is what the C++ is generated from
        raise NotApplicable(subject.case.without["compiled"])
    if any(leaf.is_complex() for leaf in subject.problem(torch.float64).leaves()):
        raise NotApplicable("inductor does not support complex numbers")
    return _compiled(subject, "inductor", 1e-10)
