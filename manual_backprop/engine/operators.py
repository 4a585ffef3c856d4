"""Rules written as one line of a table: an operator of torch, and for each argument the formula of its delta.

    #               operator   y =             delta_input =
    Exp = elemental("exp",     "e^x",          "delta y",   lambda delta, output: delta * conj(output))
    Flip = linear("flip",      "x, reversed",  "delta, reversed",  lambda delta, dims: delta.flip(dims),
                  takes="input, dims: list")

Both are rules like those written as classes: the names of a formula's parameters say what it needs, and everything else
is derived. The docstring is composed of the two texts, the shapes, and the source of the page.
"""

from __future__ import annotations

import inspect
import linecache
import sys
from collections.abc import Callable
from functools import partial
from typing import Any

import torch
from torch import Tensor

from .rule import Rule

HOMES = ("linalg", "special", "fft")
"""Namespaces of torch that names of aten's operators begin with: linalg_det, special_erfcx, fft_fft."""


def torch_name(operator: str) -> str:
    """How a user calls one of aten's operators: `torch.exp` for exp, `torch.linalg.det` for linalg_det, and
    `torch.ops.aten.<name>` where torch has no public function."""
    home, _, name = operator.partition("_")
    if home in HOMES and hasattr(getattr(torch, home), name):
        return f"torch.{home}.{name}"
    return f"torch.{operator}" if hasattr(torch, operator) else f"torch.ops.aten.{operator}"


def torch_function(name: str) -> Callable[..., Any]:
    """torch's function of the same name as a function of `mb.functional`."""
    found: Any = getattr(torch.nn.functional, name, None) or torch
    for part in torch_name(name).split(".")[1:] if found is torch else ():
        found = getattr(found, part)
    return found


def class_name(operator: str) -> str:
    """The class name of an operator's rule: exp -> Exp, special_bessel_j0 -> BesselJ0, log_sigmoid -> LogSigmoid."""
    home, _, name = operator.partition("_")
    words = (name if home in HOMES else operator).split("_")
    return "".join([word[:1].upper() + word[1:] for word in words])


def rule(
    operator: str,
    forward: str,
    backward: str,
    *formulas: Callable[..., Tensor],
    takes: str = "input",
    shapes: str = "input, output, delta (*)",
    source: str | None = None,
    name: str | None = None,
    **members: Any,
) -> type[Rule]:
    """The rule of one operator.

    `formulas` belong to the arguments named in `takes`, in that order. An argument in `takes` without an annotation is
    a tensor; arguments behind a `*` are passed to torch's function by name. `members` are class attributes, among them
    further formulas. Raises TypeError where neither `source` nor the page's `SOURCE` names a source.
    """
    page = sys.modules[formulas[0].__module__]
    source = source or getattr(page, "SOURCE", None)
    if source is None:
        raise TypeError(
            f"the rule of {operator} has no source. got: source={source!r}. expected: source=..., or SOURCE = ... in "
            f"{page.__name__}"
        )
    name = name or class_name(operator.split(" ")[0].partition(".")[0])
    arguments = [part.strip() for part in takes.split(",")]
    names = [argument.partition(":")[0] for argument in arguments]
    for argument, formula in zip([name for name in names if name != "*"], formulas, strict=False):
        members[f"delta_{argument}"] = formula
    for attribute, member in members.items():
        if inspect.isfunction(member):
            member.__name__, member.__qualname__ = attribute, f"{name}.{attribute}"
    members["forward"] = _forward(operator, name, arguments, len(members.get("results", ())) > 1)
    members["operator"] = operator
    members["__module__"] = page.__name__
    single = "delta_input = " if len(formulas) == 1 and "=" not in backward else ""
    members["__doc__"] = "\n\n".join([f"y = {forward}", shapes, single + backward, f"Source: {source}"])
    return type(name, (Rule,), members)


elemental = partial(rule, elementwise=True, takes_complex=True, upcast=True)
"""A rule whose output elements each depend on one element of the input."""

pairwise = partial(
    rule, elementwise=True, broadcasts=True, upcast=True, takes="input: Any, other: Any",
    shapes="input, other (*, broadcast) or number   output, delta (*)",
)  # fmt: skip
"""A rule whose output elements each depend on one element of each input. Inputs are broadcast and may be numbers."""

linear = partial(rule, linear=("input",))
"""A rule whose output is a linear function of its input. Forward mode calls forward with the tangent as the input."""


def _forward(operator: str, rule: str, arguments: list[str], several: bool) -> Callable[..., Any]:
    """The operator as a function with named arguments. Each has its own code object, which torch.compile needs.

    `several` results are returned as a plain tuple: under vmap torch accepts no named tuple from a Function.
    """
    placed = arguments[: arguments.index("*")] if "*" in arguments else arguments
    named = arguments[len(placed) + 1 :]
    typed = [argument if ":" in argument else f"{argument}: Tensor" for argument in (*placed, *named)]
    names = [argument.partition(":")[0] for argument in (*placed, *named)]
    given = [*names[: len(placed)], *(f"{name}={name}" for name in names[len(placed) :])]
    function = torch_name(operator.split(" ")[0].partition(".")[0])
    called = f"{function}({', '.join(given)})"
    text = f"def forward({', '.join(typed)}) -> Any:\n    return {f'tuple({called})' if several else called}\n"
    file = f"<{__name__}.{rule}.forward>"
    linecache.cache[file] = (len(text), None, text.splitlines(keepends=True), file)
    scope: dict[str, Any] = {"torch": torch, "Tensor": Tensor, "Any": Any, "__name__": __name__}
    exec(compile(text, file, "exec", flags=annotations.compiler_flag), scope)
    made: Callable[..., Any] = scope["forward"]
    made.__qualname__ = f"{rule}.forward"
    return made
