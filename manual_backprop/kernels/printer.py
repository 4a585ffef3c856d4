"""Prints a formula as one loop over its elements, so that the mathematics is written only once, in the formula.

`read` records the formula with torch.fx as a `Loop`: a list of steps that each compute one value from earlier ones. A
`Dialect` prints a Loop in a language by a table of templates (c.py is for C). A formula may use OPERATIONS on tensors
of one shape and on numbers; a tensor named `mask` holds booleans.

The exponential of minus a square is read as `decay`, which is e^x for x <= 0. erfc has the same exponential inside,
so the compiler can compute it once for both.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any, ClassVar, Literal

import torch
from torch import fx

Kind = Literal["real", "mask", "number"]
"""A value that varies by element is "real" or a boolean "mask"; a "number" is the same for all elements."""

ARITHMETIC = {"add", "sub", "mul", "div", "neg"}
ELEMENTARY = {
    "abs",
    "exp",
    "decay",
    "expm1",
    "log",
    "log1p",
    "sqrt",
    "tanh",
    "sigmoid",
    "erf",
    "erfc",
    "clamp_min",
    "clamp_max",
}
COMPARISONS = {"lt", "le", "gt", "ge", "eq", "ne"}
LOGIC = {"and", "or", "not"}
OPERATIONS = {*ARITHMETIC, *ELEMENTARY, *COMPARISONS, *LOGIC, "where"}
SPELLED = {
    "truediv": "div", "true_divide": "div", "and_": "and", "or_": "or", "invert": "not", "logical_and": "and",
    "logical_or": "or", "logical_not": "not", "negative": "neg", "absolute": "abs", "clip": "clamp",
}  # fmt: skip
"""Other names of an operation in torch and in Python's operator module."""


@dataclass(frozen=True)
class Value:
    """A parameter of the formula or the result of a step, by name; or a constant, by value."""

    text: str
    kind: Kind
    constant: float | None = None


@dataclass(frozen=True)
class Step:
    """One operation."""

    result: Value
    operation: str
    arguments: tuple[Value, ...]


@dataclass(frozen=True)
class Loop:
    """A formula as a list of operations: its name, tensors, numbers, the steps in order, and what it returns."""

    name: str
    tensors: tuple[Value, ...]
    numbers: tuple[Value, ...]
    steps: tuple[Step, ...]
    outputs: tuple[Value, ...]


NUMBERS = "float", "int", float, int, "float | Tensor"
"""Annotations of a parameter that is one number for all elements. The last is for formulas that also take a tensor."""


def parameters(formula: Callable[..., Any]) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """The names of a formula's tensors, which come first, and of its numbers."""
    given = inspect.signature(formula).parameters.values()
    tensors = tuple(p.name for p in given if p.annotation in ("Tensor", torch.Tensor))
    names = tuple(p.name for p in given)
    unknown = [str(p) for p in given if p.name not in tensors and p.annotation not in NUMBERS]
    if unknown or names[: len(tensors)] != tensors or not tensors:
        raise TypeError(
            f"{formula.__qualname__} cannot be printed. got: {', '.join(unknown) or inspect.signature(formula)}. "
            "expected: tensors, then numbers, each annotated as Tensor or float"
        )
    return tensors, names[len(tensors) :]


def read(formula: Callable[..., Any]) -> Loop:
    """The formula's graph as a Loop. Raises TypeError for an operation that is not in OPERATIONS, by its name."""
    names, numbers = parameters(formula)
    known: dict[fx.Node, Value] = {}
    steps: list[Step] = []
    name = formula.__qualname__.replace(".", "_")
    graph, returned = _recorded(formula)
    for node in graph.nodes:
        if node.op == "placeholder":
            kind: Kind = "number" if node.target in numbers else "mask" if node.target == "mask" else "real"
            known[node] = Value(str(node.target), kind)
        else:
            called = node.target if isinstance(node.target, str) else node.target.__name__
            if called == "conjugate":  # kernels are for real numbers
                known[node] = known[node.args[0]]
                continue
            for operation, arguments in _spelled_out(called, node.args, node.kwargs, formula):
                # a clamp is two steps; ... stands for the first one's result
                values = tuple(known[node] if a is ... else _value(a, known, formula) for a in arguments)
                if operation == "exp" and _not_positive(values[0], steps):
                    operation = "decay"
                known[node] = Value(f"v{len(steps)}", _kind(operation, values, formula))
                steps.append(Step(known[node], operation, values))
    outputs = tuple(_value(argument, known, formula) for argument in returned)
    tensors = tuple(v for v in known.values() if v.text in names)
    return Loop(name, tensors, tuple(v for v in known.values() if v.text in numbers), tuple(steps), outputs)


def _recorded(formula: Callable[..., Any]) -> tuple[fx.Graph, tuple]:
    """The graph of a formula's operations, and what it returns.

    `fx.Tracer.trace` is not used: while it runs it patches the call of every module, and other threads may call modules
    while a kernel is compiled.
    """
    graph = fx.Graph()
    tracer = fx.proxy.GraphAppendingTracer(graph)
    found = formula(*[fx.Proxy(graph.placeholder(name), tracer) for name in inspect.signature(formula).parameters])
    found = found if isinstance(found, tuple) else (found,)
    return graph, tuple([part.node if isinstance(part, fx.Proxy) else part for part in found])


CONTRACTED = {"mul_add", "mul_sub", "sub_mul", "share", "log1p_exp"}
"""Operations that `contracted` introduces: a b + c, a b - c, c - a b, a / (a + c) and log(1 + e^a), each without
rounding in between."""


def contracted(loop: Loop) -> Loop:
    """The Loop with pairs of operations replaced by a more exact single one; `share` only for a >= 0 and c > 0.

    In a sum of two products, the one without a constant is fused: a product with a constant such as 2 is exact anyway.
    """
    made = {step.result: step for step in loop.steps}

    def product(value: Value) -> int:
        step = made.get(value)
        if step is None or step.operation != "mul" or step.result.kind != "real":
            return 0
        return 1 + all(v.constant is None for v in step.arguments)

    def rewritten(step: Step) -> Step:
        if step.operation == "div" and (total := made.get(step.arguments[1])) and total.operation == "add":
            share, beside = total.arguments
            if share == step.arguments[0] and beside.constant and all(_not_negative(v, made) for v in total.arguments):
                return replace(step, operation="share", arguments=total.arguments)
        if step.operation == "log1p" and (inner := made.get(step.arguments[0])) and inner.operation == "exp":
            return replace(step, operation="log1p_exp", arguments=inner.arguments)
        if step.operation in ("add", "sub") and any(map(product, step.arguments)):
            first, second = step.arguments
            if product(first) >= product(second):
                return replace(step, operation=f"mul_{step.operation}", arguments=(*made[first].arguments, second))
            operation = "mul_add" if step.operation == "add" else "sub_mul"
            return replace(step, operation=operation, arguments=(*made[second].arguments, first))
        return step

    return replace(loop, steps=tuple(map(rewritten, loop.steps)))


def _not_negative(value: Value, made: Mapping[Value, Step]) -> bool:
    """Whether a value is made of exponentials and constants >= 0 by sums and products."""
    if value.constant is not None:
        return value.constant >= 0
    step = made.get(value)
    if step is None:
        return False
    return step.operation == "exp" or (
        step.operation in ("add", "mul") and all(_not_negative(v, made) for v in step.arguments)
    )


def _not_positive(value: Value, steps: list[Step]) -> bool:
    """Whether a value is minus a square."""
    by_name = {step.result: step for step in steps}
    step = by_name.get(value)
    if step is None or step.operation != "neg" or (square := by_name.get(step.arguments[0])) is None:
        return False
    return square.operation == "mul" and square.arguments[0] == square.arguments[1]


def _spelled_out(called: str, args: tuple, kwargs: Mapping[str, Any], formula: Any) -> list[tuple[str, tuple]]:
    operation = SPELLED.get(called, called)
    if operation == "clamp":
        bounds = {**dict(zip(("min", "max"), args[1:], strict=False)), **kwargs}
        steps = [(f"clamp_{end}", bound) for end in ("min", "max") if (bound := bounds.get(end)) is not None]
        return [(step, (args[0] if i == 0 else ..., bound)) for i, (step, bound) in enumerate(steps)]
    if operation not in OPERATIONS or kwargs:
        options = f" with {', '.join(kwargs)}" if kwargs else ""
        raise TypeError(
            f"{formula.__qualname__} cannot be printed. got: the operation {called}{options}. expected: only "
            f"{', '.join(sorted(OPERATIONS))}, clamp"
        )
    return [(operation, args)]


def _value(argument: Any, known: dict[fx.Node, Value], formula: Any) -> Value:
    if isinstance(argument, fx.Node):
        return known[argument]
    if isinstance(argument, (int, float)) and not isinstance(argument, bool):
        return Value(repr(argument), "number", float(argument))
    raise TypeError(f"{formula.__qualname__} cannot be printed. got: {argument!r}. expected: a tensor or a number")


def _kind(operation: str, arguments: tuple[Value, ...], formula: Any) -> Kind:
    """The kind of a step's result. Raises TypeError if the operation is not defined on arguments of these kinds."""
    kinds = [a.kind for a in arguments]
    if operation in COMPARISONS and "real" in kinds and "mask" not in kinds:
        return "mask"
    if operation in LOGIC and set(kinds) == {"mask"}:
        return "mask"
    if operation == "where" and kinds[0] == "mask" and "mask" not in kinds[1:]:
        return "real"
    if operation in ARITHMETIC:
        return "number" if set(kinds) == {"number"} else "real"
    if operation in ELEMENTARY and kinds[0] == "real" and "mask" not in kinds:
        return "real"
    raise TypeError(
        f"{formula.__qualname__} cannot be printed. got: {operation} of {', '.join(kinds)}. expected: arithmetic and "
        "functions of real values, logic of masks, where(mask, real, real)"
    )


OPERATORS = {
    "neg": "-{0}",
    **{
        name: f"{{0}} {sign} {{1}}"
        for name, sign in zip(
            ("add", "sub", "mul", "div", "lt", "le", "gt", "ge", "eq", "ne", "and", "or"),
            ["+", "-", "*", "/", "<", "<=", ">", ">=", "==", "!=", "&", "|"],
            strict=True,
        )
    },
}
"""The templates that all dialects share."""


class Dialect:
    """How the steps of a Loop are written in a language: one template for each operation, {0} its first argument.

    `real` names the type in which real numbers are computed; the templates may use it as {real}.
    """

    templates: ClassVar[Mapping[str, str]]

    def __init__(self, real: str) -> None:
        self.real = real

    def constant(self, value: float) -> str:
        """A constant as source text, of the real type."""
        raise NotImplementedError

    def converted(self, text: str, kind: Kind) -> str:
        """A mask (0 or 1) or a number, converted to the real type."""
        raise NotImplementedError

    def declared(self, name: str, kind: Kind, text: str) -> str:
        """The line that declares a value."""
        raise NotImplementedError

    def used(self, value: Value, as_real: bool) -> str:
        """A value as an operation's argument."""
        if value.constant is not None:
            return self.constant(value.constant) if as_real else repr(value.constant)
        return self.converted(value.text, value.kind) if as_real and value.kind != "real" else value.text

    def line(self, step: Step) -> str:
        """One step as text."""
        result, operation = step.result, step.operation
        texts = [
            self.used(a, as_real=result.kind != "number" and operation not in LOGIC and (operation, i) != ("where", 0))
            for i, a in enumerate(step.arguments)
        ]
        return self.declared(result.text, result.kind, self.templates[operation].format(*texts, real=self.real))

    def lines(self, loop: Loop, kinds: tuple[Kind, ...]) -> list[str]:
        """The steps whose results are of these kinds: numbers go before the loop."""
        return [self.line(step) for step in loop.steps if step.result.kind in kinds]

    def results(self, loop: Loop) -> list[str]:
        """The returned values as source text, of the real type."""
        return [self.used(output, as_real=True) for output in loop.outputs]
