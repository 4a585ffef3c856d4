"""torch.func and torch.compile over the rules."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.func import grad, hessian, jacrev, vmap

from ..compare import same
from ..subject import CheckFailed, NotApplicable, Problem, Subject, delta_for, differentiable, gradients
from .values import as_twin, outcome


def _scalar(run: Callable[..., Any]) -> Callable[..., Tensor]:
    """A scalar with a nonzero second derivative of the outputs."""

    def of(*tensors: Tensor) -> Tensor:
        outputs = differentiable(run(*tensors))
        return sum(((o * o / 2 + o) * delta_for(o)).sum() for o in outputs)  # type: ignore[return-value]

    return of


def _first(run: Callable[..., Any]) -> Callable[..., Tensor]:
    return lambda *tensors: differentiable(run(*tensors))[0]


def _vmap_grad(run: Callable[..., Any], problem: Problem) -> Any:
    batch = [torch.stack([t, 0.9 * t, 1.1 * t]) for t in problem.tensors]
    arguments = tuple(range(len(batch)))
    return vmap(grad(_scalar(run), argnums=arguments), randomness="same")(*batch)


def _jacrev(run: Callable[..., Any], problem: Problem) -> Any:
    return jacrev(_first(run), argnums=tuple(range(len(problem.tensors))))(*problem.tensors)


def _hessian(run: Callable[..., Any], problem: Problem) -> Any:
    return hessian(_scalar(run), argnums=tuple(range(len(problem.tensors))))(*problem.tensors)


def transforms(subject: Subject) -> str:
    """vmap(grad), jacrev and hessian: the twin's results (1e-10 of the largest, float64), or refused as by the twin."""
    problem = subject.problem(torch.float64)
    leaves = problem.leaves()
    if not any(o.requires_grad for o in differentiable(problem.ours(*leaves))):
        raise NotApplicable("no output depends on a differentiable input")
    done = []
    for name, apply in (("vmap(grad)", _vmap_grad), ("jacrev", _jacrev), ("hessian", _hessian)):
        if problem.twin is None:
            apply(problem.ours, problem)
            done.append(name)
            continue
        if f"transforms: {name}" in subject.case.without:
            continue
        _, refused = outcome(lambda a=apply: a(problem.twin, problem))  # type: ignore[misc]
        if refused is not None and re.search("not (yet )?(implemented|support)", str(refused), re.IGNORECASE):
            # a gap of the twin's own kernels is no reason for ours to have it too
            continue
        pair = as_twin(name, lambda a=apply: a(problem.ours, problem), lambda a=apply: a(problem.twin, problem))  # type: ignore[misc]
        if pair is None:
            continue
        flat_ours, _ = torch.utils._pytree.tree_flatten(pair[0])
        flat_twin, _ = torch.utils._pytree.tree_flatten(pair[1])
        for i, (a, b) in enumerate(zip(flat_ours, flat_twin, strict=True)):
            same(f"{name}, entry {i}", a, b, rtol=1e-10, atol=1e-12)
        done.append(name)
    if not done:
        raise NotApplicable("the twin refuses these transforms, so do we")
    return ", ".join(done)


def _compiled(subject: Subject, backend: str, rtol: float) -> str:
    problem = subject.problem(torch.float64)
    layer = problem.ours
    if subject.random:
        raise NotApplicable("compiled random numbers are drawn in another order")
    expected_outputs, expected = gradients(layer, problem.leaves())
    torch._dynamo.reset()
    compiled = torch.compile(layer, fullgraph=True, backend=backend, dynamic=False)
    try:
        outputs, found = gradients(compiled, problem.leaves())
    except Exception as raised:
        raise CheckFailed(f"torch.compile({backend}): {raised}") from raised
    for a, b in zip(outputs, expected_outputs, strict=True):
        same("compiled output", a, b, rtol=rtol)
    for name, x, y in zip(problem.names, found, expected, strict=True):
        same(f"compiled gradient by {name}", x, y, rtol=rtol)
    return "one graph, same gradients"


def compiled(subject: Subject) -> str:
    """torch.compile(fullgraph=True) through AOTAutograd: one graph, our gradients (1e-12, another order of sums)."""
    return _compiled(subject, "aot_eager", 1e-12)


def compiled_inductor(subject: Subject) -> str:
    """torch.compile(fullgraph=True) down to generated C++ (1e-10: fused multiply-adds round differently)."""
    if any(leaf.is_complex() for leaf in subject.problem(torch.float64).leaves()):
        raise NotApplicable("inductor generates no code for complex numbers")
    return _compiled(subject, "inductor", 1e-10)
