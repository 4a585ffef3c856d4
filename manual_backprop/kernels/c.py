"""C: a Loop as a function that OpenMP splits among threads and the compiler makes vectors of."""

from __future__ import annotations

import math
from pathlib import Path
from typing import ClassVar

import torch

from .printer import OPERATORS, Dialect, Kind, Loop

HEADERS = [Path(__file__).with_name(name) for name in ("pointwise.h", "elementary.h")]
TYPES = {torch.float32: ("float", "float"), torch.float64: ("double", "double"), torch.bfloat16: ("bfloat16", "float")}
"""By dtype: the type in memory and the one to compute in."""


FUNCTIONS = "abs", "sqrt", "exp", "expm1", "log", "log1p", "tanh", "sigmoid", "erf", "erfc"


class C(Dialect):
    """C, with the functions of pointwise.h."""

    templates: ClassVar[dict[str, str]] = {
        **OPERATORS,
        "clamp_min": "{0} < {1} ? {1} : {0}",  # NaN passes
        "clamp_max": "{0} > {1} ? {1} : {0}",
        "not": "!{0}",
        "where": "{0} ? {1} : {2}",
        **{name: name + "_{real}({0})" for name in FUNCTIONS},
    }

    def constant(self, value: float) -> str:
        return f"({self.real}){value!r}" if math.isfinite(value) else f"({self.real}){_named(value)}"

    def converted(self, text: str, kind: Kind) -> str:
        return f"({self.real}){text}"

    def declared(self, name: str, kind: Kind, text: str) -> str:
        types = {"real": self.real, "mask": "int", "number": "double"}
        return f"const {types[kind]} {name} = {text};"


def _named(value: float) -> str:
    return "NAN" if value != value else "INFINITY" if value > 0 else "-INFINITY"


def printed(loop: Loop, dtype: torch.dtype, rows: bool = False) -> str:
    """A C function `kernel`: pointers to results and tensors, the numbers, how many elements, how many threads.

    rows: it takes how many rows there are before the elements of one, and for each pointer, after the threads, how many
    elements further a row begins.
    """
    memory, real = TYPES[dtype]
    dialect = C(real)
    results = [(f"out{i}", f"{memory} *") for i in range(len(loop.outputs))]
    tensors = [(f"{t.text}_", f"const {'uint8_t' if t.kind == 'mask' else memory} *") for t in loop.tensors]
    pointers = results + tensors
    given = [kind + name + "0" * rows for name, kind in pointers] + [f"double {n.text}" for n in loop.numbers]
    given += ["I rows"] * rows + ["I n", "I threads"] + [f"I {name}s" for name, _ in pointers] * rows
    loads = [
        dialect.declared(t.text, t.kind, f"{t.text}_[i]" if t.kind == "mask" else f"load_{memory}({t.text}_[i])")
        for t in loop.tensors
    ]
    stores = [f"out{i}[i] = store_{memory}({text});" for i, text in enumerate(dialect.results(loop))]
    count = "rows * n" if rows else "n"
    split = f"schedule(static) num_threads({count} > GRAIN ? (int)threads : 1)"
    row = [f"        {kind}{name} = {name}0 + row * {name}s;" for name, kind in pointers]
    lines = [
        '#include "pointwise.h"',
        f"/* {loop.name} */",
        f"void kernel({', '.join(given)}) {{",
        *(f"    {line}" for line in dialect.lines(loop, ("number",))),
        f"#pragma omp parallel for {split}" if rows else f"#pragma omp parallel for simd {split}",
        *(["    for (I row = 0; row < rows; row++) {", *row, "#pragma omp simd"] if rows else []),
        "    for (I i = 0; i < n; i++) {",
        *(f"        {line}" for line in loads + dialect.lines(loop, ("real", "mask")) + stores),
        "    }" + "}" * rows,
        "}",
    ]
    return "\n".join(lines) + "\n"
