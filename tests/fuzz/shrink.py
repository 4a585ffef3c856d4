"""Makes a failing program small: leaves out what it fails without."""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import fields, replace

from .judge import Failure, judge
from .modes import Modes
from .program import FLOATS, Input, Program, Step


def shrink(program: Program, failure: Failure, seconds: float = 120) -> tuple[Program, Failure]:
    """The smallest program found that fails in the same way."""
    end = time.monotonic() + seconds
    found = True
    while found and time.monotonic() < end:
        found = False
        for smaller in candidates(program):
            if time.monotonic() > end:
                break
            try:
                again = judge(smaller)
            except Exception:  # a program that is no program
                continue
            if again is not None and again.key() == failure.key():
                program, failure, found = smaller, again, True
                break
    return program, failure


def candidates(program: Program) -> Iterator[Program]:
    """Programs with less in them, the largest steps first."""
    for k in range(len(program.steps)):
        yield from without(program, k)
    for k in range(len(program.steps)):  # the outputs end here
        step = program.steps[k]
        if step.out and k < len(program.steps) - 1:
            yield tidy(replace(program, steps=program.steps[: k + 1], outputs=(step.out[0],)))
    plain = Modes()
    for f in fields(Modes):
        if getattr(program.modes, f.name) != f.default and f.name != "frozen":
            yield program.with_modes(**{f.name: f.default})
    if program.modes.frozen != plain.frozen:
        yield program.with_modes(frozen=())
    if program.modes.dtype != "float64" and not program.modes.autocast:
        yield program.with_modes(dtype="float64")
    if len(program.outputs) > 1:
        for name in program.outputs:
            yield tidy(replace(program, outputs=(name,)))
    for k, given in enumerate(program.inputs):
        for simple in simpler(given):
            yield replace(program, inputs=(*program.inputs[:k], simple, *program.inputs[k + 1 :]))
    for size in sorted({s for given in program.inputs for s in given.shape if s > 1}, reverse=True):
        for other in {1, 2, size // 2, size // 4, size - 1} - {0, size}:
            yield resized(program, size, other)


def without(program: Program, k: int) -> Iterator[Program]:
    """Step k left out; what it made is, from there on, one of the values that it read."""
    step, rest = program.steps[k], program.steps[k + 1 :]
    used = {n for s in rest for n in s.at} | set(program.outputs)
    stands: list[str | None] = list(dict.fromkeys(step.at)) if used & set(step.out) else [None]
    for name in stands:

        def put(n: str, name: str | None = name) -> str:
            return name if name is not None and n in step.out else n

        steps = (*program.steps[:k], *(replace(s, at=tuple(put(n) for n in s.at)) for s in rest))
        yield tidy(replace(program, steps=steps, outputs=tuple(dict.fromkeys(put(n) for n in program.outputs))))


def tidy(program: Program) -> Program:
    """Without inputs and modules that no step uses."""
    used = {n for s in program.steps for k, n in enumerate(s.at) if f"{{{k}}}" in s.code} | set(program.outputs)
    steps = [replace(s, at=tuple(n if n in used else used_name(used) for n in s.at)) for s in program.steps]
    kept = sorted({s.module for s in steps if s.module is not None})
    place = {old: new for new, old in enumerate(kept)}
    return replace(
        program,
        inputs=tuple(i for i in program.inputs if i.name in used),
        modules=tuple(program.modules[k] for k in kept),
        steps=tuple(s if s.module is None else replace(s, module=place[s.module]) for s in steps),
        modes=replace(program.modes, frozen=tuple(place[k] for k in program.modes.frozen if k in place)),
    )


def used_name(used: set[str]) -> str:
    return min(used)


def simpler(given: Input) -> Iterator[Input]:
    if given.layout != "plain":
        yield replace(given, layout="plain")
    if given.grad:
        yield replace(given, grad=False)
    if given.kind in FLOATS[1:]:
        yield replace(given, kind="normal")


def resized(program: Program, size: int, other: int) -> Program:
    """Another size in every shape, also in code."""
    import re

    def code(text: str) -> str:
        return re.sub(rf"(?<![\d.=]){size}(?![\d.])", str(other), text)

    return replace(
        program,
        inputs=tuple(replace(i, shape=tuple(other if s == size else s for s in i.shape)) for i in program.inputs),
        modules=tuple(code(m) for m in program.modules),
        steps=tuple(replace(s, code=code(s.code)) if "{" in s.code else s for s in program.steps),
    )


__all__ = ["Step", "shrink"]
