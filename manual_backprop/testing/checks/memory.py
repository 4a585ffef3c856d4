"""Memory: inputs of every layout; tensors that must stay unchanged, must share no memory and must be saved properly."""

from __future__ import annotations

import gc
import weakref
from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor

from ..compare import same
from ..layouts import copied, laid_out, overlapping
from ..nodes import graph, is_written
from ..subject import CheckFailed, NotApplicable, Problem, Subject, delta_for, differentiable, gradients
from .values import outcome

CLOSE = {"rtol": 1e-12, "atol": 1e-12}
"""float64: strided operands may be summed in another order, also where terms of size about 1 cancel to zero."""


def _variants(subject: Subject) -> Iterator[tuple[str, Problem, Problem]]:
    """(tensor and layout, the problem with the tensor in that layout, the problem with the same values contiguous)."""
    plain = subject.problem(torch.float64)
    for i, (name, tensor) in enumerate(zip(plain.names, plain.tensors, strict=True)):
        for how, odd in laid_out(tensor):

            def given(value: Tensor, i: int = i) -> Problem:
                tensors = [*plain.tensors[:i], value, *plain.tensors[i + 1 :]]
                return Problem(plain.ours, plain.twin, tensors, plain.names)

            yield f"{name} {how}", given(odd), given(odd.contiguous())
    args, wanted = subject.flat_arguments(torch.float64)
    for place, arg in enumerate(args):
        if not isinstance(arg, Tensor) or wanted[place]:
            continue
        for how, odd in laid_out(arg):

            def edited(value: Tensor, place: int = place) -> Problem:
                return subject.problem(torch.float64, edit=lambda j, tensor: value if j == place else tensor)

            yield f"argument {place} {how}", edited(odd), edited(odd.contiguous())


def layouts(subject: Subject) -> str:
    """Inputs and parameters transposed, sliced from a larger tensor, expanded, channels_last: same results as for
    contiguous tensors (1e-12 of the largest value, float64). Layouts that the twin refuses are skipped.

    Layers with random numbers draw them in the order of memory: they are compared with the twin in the same layout.
    """
    tried = 0
    if subject.random and subject.twin is None:
        raise NotApplicable("random numbers are drawn in the order of memory, and there is no twin to compare with")
    for what, odd, packed in _variants(subject):
        twin: Any = odd.twin
        if twin is not None and outcome(lambda t=twin, o=odd: gradients(t, o.leaves()))[1] is not None:  # type: ignore[misc]
            continue
        reference: Any = (twin, odd) if subject.random else (packed.ours, packed)
        expected_outputs, expected = gradients(reference[0], reference[1].leaves())
        found, raised = outcome(lambda o=odd: gradients(o.ours, o.leaves()))  # type: ignore[misc]
        if raised is not None:
            raise CheckFailed(f"{what} in memory: {type(raised).__name__}: {raised}") from raised
        for i, (a, b) in enumerate(zip(found[0], expected_outputs, strict=True)):
            same(f"{what} in memory, against the same values contiguous: output {i}", a, b, **CLOSE)
        for name, x, y in zip(odd.names, found[1], expected, strict=True):
            same(f"{what} in memory, against the same values contiguous: gradient by {name}", x, y, **CLOSE)
        tried += 1
    if not tried:
        raise NotApplicable("no tensor that can have another layout")
    return f"{tried} layouts"


def untouched(subject: Subject) -> str:
    """Inputs, parameters and the delta keep their values; gradients share no memory; in-place edits are detected.

    A backward must save tensors with `save_for_backward`. If they are kept elsewhere, an edit in place between forward
    and backward silently gives a wrong gradient, and an output that is kept is never freed.
    """
    problem = subject.problem(torch.float64)
    leaves = problem.leaves()
    before: list[Tensor | None] = [copied(leaf) for leaf in leaves]
    if problem.twin is not None:  # an Embedding with max_norm changes its weight in forward
        changed = [copied(leaf) for leaf in leaves]
        problem.twin(*changed)
        before = [b if b is not None and torch.equal(b, c) else None for b, c in zip(before, changed, strict=True)]
    outputs = [o for o in differentiable(problem.ours(*leaves)) if o.requires_grad]
    if not outputs:
        raise NotApplicable("no output depends on a differentiable input")
    _unchanged("forward", problem, leaves, before)
    deltas = [delta_for(o) for o in outputs]
    kept = [delta.clone() for delta in deltas]
    torch.autograd.backward(outputs, deltas)
    _unchanged("backward", problem, leaves, before)
    for i, (delta, b) in enumerate(zip(deltas, kept, strict=True)):
        same(f"delta {i} after backward", delta, b)
    _apart(problem, leaves)
    _kept_on_nodes(outputs)
    del outputs
    _edits(subject, problem)
    if not subject.random:
        _freed(problem)
    return "no input changed, no memory shared, all saved properly"


def _unchanged(when: str, problem: Problem, leaves: list[Tensor], before: list[Tensor | None]) -> None:
    for name, leaf, b in zip(problem.names, leaves, before, strict=True):
        if b is None:
            continue
        try:
            same(f"{name} after {when}", leaf, b)
        except CheckFailed as wrong:
            raise CheckFailed(f"{when} has written into {name}: {wrong}") from None


def _apart(problem: Problem, leaves: list[Tensor]) -> None:
    """`.grad` of one leaf must not share memory with another's: clipping or a step in place would change both."""
    names, grads = problem.names, [leaf.grad for leaf in leaves]
    places = [(name, *_span(t)) for name, t in zip(names, grads, strict=True) if t is not None and t.numel()]
    places += [(f"{name} itself", *_span(leaf)) for name, leaf in zip(names, leaves, strict=True) if leaf.numel()]
    for i, (name, begin, end) in enumerate(places):
        for other, start, stop in places[i + 1 :]:
            if name.endswith(" itself") or not (begin < stop and start < end):
                continue
            theirs = other if other.endswith(" itself") else f"the gradient by {other}"
            raise CheckFailed(
                f"the gradient by {name} lies in the memory of {theirs}: changing one in place, as clipping does, "
                "changes the other. Return clones, not two views of one tensor."
            )


def _span(tensor: Tensor) -> tuple[int, int]:
    """The addresses of the first element and of the end of the last."""
    reach = sum((n - 1) * s for n, s in zip(tensor.shape, tensor.stride(), strict=True))
    return tensor.data_ptr(), tensor.data_ptr() + (reach + 1) * tensor.element_size()


def _kept_on_nodes(outputs: list[Tensor]) -> None:
    """No input or output may be an attribute of ctx: there torch does not detect that it is overwritten."""
    for node in graph(*outputs):
        if not is_written(node):
            continue
        for attribute, value in getattr(node, "__dict__", {}).items():  # native nodes have none
            if isinstance(value, Tensor) and (value.requires_grad or any(value is o for o in outputs)):
                raise CheckFailed(
                    f"{type(node).__name__} keeps a tensor as ctx.{attribute}, where torch never frees it and does not "
                    "detect that it is overwritten: save inputs and outputs with ctx.save_for_backward"
                )


def _edits(subject: Subject, problem: Problem) -> None:
    """An input, a parameter or an output overwritten after forward: the same gradients, or torch's version error."""
    if subject.in_place:
        return
    _, expected = gradients(problem.ours, problem.leaves())
    outputs = [o for o in differentiable(problem.ours(*problem.leaves())) if o.requires_grad]
    count = len(problem.tensors)
    for i in range(count + len(outputs)):
        leaves = problem.leaves()
        given = [leaf * 1 for leaf in leaves]
        outputs = [o for o in differentiable(problem.ours(*given)) if o.requires_grad]
        target, name = (given[i], problem.names[i]) if i < count else (outputs[i - count], f"output {i - count}")
        if overlapping(target):
            continue
        deltas = [delta_for(o) for o in outputs]
        try:
            with torch.no_grad():
                target.add_(1)
            found = torch.autograd.grad(outputs, given, deltas, allow_unused=True)
        except RuntimeError as raised:
            if "inplace" not in str(raised):  # torch's version error, or its refusal of a write into a view
                raise
            continue
        for other, a, b in zip(problem.names, found, expected, strict=True):
            try:
                same(f"gradient by {other}", a, b, **CLOSE)
            except CheckFailed as wrong:
                raise CheckFailed(
                    f"{name} was overwritten between forward and backward without an error: {wrong}. "
                    "Save what the backward needs with ctx.save_for_backward, not as ctx.attribute or elsewhere."
                ) from None


def _freed(problem: Problem) -> None:
    """Outputs are freed with their last reference, without the garbage collector: no node may hold its own output."""
    enabled = gc.isenabled()
    gc.disable()
    try:
        outputs = differentiable(problem.ours(*problem.leaves()))
        alive = [weakref.ref(output) for output in outputs]
        del outputs
        if any(reference() is not None for reference in alive):
            raise CheckFailed(
                "an output is not freed with its last reference: its own backward node, or something else in the "
                "function, holds it. Save outputs only with ctx.save_for_backward."
            )
    finally:
        if enabled:
            gc.enable()
