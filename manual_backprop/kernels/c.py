"""C: a Loop as a function that OpenMP splits among threads and the compiler makes vectors of."""

from __future__ import annotations

from pathlib import Path
from typing import ClassVar

import torch

from .printer import Dialect, Kind, Loop

HEADERS = [Path(__file__).with_name(name) for name in ("pointwise.h", "elementary.h")]
TYPES = {torch.float32: ("float", "float"), torch.float64: ("double", "double"), torch.bfloat16: ("bfloat16", "float")}
"""By dtype: the type in memory and the one to compute in."""


FUNCTIONS = "abs", "sqrt", "exp", "expm1", "log", "log1p", "tanh", "sigmoid", "erf", "erfc"


class C(Dialect):
    """C, with the functions of pointwise.h."""

    templates: ClassVar[dict[str, str]] = {
        "add": "{0} + {1}",
        "sub": "{0} - {1}",
        "mul": "{0} * {1}",
        "div": "{0} / {1}",
        "neg": "-{0}",
        "clamp_min": "{0} < {1} ? {1} : {0}",  # NaN passes
        "clamp_max": "{0} > {1} ? {1} : {0}",
        "lt": "{0} < {1}",
        "le": "{0} <= {1}",
        "gt": "{0} > {1}",
        "ge": "{0} >= {1}",
        "eq": "{0} == {1}",
        "ne": "{0} != {1}",
        "and": "{0} & {1}",
        "or": "{0} | {1}",
        "not": "!{0}",
        "where": "{0} ? {1} : {2}",
        **{name: name + "_{real}({0})" for name in FUNCTIONS},
    }

    def constant(self, value: float) -> str:
        return (
            f"({self.real}){value!r}"
            if abs(value) < float("inf") and value == value
            else f"({self.real}){_named(value)}"
        )

    def converted(self, text: str, kind: Kind) -> str:
        return f"({self.real}){text}"

    def declared(self, name: str, kind: Kind, text: str) -> str:
        return f"const {dict(real=self.real, mask='int', number='double')[kind]} {name} = {text};"


def _named(value: float) -> str:
    return "NAN" if value != value else "INFINITY" if value > 0 else "-INFINITY"


def printed(loop: Loop, dtype: torch.dtype) -> str:
    """A C function `kernel`: pointers to results and tensors, the numbers, how many elements, how many threads."""
    memory, real = TYPES[dtype]
    dialect = C(real)
    stored = {"real": memory, "mask": "uint8_t"}
    pointers = [f"{memory} *out{i}" for i in range(len(loop.outputs))]
    pointers += [f"const {stored[t.kind]} *{t.text}_" for t in loop.tensors]
    numbers = [f"double {n.text}" for n in loop.numbers]
    loads = [
        dialect.declared(t.text, t.kind, f"{t.text}_[i]" if t.kind == "mask" else f"load_{memory}({t.text}_[i])")
        for t in loop.tensors
    ]
    stores = [f"out{i}[i] = store_{memory}({text});" for i, text in enumerate(dialect.results(loop))]
    before = [f"    {line}" for line in dialect.lines(loop, ("number",))]
    inside = [f"        {line}" for line in loads + dialect.lines(loop, ("real", "mask")) + stores]
    lines = [
        '#include "pointwise.h"',
        f"/* {loop.name} */",
        f"void kernel({', '.join(pointers + numbers)}, I n, I threads) {{",
        *before,
        "#pragma omp parallel for simd schedule(static) num_threads(n > GRAIN ? (int)threads : 1)",
        "    for (I i = 0; i < n; i++) {",
        *inside,
        "    }",
        "}",
    ]
    return "\n".join(lines) + "\n"
