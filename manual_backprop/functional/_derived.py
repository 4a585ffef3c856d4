"""Functions that need no writing: those of torch.nn.functional whose arguments are those of a rule's `forward`.

    relu(input, inplace=False)             ReLU.forward(input)
    softplus(input, beta=1, threshold=20)  Softplus.forward(input, beta=1, threshold=20)

A rule's name is the function's, but for capitals and underscores. torch's may have `inplace` besides, and the arguments
that `reduction` has replaced. The defaults are torch's, or where torch has the function in C, which does not tell them,
those of `forward`.
"""

from __future__ import annotations

import inspect
import linecache
import re
from collections.abc import Callable, Collection, Mapping
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, return_types

from .. import rules
from ..engine.operators import torch_name
from ..engine.rule import RULES, Rule, paragraphs
from ._call import call, call_in_place
from ._losses import reduction_of

# ruff: noqa: F401  # the functions are written into this module, and name what it imports

ANNOTATIONS = annotations.compiler_flag

NAMES = {name.replace("_", ""): name for name in dir(F) if not name.startswith("_") and not name.endswith("_")}
"""What a rule is called in small letters -> torch's function."""

BESIDES = {"inplace": "bool", "size_average": "bool | None", "reduce": "bool | None"}
"""Arguments of torch's that `forward` does not have, and their types."""

TYPES = {"Tensor", "bool", "int", "float", "str", "tuple", "list", "None", "..."}
"""What is repeated from the annotations of `forward`."""

Parameters = Mapping[str, inspect.Parameter]


def derived(written: Collection[str]) -> dict[str, Callable[..., Any]]:
    """Name -> function of all that follows from the rules, but for the names that are written by hand."""
    found: dict[str, Callable[..., Any]] = {}
    for rule in RULES.values():
        name = NAMES.get(rule.__name__.lower())
        if name is None or name in written or (parameters := _parameters(rule, name)) is None:
            continue
        found[name] = _made(rule, name, parameters)
        if "inplace" in parameters and hasattr(F, in_place := f"{name}_"):
            found[in_place] = _made(rule, in_place, {n: p for n, p in parameters.items() if n != "inplace"})
    for rule in RULES.values():
        name = rule.operator.split(" ")[0].partition(".")[0]
        if name and name not in found and name not in written:
            found[name] = _made(rule, name, inspect.signature(rule.forward).parameters)
    return found


def _parameters(rule: type[Rule], name: str) -> Parameters | None:
    """Those of torch's function; None where `forward` has others."""
    own = inspect.signature(rule.forward).parameters
    try:
        given = inspect.signature(getattr(F, name)).parameters
    except (TypeError, ValueError):  # it is in C
        return own
    if list(own) != [n for n in given if n in own] or not given.keys() - own.keys() <= BESIDES.keys():
        return None
    return {n: p.replace(annotation=own[n].annotation if n in own else BESIDES[n]) for n, p in given.items()}


def _made(rule: type[Rule], name: str, parameters: Parameters) -> Callable[..., Any]:
    """A function written out, which costs no more to call than one by hand; `inspect.getsource` shows it."""
    listed = [_spelled(p) for p in parameters.values()]
    keywords = [i for i, p in enumerate(parameters.values()) if p.kind is p.KEYWORD_ONLY]
    if keywords:
        listed.insert(keywords[0], "*")
    arguments = ", ".join([f"rules.{rule.__name__}", *inspect.signature(rule.forward).parameters])
    home = f"{torch_name(name)}" if rule.operator else f"torch.nn.functional.{name}"
    run = "call_in_place" if name.endswith("_") else "call"
    run = "(call_in_place if inplace else call)" if "inplace" in parameters else run
    formula = paragraphs(rule)[0].replace("\n", "\n    ")
    lines = [
        f"def {name}({', '.join(listed)}) -> Tensor:",
        f'    """{formula}',
        "",
        f"    As {home}; rule: `mb.rules.{rule.__name__}`.",
        '    """',
        *["    reduction = reduction_of(reduction, size_average, reduce)"] * ("size_average" in parameters),
        f"    return {_returned(rule, name, f'{run}({arguments})')}",
    ]
    file, source = f"<{__name__}.{name}>", "\n".join(lines) + "\n"
    linecache.cache[file] = (len(source), None, source.splitlines(keepends=True), file)
    exec(compile(source, file, "exec", flags=ANNOTATIONS), globals())
    made: Callable[..., Any] = globals()[name]
    made.rule = rule  # type: ignore[attr-defined]
    return made


def _returned(rule: type[Rule], name: str, called: str) -> str:
    """What a rule returns, as torch's function does: the output of a rule that also keeps statistics, all results of an
    operator that has several, by name."""
    if len(rule.results) == 1:
        return called
    if not rule.operator:
        return f"{called}[0]"
    return f"return_types.{name}({called})" if hasattr(return_types, name) else called


def _spelled(parameter: inspect.Parameter) -> str:
    annotation, default = parameter.annotation, parameter.default
    kind = annotation if isinstance(annotation, str) else inspect.formatannotation(annotation)
    kind = kind.replace("torch.Tensor", "Tensor")
    kind = kind if set(re.findall(r"[\w.]+", kind)) <= TYPES else "Any"
    return f"{parameter.name}: {kind}" + ("" if default is parameter.empty else f" = {default!r}")
