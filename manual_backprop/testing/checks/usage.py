"""Everyday use: autocast, and what is done with a module (copy, pickle, state_dict, initial values)."""

from __future__ import annotations

import copy
import pickle
from typing import Any

import torch
from torch.autograd import forward_ad

from ...engine.torch_private import tree_flatten
from ..compare import in_double, same
from ..nodes import functions, reason, without_tangent
from ..subject import CheckFailed, NotApplicable, Problem, Subject, delta_for, differentiable, gradients
from .values import as_twin, need_twin


def autocast(subject: Subject) -> str:
    """Under autocast, outputs have the twin's dtypes, gradients those of their tensors, and values agree with the
    twin's to a few roundings."""
    need_twin(subject)
    device = torch.device(subject.device).type
    dtypes = []
    tangents = reason(functions(subject.problem(torch.float32)), without_tangent) is None
    for dtype in (torch.float32, torch.bfloat16):
        problem = subject.problem(dtype, state_dtype=torch.float32)

        def run(which: Any, p: Any = problem) -> Any:
            with torch.autocast(device, dtype=torch.bfloat16):
                return gradients(which, p.leaves())

        pair = as_twin(f"autocast on {dtype}", lambda r=run, p=problem: r(p.ours), lambda r=run, p=problem: r(p.twin))  # type: ignore[misc]
        if pair is None:
            continue
        (outputs, ours), (expected, theirs) = pair
        for a, b in zip(outputs, expected, strict=True):
            # both were rounded to bfloat16, each by up to 2^-8 of the largest value
            same("autocast output", a, b, rtol=2.0**-7)
            dtypes.append(str(a.dtype).removeprefix("torch."))
        for name, x, y in zip(problem.names, ours, theirs, strict=True):
            # bfloat16 matmuls inside: a few roundings of 2^-8, in terms of size about 1 whose sum may cancel
            same(f"autocast gradient by {name}", x, y, rtol=2.0**-5, atol=2.0**-7)
        if tangents:
            with torch.autocast(device, dtype=torch.bfloat16):
                _adjoint(problem)
    return "output " + ", ".join(sorted(set(dtypes)))


def _adjoint(problem: Problem) -> None:
    """Forward and reverse mode agree: <delta, tangents of the outputs> = <gradients, tangents of the inputs>."""
    outputs, found = gradients(problem.ours, problem.leaves())
    tangents = [delta_for(tensor) for tensor in problem.tensors]
    with forward_ad.dual_level():
        duals = [forward_ad.make_dual(t.clone(), tangent) for t, tangent in zip(problem.tensors, tangents, strict=True)]
        moved = [forward_ad.unpack_dual(output).tangent for output in differentiable(problem.ours(*duals))]
    left = [(in_double(m) * delta_for(o).conj()).real for m, o in zip(moved, outputs, strict=True) if m is not None]
    right = [(in_double(g) * t.conj()).real for g, t in zip(found, tangents, strict=True) if g is not None]
    scale = float(sum(term.abs().sum() for term in (*left, *right)))
    difference = abs(float(sum(term.sum() for term in left) - sum(term.sum() for term in right)))
    if not difference <= 2.0**-6 * scale:  # a few roundings of 2^-8
        raise CheckFailed(
            f"autocast, forward mode: <delta, output tangents> and <gradients, input tangents> differ by "
            f"{difference:.3g}; the absolute values of their terms add up to {scale:.3g}"
        )


def module(subject: Subject) -> str:
    """A subclass of the twin with its repr and initial values; deepcopy, pickle and state_dict (both ways) work."""
    layer, twin = subject.layer, subject.twin
    if not isinstance(layer, torch.nn.Module):
        raise NotApplicable("a function")
    if twin is not None:
        if repr(layer) != repr(twin):
            raise CheckFailed(f"repr {layer!r}, expected {twin!r}")
        if not isinstance(layer, type(twin)):
            raise CheckFailed(f"{type(layer)} is not a subclass of {type(twin)}")
        for name, value in twin.state_dict().items():
            same(f"initial {name}", layer.state_dict()[name], value)
        copy.deepcopy(twin).load_state_dict(layer.state_dict(), strict=True)
        copy.deepcopy(layer).load_state_dict(twin.state_dict(), strict=True)
    for how, other in (("deepcopy", copy.deepcopy(layer)), ("pickle", pickle.loads(pickle.dumps(layer)))):
        if type(other) is not type(layer) or other.training != layer.training:
            raise CheckFailed(f"{how}: {type(other)}, training {other.training}")
        args, _ = subject.arguments(torch.float32)
        results = []
        for m in (copy.deepcopy(layer), other):
            with torch.random.fork_rng(devices=[]), torch.no_grad():
                torch.manual_seed(0)
                results.append(tree_flatten(m.to(subject.device)(*copy.deepcopy(args)))[0])
        for a, b in zip(*results, strict=True):
            same(f"{how}: output", a, b)
    return "as the twin" if twin is not None else "copies agree"
