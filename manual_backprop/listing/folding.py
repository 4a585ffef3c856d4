"""Removes from a written file what a run of it never does: branches that are not taken, functions not called.

The file is run once, and the result of every condition is noted. Where a condition has the same result at each call,
the other branch is removed. So the formulas of a layer with many options are reduced to the options in use. A method
that returned its own tensor at each call (`.to` with the same dtype, `.reshape` to the same shape) is removed, too.
An expression for a number of axes or for sizes (`.dim()`, `[n - 1 for n in ...]`) is replaced by its value, where that
is the same at each call.
"""

from __future__ import annotations

import ast
import copy
import warnings
from collections import defaultdict
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from .constants import name_of
from .layout import notes_of, printed
from .unused import without_dead

NOTED, CALLED, TURNED, WORTH = "__noted__", "__called__", "__turned__", "__worth__"
FIRST, LISTED, SLICED = "__first__", "__listed__", "__sliced__"
NEUTRAL = (
    "to",
    "reshape",
    "view",
    "sum_to_size",
    "contiguous",
    "expand",
    "movedim",
    "transpose",
    "permute",
    "conj",
    "conjugate",
    "long",
    "float",
    "double",
    "resolve_conj",
    "squeeze",
    "real",
    "narrow",
)
"""Methods that may return the tensor they are called on."""
FUNCTIONS = ("unsafe_view", "of")
"""Functions that may return their first argument. `of` takes a slice of rows."""
OF_LISTS = ("append", "extend", "insert", "index")
COUNTS = ("dim", "is_complex", "is_floating_point")
"""Methods whose result depends on the number of axes or on the dtype alone."""

Run = Callable[[dict[str, Any]], object]


def noted(node: ast.AST) -> bool:
    """Whether the result of a node is noted in the run."""
    if isinstance(node, ast.Call):
        return isinstance(node.func, ast.Attribute) and node.func.attr in NEUTRAL
    return isinstance(node, (ast.If, ast.IfExp)) or (isinstance(node, ast.Attribute) and node.attr == "mH")


def sized(node: ast.AST) -> bool:
    """Whether the value of a node may be a number, or a list of numbers, that depends on sizes alone."""
    if isinstance(node, ast.Call):
        method = isinstance(node.func, ast.Attribute) and node.func.attr in COUNTS and not node.args
        return method or (isinstance(node.func, ast.Name) and node.func.id == "len")
    return isinstance(node, ast.ListComp)


def returns_first(node: ast.AST) -> bool:
    if not isinstance(node, ast.Call):
        return False
    name = node.func.id if isinstance(node.func, ast.Name) else getattr(node.func, "attr", "")
    return name in FUNCTIONS and len(node.args) > 0


def sliced(node: ast.AST) -> bool:
    return isinstance(node, ast.Subscript) and isinstance(node.slice, ast.Slice) and isinstance(node.ctx, ast.Load)


@dataclass(frozen=True)
class Worth:
    """The value of an expression at one call."""

    value: Any


class Source(str):
    """A range, or a list of named tuples, as source."""


def source(value: Any) -> Source | None:
    """The source of a range or of a list of named tuples of numbers; None for anything else."""
    if isinstance(value, range):
        return Source(f"range({value.stop})" if value.start == 0 and value.step == 1 else repr(value))
    named = isinstance(value, list) and all(hasattr(v, "_fields") and _numbers(tuple(v)) for v in value)
    return Source(repr(value)) if named and value else None


def _numbers(value: Any) -> bool:
    return all(map(_numbers, value)) if isinstance(value, tuple) else isinstance(value, int)


def answered(tree: ast.Module, run: Run) -> dict[int, set[Any]]:
    """What each node noted in one run, by the node's number in ast.walk: for a condition its results, for a method
    whether it returned its own tensor, for `.mH` the shortest attribute that gives the same."""
    wrapped = copy.deepcopy(tree)
    found: dict[int, set[Any]] = defaultdict(set)
    numbers = {id(node): number for number, node in enumerate(ast.walk(wrapped))}
    helpers = {n.name for n in tree.body if isinstance(n, ast.FunctionDef)}
    _Worth(numbers, helpers).visit(wrapped)
    for node in list(ast.walk(wrapped)):
        number = numbers.get(id(node), -1)
        if number < 0 or not noted(node):
            continue
        if isinstance(node, (ast.If, ast.IfExp)):
            node.test = ast.Call(ast.Name(NOTED, ast.Load()), [ast.Constant(number), node.test], [])
        elif isinstance(node, ast.Call):
            assert isinstance(node.func, ast.Attribute)
            node.args = [ast.Constant(number), node.func.value, ast.Constant(node.func.attr), *node.args]
            node.func = ast.Name(CALLED, ast.Load())
        else:
            assert isinstance(node, ast.Attribute)
            node.value = ast.Call(ast.Name(TURNED, ast.Load()), [ast.Constant(number), node.value], [])

    def note(number: int, value: Any) -> Any:
        found[number].add(bool(value))
        return value

    def turned(number: int, value: Tensor) -> Tensor:
        found[number].add("mH" if value.is_complex() else "T" if value.dim() == 2 else "mT")
        return value

    def call(number: int, owner: Any, name: str, *args: Any, **kwargs: Any) -> Any:
        result = getattr(owner, name)(*args, **kwargs)
        found[number].add(same(owner, result))
        return result

    def worth(number: int, value: Any) -> Any:
        listed = isinstance(value, list) and all(isinstance(v, int) for v in value)
        plain = isinstance(value, int) or listed
        found[number].add(Worth(tuple(value) if listed else value) if plain else None)
        return value

    def first(number: int, function: Any, *args: Any) -> Any:
        result = function(*args)
        found[number].add(same(args[0], result))
        return result

    def listed(number: int, value: Any) -> Any:
        found[number].add(Worth(source(value)) if source(value) else None)
        return value

    def part(number: int, owner: Any, edges: slice) -> Any:
        result = owner[edges]
        found[number].add(same(owner, result))
        return result

    names: dict[str, Any] = {NOTED: note, CALLED: call, TURNED: turned, WORTH: worth, FIRST: first, LISTED: listed}
    names |= {SLICED: part, "__name__": "written"}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", SyntaxWarning)
        exec(compile(ast.fix_missing_locations(wrapped), "<written>", "exec"), names)
    found.clear()
    try:
        run(names)
    except Exception as error:
        error.add_note(printed(tree)[-20000:])
        raise
    return found


def same(one: Any, other: Any) -> bool:
    """Whether a method returned the tensor or number that it was called on."""
    if not isinstance(one, Tensor):
        return type(one) is type(other) and isinstance(one, (int, float)) and one == other
    if one is other:
        return True
    if not isinstance(other, Tensor) or one.layout != torch.strided or other.layout != torch.strided:
        return False
    where = (
        one.data_ptr() == other.data_ptr() and one.untyped_storage().data_ptr() == other.untyped_storage().data_ptr()
    )
    alike = one.shape == other.shape and one.stride() == other.stride() and one.dtype == other.dtype
    return where and alike and one.is_conj() == other.is_conj() and one.is_neg() == other.is_neg()


class _Worth(ast.NodeTransformer):
    """Notes the values of expressions."""

    def __init__(self, numbers: dict[int, int], helpers: set[str]) -> None:
        self.numbers, self.helpers = numbers, helpers

    def _noted(self, node: Any) -> Any:
        self.generic_visit(node)
        number = ast.Constant(self.numbers[id(node)])
        if sized(node):
            return ast.Call(ast.Name(WORTH, ast.Load()), [number, node], [])
        if returns_first(node):
            return ast.Call(ast.Name(FIRST, ast.Load()), [number, node.func, *node.args], [])
        if isinstance(node, ast.Call) and name_of(node.func) in self.helpers:
            return ast.Call(ast.Name(LISTED, ast.Load()), [number, node], [])
        return node

    def visit_Subscript(self, node: ast.Subscript) -> Any:
        self.generic_visit(node)
        if not sliced(node):
            return node
        assert isinstance(node.slice, ast.Slice)
        edges = [e or ast.Constant(None) for e in (node.slice.lower, node.slice.upper, node.slice.step)]
        number = ast.Constant(self.numbers[id(node)])
        whole = ast.Call(ast.Name("slice", ast.Load()), list(edges), [])
        return ast.Call(ast.Name(SLICED, ast.Load()), [number, node.value, whole], [])

    visit_Call = visit_ListComp = _noted


class _Answer(ast.NodeTransformer):
    def __init__(self, answers: dict[int, set[Any]]) -> None:
        self.answers = answers
        """By the node's id."""

    def _only(self, node: ast.AST) -> Any:
        found = self.answers.get(id(node), set())
        return next(iter(found)) if len(found) == 1 else None

    def visit_If(self, node: ast.If) -> Any:
        answer = self._only(node)
        self.generic_visit(node)
        return node if answer is None else taken(node, bool(answer))

    def visit_IfExp(self, node: ast.IfExp) -> Any:
        answer = self._only(node)
        self.generic_visit(node)
        return node if answer is None else (node.body if answer else node.orelse)

    def visit_Call(self, node: ast.Call) -> Any:
        answer = self._only(node)
        if isinstance(node.func, ast.Attribute) and node.func.attr not in OF_LISTS:
            node.args = [self._sizes(a) or a for a in node.args]
        self.generic_visit(node)
        if isinstance(answer, Worth):
            written = isinstance(answer.value, Source)
            return ast.parse(answer.value, mode="eval").body if written else ast.Constant(answer.value)
        if returns_first(node) and answer is True:
            return node.args[0]
        return node.func.value if answer is True and isinstance(node.func, ast.Attribute) else node

    def visit_Subscript(self, node: ast.Subscript) -> Any:
        answer = self._only(node)
        self.generic_visit(node)
        return node.value if answer is True and sliced(node) else node

    def visit_Assign(self, node: ast.Assign) -> Any:
        node.value = self._sizes(node.value) or node.value
        self.generic_visit(node)
        return node

    def _sizes(self, node: ast.AST) -> ast.Tuple | None:
        """A list of numbers as a tuple of literals."""
        answer = self._only(node)
        if isinstance(answer, Worth) and isinstance(answer.value, tuple):
            return ast.Tuple([ast.Constant(v) for v in answer.value], ast.Load())
        return None

    def visit_Attribute(self, node: ast.Attribute) -> Any:
        answer = self._only(node)
        self.generic_visit(node)
        if isinstance(answer, str):
            node.attr = answer
        return node


def taken(node: ast.If, answer: bool) -> list[ast.stmt]:
    """The statements of the branch that stays. If the condition is true, they get the comment above it, too."""
    if answer:
        notes_of(node.body[0])[:0] = [(text, False) for text, _ in notes_of(node)]
    return node.body if answer else node.orelse


def folded(tree: ast.Module, run: Run) -> None:
    """Put the results that one run noted into the tree."""
    answers = answered(tree, run)
    _Answer({id(node): answers[k] for k, node in enumerate(ast.walk(tree)) if k in answers}).visit(tree)
    without_dead(tree)
