"""Functions generated from rules: those of torch.nn.functional that take the arguments of a rule's `forward`.

    relu(input, inplace=False)             ReLU.forward(input)
    softplus(input, beta=1, threshold=20)  Softplus.forward(input, beta=1, threshold=20)

A rule and its function have the same name, apart from capitals and underscores. torch's function may also take
`inplace` and the deprecated arguments that `reduction` replaced. Defaults are torch's. Python cannot read those of
functions written in C: there they are those of `forward`.
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

# ruff: noqa: F401  # the generated functions are compiled in this module and use its imports

ANNOTATIONS = annotations.compiler_flag

NAMES = {name.replace("_", ""): name for name in dir(F) if not name.startswith("_") and not name.endswith("_")}
"""Name in lower case without underscores -> name of torch's function."""

BESIDES = {"inplace": "bool", "size_average": "bool | None", "reduce": "bool | None"}
"""Arguments that torch's functions have and `forward` does not, and their types."""

TYPES = {"Tensor", "bool", "int", "float", "str", "tuple", "list", "None", "..."}
"""Types that are copied from the annotations of `forward`; all others become Any."""

Parameters = Mapping[str, inspect.Parameter]


def derived(written: Collection[str]) -> dict[str, Callable[..., Any]]:
    """Name -> function, for each that can be generated from a rule, except the names that are written by hand."""
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
    """The parameters of torch's function; None where those of `forward` differ."""
    own = inspect.signature(rule.forward).parameters
    try:
        given = inspect.signature(getattr(F, name)).parameters
    except (TypeError, ValueError):  # written in C, so without a signature
        return own
    if list(own) != [n for n in given if n in own] or not given.keys() - own.keys() <= BESIDES.keys():
        return None
    return {n: p.replace(annotation=own[n].annotation if n in own else BESIDES[n]) for n, p in given.items()}


def _made(rule: type[Rule], name: str, parameters: Parameters) -> Callable[..., Any]:
    """The function, compiled from source: it costs no more to call than one written by hand, and
    `inspect.getsource` shows it."""
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
    """The expression that the function returns. Of a rule that also returns statistics, the output alone; of an
    operator with several results, all of them by name."""
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
