"""`check`: the whole suite on one layer or function, ours or a user's."""

from __future__ import annotations

import copy
import functools
import inspect
import warnings
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from .._tables import html_table
from ..engine.torch_private import tree_flatten, tree_unflatten
from .case import EXTREMES, INFINITE, Case, Spec
from .checks import CHECKS, SLOW_CHECKS
from .layouts import copied
from .subject import CheckFailed, NotApplicable, Subject, rule_formulas

# warnings of torch that also appear while a correct layer is checked
EXPECTED_WARNINGS = (
    "`torch.jit.script.*` is deprecated",  # torch._dynamo and functorch import it
    "There is a performance drop because",  # functorch, the first time that an operator has no batching rule
    "Torchinductor does not support code generation for complex operators",
    "Using padding='same' with even kernel lengths",  # torch's own convolutions
)


@dataclass(frozen=True)
class Result:
    """The outcome of one check: "pass", "fail" or "n/a" (does not apply; `detail` says why)."""

    check: str
    outcome: str
    detail: str


@dataclass
class Report:
    """All results for one layer or function."""

    name: str
    results: list[Result] = field(default_factory=list)

    @property
    def ok(self) -> bool:
        """Whether no check failed."""
        return all(result.outcome != "fail" for result in self.results)

    def __str__(self) -> str:
        width = max((len(r.check) for r in self.results), default=0)
        lines = [f"{r.check:<{width}}  {r.outcome:<4}  {r.detail}" for r in self.results]
        return "\n".join([self.name, *("  " + line.replace("\n", "\n      ") for line in lines)])

    def _repr_html_(self) -> str:
        cells = [(r.check, r.outcome, r.detail) for r in self.results]
        return html_table((self.name, "", ""), cells, left=(0, 1, 2))


def run_check(subject: Subject, name: str) -> Result:
    """One check on one subject."""
    if name in subject.case.without:
        return Result(name, "n/a", subject.case.without[name])
    if subject.refused and name != "forward":
        return Result(name, "n/a", subject.refused)
    check = {**CHECKS, **SLOW_CHECKS}[name]
    state = torch.get_rng_state()
    try:
        with _expected_warnings():
            return Result(name, "pass", check(subject))
    except NotApplicable as reason:
        return Result(name, "n/a", str(reason))
    except Exception as raised:
        message = str(raised) if isinstance(raised, CheckFailed) else f"{type(raised).__name__}: {raised}"
        problem = subject.problem(torch.float64)
        formulas = rule_formulas(problem.ours, problem.leaves())
        return Result(name, "fail", f"{subject.name}, check {name}: {message}\n{formulas}".rstrip())
    finally:
        torch.set_rng_state(state)


def run_case(case: Case, checks: Iterable[str] | None = None, device: str = "cpu") -> Report:
    """The named checks (default: all but the slow ones) on one case."""
    with _expected_warnings():
        subject = Subject(case, device)
        return Report(case.name, [run_check(subject, name) for name in (CHECKS if checks is None else checks)])


@contextmanager
def _expected_warnings() -> Iterator[None]:
    with warnings.catch_warnings():
        for message in EXPECTED_WARNINGS:
            warnings.filterwarnings("ignore", message)
        yield


def check(
    layer_or_function: Callable[..., Any],
    *inputs: Any,
    twin: Callable[..., Any] | None = None,
    checks: Iterable[str] | None = None,
    **fields: Any,
) -> Report:
    """Run the check suite on a layer or function, yours or ours.

    `inputs` are example arguments. Gradients are checked by every floating point tensor among them and by every
    parameter. Choose small shapes, because finite differences visit every element, and values away from kinks. The
    inputs are used in several dtypes with their own memory layout, and in the check "layouts" also with others.
    `twin` is a layer or function to compare with, known to be right. For layers and functions of this library it is
    torch's own, found automatically; for others None skips the comparisons and runs the rest. A
    `torch.autograd.Function` class is checked through its `apply`. `checks` selects checks by name (default: all of
    `manual_backprop.testing.CHECKS`); `fields` are further fields of a `Case`.

    Returns a Report. When a check fails, raises AssertionError, which names the check, the position, the values and the
    formulas of the rules involved. Raises TypeError when the first argument cannot be called, ValueError for an unknown
    check.
    """
    if inspect.isclass(layer_or_function) and issubclass(layer_or_function, torch.autograd.Function):
        layer_or_function = _applied(layer_or_function)
    if not callable(layer_or_function):
        raise TypeError(f"check takes a layer or a function, got {type(layer_or_function).__name__}")
    unknown = set(checks or ()) - set(CHECKS) - set(SLOW_CHECKS)
    if unknown:
        raise ValueError(f"unknown checks {sorted(unknown)}; choose from {sorted({**CHECKS, **SLOW_CHECKS})}")
    theirs = twin if twin is not None else _find_twin(layer_or_function)
    name = getattr(layer_or_function, "__name__", type(layer_or_function).__name__)
    case = Case(
        name,
        lambda: copy.deepcopy(layer_or_function),
        None if theirs is None else (lambda: copy.deepcopy(theirs)),
        tuple(_given(value) for value in inputs),
        **fields,
    )
    report = run_case(case, checks)
    if not report.ok:
        raise AssertionError(str(report))
    return report


def _applied(rule: type[torch.autograd.Function]) -> Callable[..., Any]:
    from ..functional._call import call
    from ..rules import Rule

    def through_call(*args: Any) -> Any:
        return call(rule, *args)  # type: ignore[arg-type]

    def through_apply(*args: Any) -> Any:
        return rule.apply(*args)

    run = through_call if issubclass(rule, Rule) else through_apply
    run.__name__ = rule.__name__
    return run


def _given(value: Any) -> Spec:
    """A Spec that returns the user's own value with its memory layout, in the requested dtype."""
    leaves, tree = tree_flatten(value)
    floating = any(isinstance(leaf, Tensor) and leaf.is_floating_point() for leaf in leaves)

    def make(generator: torch.Generator, dtype: torch.dtype) -> Any:
        made = [
            copied(leaf, dtype) if isinstance(leaf, Tensor) and leaf.is_floating_point() else leaf for leaf in leaves
        ]
        return tree_unflatten(made, tree)

    return Spec(make, differentiable=floating, specials=(*EXTREMES, *INFINITE) if floating else ())


def _find_twin(layer: Callable[..., Any]) -> Callable[..., Any] | None:
    from ..convert import revert, twin_function

    if isinstance(layer, torch.nn.Module):
        reverted = revert(copy.deepcopy(layer))
        ours = any(type(m).__module__.startswith("manual_backprop.") for m in layer.modules())
        return reverted if ours else None
    if isinstance(layer, functools.partial):
        inner = _find_twin(layer.func)
        return None if inner is None else functools.partial(inner, *layer.args, **layer.keywords)
    if getattr(layer, "__module__", "").startswith("manual_backprop.functional"):
        return twin_function(layer)
    return None
