"""Prints a Loop as a C function, which OpenMP splits among threads and the compiler vectorizes."""

from __future__ import annotations

import math
from pathlib import Path
from typing import ClassVar

import torch

from .printer import OPERATORS, Dialect, Kind, Loop, contracted

HEADERS = [Path(__file__).with_name(name) for name in ("pointwise.h", "elementary.h", "stream.h")]
TYPES = {torch.float32: ("float", "float"), torch.float64: ("double", "double"), torch.bfloat16: ("bfloat16", "float")}
"""Dtype -> the C type in memory and the C type to compute in."""


FUNCTIONS = "abs", "sqrt", "exp", "expm1", "log", "log1p", "tanh", "sigmoid", "erf", "erfc"


class C(Dialect):
    """C, with the functions of pointwise.h."""

    templates: ClassVar[dict[str, str]] = {
        **OPERATORS,
        "clamp_min": "{0} < {1} ? {1} : {0}",  # NaN passes
        "clamp_max": "{0} > {1} ? {1} : {0}",
        "not": "!{0}",
        "where": "{0} ? {1} : {2}",
        **{name: name + "_{real}({0})" for name in (*FUNCTIONS, "decay", "log1p_exp")},
        "share": "share_{real}({0}, {1})",
        "mul_add": "fma_{real}({0}, {1}, {2})",
        "mul_sub": "fma_{real}({0}, {1}, -{2})",
        "sub_mul": "fma_{real}(-{0}, {1}, {2})",
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


def printed(loop: Loop, dtype: torch.dtype, rows: bool = False, sums: bool = False) -> str:
    """The text of a C function `kernel`.

    Its arguments: pointers to results and tensors, the numbers, the number of elements, whether to use non-temporal
    stores (stream.h; its name is `around`), the number of threads.
    rows: print a loop over rows. Then the arguments after the numbers are: the number of rows, the elements of a row,
    the number of threads, and for each pointer the distance between two rows in elements.
    sums: only with rows; adds a pointer behind the results, for the sum of the first result over all rows.
    """
    memory, real = TYPES[dtype]
    dialect, loop = C(real), contracted(loop)
    results = [(f"out{i}", f"{memory} *") for i in range(len(loop.outputs))]
    tensors = [(f"{t.text}_", f"const {'uint8_t' if t.kind == 'mask' else memory} *") for t in loop.tensors]
    pointers = results + tensors
    given = [kind + name + "0" * rows for name, kind in pointers] + [f"double {n.text}" for n in loop.numbers]
    given[len(results) : len(results)] = [f"{real} *sums"] * sums
    given += ["I rows", "I n"] if rows else ["I n", "I around"]
    given += ["I threads"] + [f"I {name}s" for name, _ in pointers] * rows
    loads = [
        dialect.declared(t.text, t.kind, f"{t.text}_[i]" if t.kind == "mask" else f"load_{memory}({t.text}_[i])")
        for t in loop.tensors
    ]
    stores = [f"to{i} = store_{memory}({text});" for i, text in enumerate(dialect.results(loop))]
    stores += [f"sum[i] += {dialect.results(loop)[0]};"] * sums
    element = [*loads, *dialect.lines(loop, ("real", "mask")), *stores]
    places = ", ".join(f"to{i}" for i in range(len(results)))
    written = ", ".join(f"{name}[j]" for name, _ in results)
    return "\n".join([
        '#include "pointwise.h"',
        f"/* {loop.name} */",
        f"#define ELEMENT(at, {places}) {{ \\",
        "    const I i = at; \\",
        *(f"    {line} \\" for line in element),
        "}",
        f"void kernel({', '.join(given)}) {{",
        *(f"    {line}" for line in dialect.lines(loop, ("number",))),
        *(_summed(pointers, written, real) if sums else _each_row(pointers, written) if rows
          else _each(results, memory, written)),
        "}",
    ]) + "\n"  # fmt: skip


def _each(results: list[tuple[str, str]], memory: str, written: str) -> list[str]:
    parts = [f"{name}_part" for name, _ in results]
    aligned = " && ".join(f"(uintptr_t){name} % PART == 0" for name, _ in results)
    return [
        f"    const I whole = around && {aligned} ? n / PART * PART : 0;",
        "    if (whole)",
        "#pragma omp parallel num_threads((int)threads)",
        "    {",
        *(f"        {memory} {part}[PART] __attribute__((aligned(PART)));" for part in parts),
        "#pragma omp for schedule(static) nowait",
        "        for (I first = 0; first < whole; first += PART) {",
        "#pragma omp simd",
        f"            for (int k = 0; k < PART; k++) ELEMENT(first + k, {', '.join(f'{part}[k]' for part in parts)})",
        *(f"            stream({part[:-5]} + first, {part}, sizeof {part});" for part in parts),
        "        }",
        "        streamed();",
        "    }",
        "#pragma omp parallel for simd schedule(static) num_threads(n - whole > GRAIN ? (int)threads : 1)",
        f"    for (I j = whole; j < n; j++) ELEMENT(j, {written})",
    ]


def _each_row(pointers: list[tuple[str, str]], written: str) -> list[str]:
    return [
        "#pragma omp parallel for schedule(static) num_threads(rows * n > GRAIN ? (int)threads : 1)",
        "    for (I row = 0; row < rows; row++) {",
        *(f"        {kind}{name} = {name}0 + row * {name}s;" for name, kind in pointers),
        "#pragma omp simd",
        f"        for (I j = 0; j < n; j++) ELEMENT(j, {written})",
        "    }",
    ]


def _summed(pointers: list[tuple[str, str]], written: str, real: str) -> list[str]:
    """Sums blocks of ROWS rows in REAL, and the blocks in double. Threads' sums are added in a fixed order."""
    return [
        "    if (rows * n <= GRAIN) threads = 1;",
        "    double *parts = calloc((size_t)(threads * n), sizeof(double));",
        f"    {real} *blocks = malloc((size_t)(threads * n) * sizeof({real}));",
        "#pragma omp parallel for schedule(static) num_threads((int)threads)",
        "    for (I t = 0; t < threads; t++) {",
        f"        {real} *sum = blocks + t * n;",
        "        const I stop = rows * (t + 1) / threads;",
        "        for (I from = rows * t / threads; from < stop; from += ROWS) {",
        "            const I to = from + ROWS < stop ? from + ROWS : stop;",
        "            memset(sum, 0, (size_t)n * sizeof *sum);",
        "            for (I row = from; row < to; row++) {",
        *(f"                {kind}{name} = {name}0 + row * {name}s;" for name, kind in pointers),
        "#pragma omp simd",
        f"                for (I j = 0; j < n; j++) ELEMENT(j, {written})",
        "            }",
        "            for (I k = 0; k < n; k++) parts[t * n + k] += sum[k];",
        "        }",
        "    }",
        "    for (I k = 0; k < n; k++) {",
        "        double all = 0;",
        "        for (I t = 0; t < threads; t++) all += parts[t * n + k];",
        f"        sums[k] = ({real})all;",
        "    }",
        "    free(parts), free(blocks);",
    ]
