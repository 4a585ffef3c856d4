"""Values: outputs equal to those of the twin (torch's own layer), gradients in several dtypes, special values, empty
batches."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from ...engine import rule as _rule
from ...engine.torch_private import tree_flatten
from ..compare import error, in_double, same
from ..subject import CheckFailed, NotApplicable, Problem, Subject, delta_for, gradients


def need_twin(subject: Subject) -> None:
    """Raises NotApplicable where there is no twin, for checks that compare with it."""
    if subject.twin is None:
        raise NotApplicable("no twin to compare with")


def outcome(run: Callable[[], Any]) -> tuple[Any, Exception | None]:
    """What a call returned, or the error it raised."""
    try:
        return run(), None
    except NotApplicable:
        raise
    except Exception as raised:
        return None, raised


def as_twin(what: str, ours: Callable[[], Any], twin: Callable[[], Any]) -> tuple[Any, Any] | None:
    """Both results; None when both raise the same type of error."""
    expected, their_error = outcome(twin)
    found, our_error = outcome(ours)
    if their_error is None and our_error is None:
        return found, expected
    if their_error is not None and our_error is not None:
        if type(our_error) is not type(their_error):
            raise CheckFailed(f"{what}: ours raises {our_error!r}, the twin {their_error!r}")
        return None
    if our_error is not None:
        raise CheckFailed(f"{what}: ours raises {our_error!r}, the twin does not") from our_error
    raise CheckFailed(f"{what}: the twin raises {their_error!r}, ours does not")


FORMULAS = (2.0**-47, "without kernels, the formula rounds in an order of its own")
ON_GPU = (2.0**-47, "on a GPU our forward kernels differ from torch's, which differ by dtype and size")


def _tolerance(subject: Subject) -> tuple[float, str] | None:
    """How far outputs in float64 may differ from the twin's, and why; None where they must be equal to the last bit."""
    if subject.case.forward is None and _rule._backend == "formula":
        return FORMULAS
    if subject.case.forward is None and not subject.device.startswith("cpu"):
        return ON_GPU
    return subject.case.forward


def forward(subject: Subject) -> str:
    """Outputs equal to the twin's: values, dtype, strides; with and without grad mode; buffers afterwards."""
    need_twin(subject)
    tolerance = _tolerance(subject)
    for dtype in (torch.float64, torch.float32):
        problem = subject.problem(dtype)
        assert problem.twin is not None
        rtol = 0.0 if tolerance is None else tolerance[0] * (1.0 if dtype == torch.float64 else 2.0**29)
        for grad in (True, False):
            with torch.set_grad_enabled(grad):
                leaves = problem.leaves() if grad else problem.tensors
                pair = as_twin(
                    f"forward {dtype}",
                    lambda p=problem, x=leaves: p.ours(*x),  # type: ignore[misc]
                    lambda p=problem, x=leaves: p.twin(*x),  # type: ignore[misc]
                )
            if pair is None:
                raise NotApplicable("refused, as by the twin")
            ours, theirs = tree_flatten(pair[0])[0], tree_flatten(pair[1])[0]
            if len(ours) != len(theirs):
                raise CheckFailed(f"forward: {len(ours)} outputs, expected {len(theirs)}")
            for i, (a, b) in enumerate(zip(ours, theirs, strict=True)):
                same(f"forward output {i} ({dtype})", a, b, rtol=rtol)
                if isinstance(a, Tensor) and a.stride() != b.stride():
                    raise CheckFailed(f"forward output {i}: strides {a.stride()}, expected {b.stride()}")
                if isinstance(a, Tensor) and a.requires_grad != b.requires_grad:
                    raise CheckFailed(
                        f"forward output {i}: requires_grad {a.requires_grad}, expected {b.requires_grad}"
                    )
    return "equal to the last bit" if tolerance is None else f"within {tolerance[0]:g}: {tolerance[1]}"


def _errors(subject: Subject, dtype: torch.dtype) -> tuple[list[str], list[float], list[float]]:
    """Names, errors of our gradients and errors of the twin's in `dtype`, both measured against float64."""
    problem = subject.problem(dtype)
    outputs, ours = gradients(problem.ours, problem.leaves())
    truth = _truth(subject, problem, dtype, outputs)
    theirs: list[Tensor | None] = ours
    if problem.twin is not None:
        _, theirs = gradients(problem.twin, problem.leaves())
    names, mine, other = [], [], []
    for name, a, b, t in zip(problem.names, ours, theirs, truth, strict=True):
        if t is None or a is None or b is None:
            same(f"gradient by {name} ({dtype})", a, b)
            continue
        if a.dtype != b.dtype or a.shape != b.shape:
            same(f"gradient by {name} ({dtype})", a, b)
        names.append(name)
        mine.append(error(a, t))
        other.append(error(b, t))
    return names, mine, other


def _truth(
    subject: Subject,
    problem: Problem,
    dtype: torch.dtype,
    outputs: tuple[Tensor, ...],
    edit: Callable[[int, Tensor], Tensor] = lambda i, tensor: tensor,
) -> list[Tensor | None]:
    """The twin's gradients (ours without a twin) in float64, for the same inputs and deltas."""

    def widened(i: int, tensor: Tensor) -> Tensor:
        tensor = edit(i, tensor)
        return tensor.to(dtype).double() if tensor.is_floating_point() else tensor

    wide = subject.problem(torch.float64, edit=widened)
    exact = Problem(wide.ours, wide.twin, [in_double(t) for t in problem.tensors], problem.names)
    deltas = [in_double(delta_for(o)) for o in outputs]
    return gradients(exact.twin or exact.ours, exact.leaves(), deltas)[1]


def _as_accurate(subject: Subject, dtype: torch.dtype, factor: float, margin: float) -> str:
    names, mine, other = _errors(subject, dtype)
    for name, a, b in zip(names, mine, other, strict=True):
        if not a <= factor * b + margin:
            raise CheckFailed(
                f"gradient by {name} in {dtype}: error {a:.3g} relative to float64, the twin's is {b:.3g} "
                f"(allowed: {factor:g} x the twin's + {margin:.3g})"
            )
    return f"worst error {max(mine, default=0.0):.1e}, the twin's {max(other, default=0.0):.1e}"


def float32(subject: Subject) -> str:
    """float32 gradients as accurate as the twin's, measured against float64.

    Allowed: 4 times the twin's error, because sums in another order round differently, plus 16 unit roundoffs.
    """
    return _as_accurate(subject, torch.float32, 4.0, 16 * 2.0**-24)


def bfloat16(subject: Subject) -> str:
    """bfloat16 gradients as accurate as the twin's, measured against float64.

    Allowed: twice the twin's error, because sums in another order round differently, plus 2^-8, two unit roundoffs.
    """
    if subject.twin is not None:
        problem = subject.problem(torch.bfloat16)
        assert problem.twin is not None
        _, refused = outcome(lambda: gradients(problem.twin, problem.leaves()))  # type: ignore[arg-type]
        if refused is not None:
            raise NotApplicable(f"the twin does not support bfloat16 here: {str(refused).splitlines()[0][:80]}")
    factor = 2.0 if subject.case.bf16 is None else subject.case.bf16[0]
    return _as_accurate(subject, torch.bfloat16, factor, 2.0**-8)


def _special_values(subject: Subject) -> list[tuple[int, float]]:
    values: list[tuple[int, float]] = []
    position = 0
    for spec in subject.case.inputs:
        made = tree_flatten(spec.make(torch.Generator().manual_seed(0), torch.float64))[0]
        values += [(position, value) for value in spec.specials if made and isinstance(made[0], Tensor)]
        position += len(made)
    return values


def specials(subject: Subject) -> str:
    """Kinks, ties, NaN, infinities and extremes: outputs and gradients equal to the twin's.

    Tolerance 4e-6 of the largest value (float32), because the formulas round differently. NaN and infinities must be
    at the same positions. Where the twin's own kernel loses digits (layer_norm of a constant row), ours may differ by
    more if it is nearer to the float64 result.
    """
    need_twin(subject)
    values = _special_values(subject)
    if not values:
        raise NotApplicable("no input with special values")
    for position, value in values:
        for everywhere in (False, True):  # the value at every position makes ties

            def edit(i: int, tensor: Tensor, p: int = position, v: float = value, e: bool = everywhere) -> Tensor:
                if i != p or not tensor.numel():
                    return tensor
                tensor = tensor.clone()
                tensor.reshape(-1)[slice(None) if e else tensor.numel() // 2] = v
                return tensor

            problem = subject.problem(torch.float32, edit=edit)
            what = f"input {position} {'all' if everywhere else 'with one'} {value}"
            pair = as_twin(
                what,
                lambda p=problem: gradients(p.ours, p.leaves()),  # type: ignore[misc]
                lambda p=problem: gradients(p.twin, p.leaves()),  # type: ignore[misc]
            )
            if pair is None:
                continue
            (outputs, ours), (expected, theirs) = pair
            for a, b in zip(outputs, expected, strict=True):
                same(f"{what}: output", a, b, rtol=0.0 if _tolerance(subject) is None else 4e-6)
            for i, (name, x, y) in enumerate(zip(problem.names, ours, theirs, strict=True)):
                try:
                    same(f"{what}: gradient by {name}", x, y, rtol=4e-6, atol=1e-37)
                except CheckFailed:
                    truth = _truth(subject, problem, torch.float32, outputs, edit)[i]
                    if x is None or y is None or truth is None or not error(x, truth) <= error(y, truth):
                        raise
    return f"{len(values)} values"


def empty(subject: Subject) -> str:
    """A batch of size zero: the twin's outputs and gradients, or its error.

    First every input is empty, then only the first one, where the twin accepts that (the second may be a weight).
    """
    need_twin(subject)
    places = [i for i, arg in enumerate(subject.flat_arguments(torch.float64)[0]) if isinstance(arg, Tensor)]
    compared = refused = 0
    for cut in dict.fromkeys([tuple(places), tuple(places[:1])]):

        def edit(i: int, tensor: Tensor, cut: tuple = cut) -> Tensor:
            return tensor[:0] if tensor.dim() and i in cut else tensor

        problem = subject.problem(torch.float64, edit=edit)
        if not any(t.numel() == 0 for t in problem.tensors):
            continue
        what = "empty batch" if cut == tuple(places) else f"only input {cut[0]} empty"
        if cut != tuple(places) and outcome(lambda p=problem: gradients(p.twin, p.leaves()))[1] is not None:  # type: ignore[misc]
            continue
        pair = as_twin(
            what,
            lambda p=problem: gradients(p.ours, p.leaves()),  # type: ignore[misc]
            lambda p=problem: gradients(p.twin, p.leaves()),  # type: ignore[misc]
        )
        if pair is None:
            refused += 1
            continue
        for a, b in zip(pair[0][0], pair[1][0], strict=True):
            same(f"{what}: output", a, b)
        for name, a, b in zip(problem.names, pair[0][1], pair[1][1], strict=True):
            same(f"{what}: gradient by {name}", a, b)
        compared += 1
    if not compared and not refused:
        raise NotApplicable("no input with a batch axis")
    return "as the twin" if compared else "refused, as by the twin"
