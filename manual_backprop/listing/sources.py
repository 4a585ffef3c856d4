"""The source of formulas for a file that needs torch alone: each function of a rule that is used, and what it calls.

The text is that of the rules, with its comments. `choose(formula)` becomes the formula. Calls that ask whether the code
is compiled, transformed or differentiated again become False, as in a plain call.
"""

from __future__ import annotations

import builtins
import inspect
import re
import sys
import textwrap
import types
from collections.abc import Iterable
from typing import Any

from ..engine.rule import Rule
from ..engine.torch_private import OPERATORS
from ..errors import BadInput
from .source_text import assignment, names_in, private, source_of, without_annotations_of_class
from .tape import literal

OWN = __name__.partition(".")[0]
ONE_LINE = 112
"""Most characters of a reference that fits on one line of a docstring."""


class Sources:
    """What a file needs before its program: imports, constants, helpers, and rules with the functions in use."""

    def __init__(self) -> None:
        self.imports: dict[str, str] = {}
        self.helpers: dict[str, str] = {}
        """Constants and functions, each after those that it reads."""
        self.rules: dict[type[Rule], dict[str, str]] = {}
        self.options: dict[type[Rule], dict[str, set[Any]]] = {}
        """The values of each option of a rule in the calls of the program."""
        self.complex = False
        """Whether any value of the program is complex."""
        self._seen: set[Any] = set()
        self._taken: dict[str, Any] = {}
        self.called: dict[int, str] = {}
        """The names, by id, of things that have another name in the file than in their module."""

    def use(self, rule: type[Rule], name: str) -> None:
        """Add a function of a rule, and all that it needs."""
        functions = self.rules.setdefault(rule, {})
        if name in functions:
            return
        function = inspect.getattr_static(rule, name)
        function = getattr(function, "__func__", function)
        functions[name] = ""
        text = source_of(function, name)
        functions[name] = self._read(text, function)

    def _read(self, text: str, function: types.FunctionType) -> str:
        """Add what a function reads. Return its text with the names that the file uses."""
        closed = inspect.getclosurevars(function).nonlocals if function.__closure__ else {}
        scope = {**vars(builtins), **function.__globals__, **closed}
        for name, attribute in names_in(text):
            if name in closed or (name in function.__globals__ and name not in vars(builtins)):
                self.need(name, attribute, scope[name], function)
                other = self.called.get(id(scope[name]), name)
                if other != name and self._taken.get(name) is not scope[name]:
                    text = re.sub(rf"(?<![\w.]){name}\b(?!=[^=])", other, text)
        return text

    def need(self, name: str, attribute: str, thing: Any, reader: types.FunctionType) -> None:
        """Add a thing that a function reads by name. If the file uses the name for another thing, it gets a number."""
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
        if (
            isinstance(home, str)
            and home.partition(".")[0] != OWN
            and getattr(sys.modules.get(home), name, None) is thing
        ):
            outside = home.removeprefix("_")  # functools for _functools
            home = outside if getattr(sys.modules.get(outside), name, None) is thing else home
            self.imports[name] = f"from {home} import {name}"
            return
        found = assignment(sys.modules.get(reader.__module__), name)
        if found is None and isinstance(home, str) and hasattr(sys.modules.get(home), getattr(thing, "__name__", "?")):
            own = thing.__name__
            if home.partition(".")[0] != OWN:
                self.imports[name] = f"from {home} import {own}" + (f" as {name}" if own != name else "")
                return
        self.helpers[name] = self.constant(name, thing, found, reader)

    def constant(self, name: str, thing: Any, found: tuple[str, dict[str, Any]] | None, reader: Any) -> str:
        """The assignment of a constant: its value as a literal if possible, otherwise the source in its module."""
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
        """The whole text, in the order of a module."""
        functions = [text for text in self.helpers.values() if text.startswith(("def ", "@", "class "))]
        constants = [text for text in self.helpers.values() if not text.startswith(("def ", "@", "class "))]
        own = {name for name, text in self.helpers.items() if text in functions} | {
            rule.__name__ for rule in self.rules
        }
        tables = [text for text in constants if own & {name for name, _ in names_in(text)}]
        blocks = ["\n".join(text for text in constants if text not in tables)] if len(tables) < len(constants) else []
        blocks += functions
        for rule in self.rules:
            doc = (
                in_use(rule, self.rules[rule], self.options.get(rule, {}), self.complex)
                .replace("\n", "\n    ")
                .replace("\n    \n", "\n\n")
            )
            body = "\n\n".join(textwrap.indent(text, "    ") for text in self.rules[rule].values() if text)
            head = (
                f'class {rule.__name__}:\n    """{doc}\n    """'
                if "\n" in doc
                else f'class {rule.__name__}:\n    """{doc}"""'
            )
            blocks.append(f"{head}\n\n{body}" if body else head)
        blocks += tables[:1] and ["\n".join(tables)]
        return "\n\n\n".join(blocks)


def in_use(rule: type[Rule], functions: Iterable[str], options: dict[str, set[Any]], of_complex: bool) -> str:
    """The docstring of a rule: forward, shapes, backward and reference. Left out are notes, and formulas that are not
    used, belong to an option that is off, or to complex numbers where there are none."""
    doc = inspect.cleandoc(rule.__doc__ or "")
    doc = doc if of_complex else re.sub(r"\n\(.*where complex\)", "", doc)
    body, source, end = without_options(doc, options).partition("Source:")
    absent = {name for name in dir(rule) if name.startswith(("delta_", "grad_"))} - {*functions}
    text = " ".join(functions) if "deltas" in functions or "recursion" in functions else ""
    absent = set() if text else absent
    absent |= {f"{kind}_{name}" for name, values in options.items() for kind in ("delta", "grad") if values == {None}}
    kept = []
    for k, paragraph in enumerate(body.strip().split("\n\n")):
        if k > 1 and not re.search(r"^(delta_|grad_)\w+.* = ", paragraph, re.M):
            continue
        lines: list[str] = []
        dropped = False
        for line in paragraph.splitlines():
            name = re.match(r"(delta_\w+|grad_\w+)\b", line) if k > 1 else None
            if name:
                dropped = name[1] in absent and line.count(" = ") == 1
            elif k > 1 and not line.startswith((" ", "(")):
                dropped = False
            if not dropped:
                lines.append(line)
        kept.append("\n".join(lines))
    kept.append(first_source(" ".join((source + end).split())))
    filled = [*kept[:-1], *(textwrap.fill(p, 116) for p in kept[-1:])]
    return "\n".join(p for p in filled if p)


def without_options(doc: str, options: dict[str, set[Any]]) -> str:
    """A docstring without lines that begin `with <option>` where that option is off, or `with "<word>"` where no option
    has that value."""
    words = {value for values in options.values() for value in values if isinstance(value, str)}
    off = [name for name, values in options.items() if not any(values)]
    lines: list[str] = []
    for line in doc.splitlines():
        found = re.match(r'with (?:"(\w+)"|(\w+))', line)
        if found and found[1] and words and found[1] not in words:
            continue
        if found and found[2] and any(name.endswith(found[2]) for name in off):
            continue
        lines.append(line)
    return "\n".join(lines).replace(";\n\n", "\n\n")


def first_source(text: str) -> str:
    """The references of a rule; the first alone where they do not fit on one line."""
    if len(text) <= ONE_LINE:
        return text
    first = text.partition(";")[0].rstrip(".")
    title = re.match(r'.*?"[^"]*"', first)
    return f"{title[0] if title and len(first) > ONE_LINE else first}."


def _equal(one: Any, other: Any) -> bool:
    plain = (int, float, str, tuple, bool, type(None))
    return isinstance(one, plain) and isinstance(other, plain) and one == other


def used(lines: Iterable[Any], classes: dict[str, type]) -> Sources:
    """The source of all functions of rules in these lines, and of these classes."""
    found = Sources()
    for name, cls in classes.items():
        found.need(name, "", cls, used)  # type: ignore[arg-type]
    for line in lines:
        found.complex = found.complex or any(v is not None and v.dtype.is_complex for v in line.results)
        if line.function is not None:
            found.use(*line.function)
            for name, value in line.options.items():
                found.options.setdefault(line.function[0], {}).setdefault(name, set()).add(value)
    return found
