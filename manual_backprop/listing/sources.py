"""The source of formulas, for a file that needs torch alone: each function of a rule that is used, and what it calls.

Text is taken as it stands in the rules, comments too. `choose(formula)` becomes the formula, and questions that a plain
call of it answers with no (is this compiled, transformed, differentiated again?) become False.
"""

from __future__ import annotations

import ast
import builtins
import functools
import inspect
import re
import sys
import textwrap
import types
from collections.abc import Iterable, Iterator
from typing import Any

import torch

from ..engine.rule import Rule
from ..engine.torch_private import OPERATORS, path_of
from ..errors import BadInput
from .tape import literal

OWN = __name__.partition(".")[0]
QUESTIONS = r"(?:transforms_active|in_forward_mode|differentiated_again|torch\.compiler\.is_(?:dynamo_)?compiling)\(\)"
RENAMED = {"torch.nn.functional": "F"}


class Sources:
    """What a file has to say before its program: imports, constants, helpers, and rules with the functions in use."""

    def __init__(self) -> None:
        self.imports: dict[str, str] = {}
        self.helpers: dict[str, str] = {}
        """Constants and functions, in an order in which each stands behind what it reads."""
        self.rules: dict[type[Rule], dict[str, str]] = {}
        self._seen: set[Any] = set()
        self._taken: dict[str, Any] = {}
        self.called: dict[int, str] = {}
        """What is called otherwise in the file than in its own module."""

    def use(self, rule: type[Rule], name: str) -> None:
        """A function of a rule, and all that it needs."""
        functions = self.rules.setdefault(rule, {})
        if name in functions:
            return
        function = inspect.getattr_static(rule, name)
        function = getattr(function, "__func__", function)
        functions[name] = ""
        text = source_of(function, name)
        functions[name] = self._read(text, function)

    def _read(self, text: str, function: types.FunctionType) -> str:
        """See to what a function reads; its text, with the names that these have in the file."""
        closed = inspect.getclosurevars(function).nonlocals if function.__closure__ else {}
        scope = {**vars(builtins), **function.__globals__, **closed}
        for name, attribute in names_in(text):
            if name in closed or (name in function.__globals__ and name not in vars(builtins)):
                self.need(name, attribute, scope[name], function)
                if (other := self.called.get(id(scope[name]), name)) != name and self._taken.get(name) is not scope[name]:
                    text = re.sub(rf"(?<![\w.]){name}\b(?!=[^=])", other, text)
        return text

    def need(self, name: str, attribute: str, thing: Any, reader: types.FunctionType) -> None:
        """A name that a function reads. Where another thing of that name is there already, it gets a number."""
        if not isinstance(thing, (type, types.ModuleType)):
            base, k = name, 2
            while self._taken.setdefault(name, thing) is not thing and not _equal(self._taken[name], thing):
                name, k = f"{base}_{k}", k + 1
            if name != base:
                self.called[id(thing)] = name
        self._need(name, attribute, thing, reader)

    def _need(self, name: str, attribute: str, thing: Any, reader: types.FunctionType) -> None:
        if isinstance(thing, type) and issubclass(thing, Rule):
            if attribute and isinstance(getattr(thing, attribute, None), types.FunctionType):
                self.use(thing, attribute)
            return
        if (name, id(thing)) in self._seen:
            return
        if name == "choose":
            self.helpers[name] = "def choose(formula):\n    return formula"
            return
        self._seen.add((name, id(thing)))
        if isinstance(thing, types.ModuleType):
            path = thing.__name__
            if path.startswith("torch.ops."):
                self.helpers[name] = f"{name} = {path}"
                return
            self.imports[name] = f"import {path}" if path == name else f"import {path} as {name}"
            return
        home = getattr(thing, "__module__", None)
        if isinstance(thing, types.FunctionType) and home and home.partition(".")[0] == OWN:
            text = source_of(thing, name)
            self.helpers[name] = self._read(text, thing)
            return
        if isinstance(thing, type) and home and home.partition(".")[0] == OWN:
            text = without_annotations_of_class(thing)
            stand_in = types.FunctionType((lambda: None).__code__, vars(sys.modules[home]))
            stand_in.__module__ = home
            for other, attribute in names_in(text):
                if other != name and other in vars(sys.modules[home]):
                    self.need(other, attribute, vars(sys.modules[home])[other], stand_in)
            self.helpers[name] = text
            return
        if isinstance(thing, OPERATORS):
            self.helpers[name] = private(name, thing)
            return
        if isinstance(home, str) and home.partition(".")[0] != OWN and getattr(sys.modules.get(home), name, None) is thing:
            self.imports[name] = f"from {home} import {name}"
            return
        found = assignment(sys.modules[reader.__module__] if reader.__module__ in sys.modules else None, name)
        if found is None and isinstance(home, str) and hasattr(sys.modules.get(home), getattr(thing, "__name__", "?")):
            own = thing.__name__
            if home.partition(".")[0] != OWN:
                self.imports[name] = f"from {home} import {own}" + (f" as {name}" if own != name else "")
                return
        self.helpers[name] = self.constant(name, thing, found, reader)

    def constant(self, name: str, thing: Any, found: tuple[str, dict[str, Any]] | None, reader: Any) -> str:
        """A name that a module binds: as a literal where it can be, else as the module says it."""
        try:
            return f"{name} = {literal(thing)}"
        except BadInput:
            pass
        if found is None:
            return private(name, thing)
        text, scope = found
        if path := re.search(r'_named\(\s*"([\w.]+):([\w.]+)"', text):
            if path[1] != "torch":
                self.imports[path[1]] = f"import {path[1]}"
            return f"{name} = {path[1]}.{path[2]}"
        for other, attribute in names_in(text):
            if other != name and other in scope and not hasattr(builtins, other):
                stand_in = types.FunctionType((lambda: None).__code__, scope)
                stand_in.__module__ = scope["__name__"]
                self.need(other, attribute, scope[other], stand_in)
        return text

    def text(self) -> str:
        """The whole, in the order of a module."""
        functions = [text for text in self.helpers.values() if text.startswith(("def ", "@", "class "))]
        constants = [text for text in self.helpers.values() if not text.startswith(("def ", "@", "class "))]
        own = {name for name, text in self.helpers.items() if text in functions} | {rule.__name__ for rule in self.rules}
        tables = [text for text in constants if own & {name for name, _ in names_in(text)}]
        blocks = ["\n".join(text for text in constants if text not in tables)] if len(tables) < len(constants) else []
        blocks += functions
        for rule in self._ordered():
            doc = inspect.cleandoc(rule.__doc__ or "").replace("\n", "\n    ").replace("\n    \n", "\n\n")
            body = "\n\n".join(textwrap.indent(text, "    ") for text in self.rules[rule].values() if text)
            head = f'class {rule.__name__}:\n    """{doc}\n    """' if "\n" in doc else f'class {rule.__name__}:\n    """{doc}"""'
            blocks.append(f"{head}\n\n{body}" if body else head)
        blocks += tables[:1] and ["\n".join(tables)]
        return "\n\n\n".join(blocks)

    def _ordered(self) -> Iterator[type[Rule]]:
        yield from self.rules


def _equal(one: Any, other: Any) -> bool:
    plain = (int, float, str, tuple, bool, type(None))
    return isinstance(one, plain) and isinstance(other, plain) and one == other


def private(name: str, thing: Any) -> str:
    """A name of torch's own that is not public, or what stands in for it."""
    if path := path_of(thing):
        return f"{name} = {path}"
    if isinstance(thing, types.FunctionType):
        return source_of(thing, name)
    raise BadInput(f"{name} cannot be written as source. got: {thing!r}")


@functools.cache
def _tree(file: str) -> ast.Module:
    import linecache

    return ast.parse("".join(linecache.getlines(file)))


def source_of(function: types.FunctionType, name: str) -> str:
    """A function's text, as a `def` of that name."""
    function = inspect.unwrap(function)
    if function.__name__ == "<lambda>" or function.__code__.co_name == "<lambda>":
        text = _of_lambda(function, name)
    else:
        text = textwrap.dedent(inspect.getsource(function))
        text = re.sub(r"^(@staticmethod|@classmethod|@rounds_once|@functools\.cache)\n", "", text, flags=re.M)
        text = re.sub(r"^def \w+\(", f"def {name}(", text, count=1, flags=re.M)
    return simplified(text.rstrip())


def _of_lambda(function: types.FunctionType, name: str) -> str:
    code = function.__code__
    positions = [p for p in code.co_positions() if p[0] is not None and p[2] is not None]
    inner = {(p[0], p[2]) for p in positions}
    lines = "".join(__import__("linecache").getlines(code.co_filename))
    best = None
    for found in ast.walk(_tree(code.co_filename)):
        if not isinstance(found, ast.Lambda) or found.lineno > code.co_firstlineno:
            continue
        begin, end = (found.body.lineno, found.body.col_offset), (found.body.end_lineno, found.body.end_col_offset)
        if all(begin <= place <= end for place in inner if place[0] > code.co_firstlineno or place[1] > 0):
            if [a.arg for a in found.args.args] == list(inspect.signature(function).parameters):
                best = found
    if best is None:
        raise BadInput(f"the source of {function.__qualname__} was not found in {code.co_filename}")
    body = " ".join((ast.get_source_segment(lines, best.body) or "").split())
    if "#" in body:
        body = ast.unparse(best.body)
    return f"def {name}({', '.join(a.arg for a in best.args.args)}):\n    return {body}"


def simplified(text: str) -> str:
    """Without what chooses between formula and kernel, and with no for what a plain call answers so."""
    text = re.sub(r"\bchoose\(((?:\w+\.)*\w+)\)", r"\1", text)
    text = re.sub(rf"not {QUESTIONS} and ", "", text)
    text = re.sub(rf"{QUESTIONS} or ", "", text)
    text = re.sub(QUESTIONS, "False", text)
    text = re.sub(r"\s*# (fmt: skip|type: ignore\S*|noqa\S*)", "", text)
    return without_annotations(text)


def without_annotations_of_class(cls: type) -> str:
    """A small class as it stands."""
    return re.sub(r"\s*# (fmt: skip|type: ignore\S*|noqa\S*)", "", textwrap.dedent(inspect.getsource(cls))).rstrip()


def without_annotations(text: str) -> str:
    """Parameters by their names alone, in one line: shapes and dtypes stand in the docstring of the rule."""
    tree = ast.parse(text)
    starts = [0]
    data = text.encode()
    for line in data.splitlines(keepends=True):
        starts.append(starts[-1] + len(line))
    edits = []
    for node in ast.walk(tree):
        if isinstance(node, ast.AnnAssign) and node.value is not None:
            begin = starts[node.target.end_lineno - 1] + node.target.end_col_offset  # type: ignore[operator]
            end = starts[node.annotation.end_lineno - 1] + node.annotation.end_col_offset  # type: ignore[operator]
            edits.append((begin, end, b""))
        if not isinstance(node, ast.FunctionDef):
            continue
        for argument in (*node.args.posonlyargs, *node.args.args, *node.args.kwonlyargs, node.args.vararg, node.args.kwarg):
            if argument is not None:
                argument.annotation = None
        begin = starts[node.lineno - 1] + node.col_offset
        colon = data.index(b":", _end_of_head(node, starts, data))
        edits.append((begin, colon, f"def {node.name}({ast.unparse(node.args)})".encode()))
    for begin, end, new in sorted(edits, reverse=True):
        data = data[:begin] + new + data[end:]
    return data.decode()


def _end_of_head(node: ast.FunctionDef, starts: list[int], data: bytes) -> int:
    """A place behind the parameters and the result's annotation, before the colon."""
    if node.returns is not None:
        return starts[node.returns.end_lineno - 1] + node.returns.end_col_offset  # type: ignore[operator]
    place, depth = starts[node.lineno - 1] + node.col_offset, 0
    while True:
        if data[place : place + 1] in (b"(", b"["):
            depth += 1
        elif data[place : place + 1] in (b")", b"]"):
            depth -= 1
            if depth == 0:
                return place
        place += 1


def names_in(text: str) -> Iterator[tuple[str, str]]:
    """Names that are read, and the attribute that is asked of each ("" where none is)."""
    tree = ast.parse(text)
    inner = {node.value for node in ast.walk(tree) if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name)}
    for node in ast.walk(tree):
        if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name):
            yield node.value.id, node.attr
        elif isinstance(node, ast.Name) and node not in inner and isinstance(node.ctx, ast.Load):
            yield node.id, ""


def assignment(module: types.ModuleType | None, name: str) -> tuple[str, dict[str, Any]] | None:
    """`NAME = ...` of a module, or of the one that it has the name from: its text and names."""
    while module is not None and getattr(module, "__file__", None):
        tree = _tree(module.__file__ or "")
        for node in tree.body:
            targets = node.targets if isinstance(node, ast.Assign) else [node.target] if isinstance(node, ast.AnnAssign) else []
            bound = [n.id for t in targets for n in ast.walk(t) if isinstance(n, ast.Name)]
            if name in bound and node.value is not None:
                lines = "".join(__import__("linecache").getlines(module.__file__ or ""))
                value = ast.get_source_segment(lines, node.value) or ""
                left = ", ".join(bound)
                return f"{left} = {value}", vars(module)
        source = next(
            (n for n in tree.body if isinstance(n, ast.ImportFrom) and any((a.asname or a.name) == name for a in n.names)),
            None,
        )
        if source is None:
            return None
        base = module.__name__.rsplit(".", source.level)[0] if source.level else ""
        module = sys.modules.get(f"{base}.{source.module}".strip("."))
    return None


def used(lines: Iterable[Any], classes: dict[str, type]) -> Sources:
    """The sources of all functions of rules in these lines, and of classes."""
    found = Sources()
    for name, cls in classes.items():
        found.need(name, "", cls, used)  # type: ignore[arg-type]
    for line in lines:
        if line.function is not None:
            found.use(*line.function)
    return found
