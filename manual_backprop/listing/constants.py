"""Writes constants where they are used: a parameter that gets the same literal at every call is none any more."""

from __future__ import annotations

import ast
import re
from collections import defaultdict
from typing import Any

LITERALS = (ast.Constant, ast.Tuple, ast.UnaryOp, ast.Attribute)


def specialized(text: str, keep: tuple[str, ...]) -> str:
    """The text with parameters replaced by their only value, and without those that no one reads. `keep`: functions
    whose parameters stay."""
    while True:
        found = _once(text, keep)
        if found == text:
            return text
        text = found


class _File:
    def __init__(self, text: str) -> None:
        self.data = text.encode()
        self.tree = ast.parse(text)
        self.starts = [0]
        for line in self.data.splitlines(keepends=True):
            self.starts.append(self.starts[-1] + len(line))
        self.edits: list[tuple[int, int, bytes]] = []
        self.taken: list[tuple[int, int, bytes]] = []

    def span(self, node: Any) -> tuple[int, int]:
        return self.starts[node.lineno - 1] + node.col_offset, self.starts[node.end_lineno - 1] + node.end_col_offset

    def source(self, node: Any) -> str:
        begin, end = self.span(node)
        return self.data[begin:end].decode()

    def replaced(self) -> str:
        data = self.data
        for begin, end, new in sorted(self.edits, reverse=True):
            data = data[:begin] + new + data[end:]
        return data.decode()

    def edit(self, begin: int, end: int, new: str) -> None:
        self.edits.append((begin, end, new.encode()))

    def listed(self, nodes: list[Any], kept: list[Any]) -> None:
        """Of a list with commas, some stay, on one line."""
        if len(kept) == len(nodes):
            return
        nodes = sorted(nodes, key=self.span)
        kept = [node for node in nodes if any(node is other for other in kept)]
        begin, end = self.span(nodes[0])[0], self.span(nodes[-1])[1]
        tail = re.match(rb"\s*,?\s*(?=\))", self.data[end:])
        head = len(self.data[:begin]) - len(self.data[:begin].rstrip())
        self.edits = [e for e in self.edits if not begin <= e[0] < end]
        self.edit(begin - head, end + (tail.end() if tail else 0), ", ".join(self.within(node) for node in kept))

    def within(self, node: Any) -> str:
        """The text of a node, with the edits in it."""
        begin, end = self.span(node)
        data = self.data[begin:end]
        for b, e, new in sorted((x for x in self.taken if begin <= x[0] and x[1] <= end), reverse=True):
            data = data[: b - begin] + new + data[e - begin :]
        return data.decode()


def _functions(tree: ast.Module) -> dict[str, ast.FunctionDef]:
    found = {n.name: n for n in tree.body if isinstance(n, ast.FunctionDef)}
    for cls in tree.body:
        if isinstance(cls, ast.ClassDef):
            found |= {f"{cls.name}.{f.name}": f for f in cls.body if isinstance(f, ast.FunctionDef)}
    return found


def _once(text: str, keep: tuple[str, ...]) -> str:
    file = _File(text)
    functions = _functions(file.tree)
    calls: dict[str, list[ast.Call]] = defaultdict(list)
    mentions: dict[str, int] = defaultdict(int)
    for node in ast.walk(file.tree):
        name = _name(node)
        if name in functions:
            mentions[name] += 1
        if isinstance(node, ast.Call) and _name(node.func) in functions:
            calls[_name(node.func)].append(node)
    touched: list[tuple[int, int]] = []
    for name, function in functions.items():
        places = [file.span(node) for node in (function, *calls[name])]
        if any(b < end and begin < e for begin, end in places for b, e in touched):
            continue  # in the next pass
        arguments = function.args
        parameters = [*arguments.posonlyargs, *arguments.args]
        told = not (arguments.vararg or arguments.kwarg or arguments.kwonlyargs)
        preset = dict(zip([p.arg for p in parameters[::-1]], arguments.defaults[::-1], strict=False))
        if name in keep or _program(name, functions) or not calls[name] or not told or not parameters:
            continue
        if mentions[name] != len(calls[name]):  # it is passed on as a value
            continue
        given = [_bound(call, [p.arg for p in parameters], preset) for call in calls[name]]
        if any(g is None for g in given):
            continue
        gone = {p.arg for p in parameters if _replaced(file, function, p.arg, [g[p.arg] for g in given if g is not None])}
        if not gone:
            continue
        if preset:  # written again with all that stay
            stay = [p for p in parameters if p.arg not in gone]
            listed = [p.arg + (f"={file.source(preset[p.arg])}" if p.arg in preset else "") for p in stay]
            begin, end = file.span(parameters[0])[0], file.span(arguments.defaults[-1])[1]
            file.edits = [e for e in file.edits if not begin <= e[0] < end]
            file.edit(begin, end, ", ".join(listed))
        else:
            file.listed(parameters, [p for p in parameters if p.arg not in gone])
        file.taken = list(file.edits)
        for call, g in zip(calls[name], given, strict=True):
            assert g is not None
            dead = [g[n] for n in gone]
            listed = [*call.args, *call.keywords]
            file.listed(listed, [n for n in listed if not any(n is d or getattr(n, "value", None) is d for d in dead)])
        touched += places
    return file.replaced()


def _program(name: str, functions: dict[str, ast.FunctionDef]) -> bool:
    """Whether a function is one of modules that are alike."""
    return "." not in name and [a.arg for a in functions[name].args.args[:2]] == ["p", "at"]


def _replaced(file: _File, function: ast.FunctionDef, name: str, given: list[ast.expr]) -> bool:
    """Whether a parameter can go: no one reads it, or it is the same literal at each call, which is put in its place."""
    body = [node for statement in function.body for node in ast.walk(statement)]
    reads = [node for node in body if isinstance(node, ast.Name) and node.id == name]
    inner = [a.arg for n in body if isinstance(n, (ast.Lambda, ast.FunctionDef)) for a in n.args.args]
    if not reads:
        return True
    sources = {file.source(g) for g in given}
    stored = any(not isinstance(node.ctx, ast.Load) for node in reads) or name in inner
    if stored or len(sources) > 1 or not all(map(_literal, given)):
        return False
    text = sources.pop()
    for node in reads:
        behind = file.data[file.span(node)[1] :].lstrip()
        tight = behind.startswith((b"**", b".")) and (text.startswith("-") or text.isdigit())
        file.edit(*file.span(node), f"({text})" if tight else text)
    return True


def shortened(text: str, keep: tuple[str, ...]) -> str:
    """Without functions that return an argument as it is, or hand all of theirs on to another one that only they call,
    and without names that are set and not read."""
    while True:
        found = _unread(_handed_on(_identities(text, keep), keep))
        if found == text:
            return text
        text = found


def _identities(text: str, keep: tuple[str, ...]) -> str:
    file = _File(text)
    for name, function in _functions(file.tree).items():
        value = _only_return(function)
        parameters = [a.arg for a in function.args.args]
        if name in keep or not isinstance(value, ast.Name) or value.id not in parameters or function.args.vararg:
            continue
        calls = [n for n in ast.walk(file.tree) if isinstance(n, ast.Call) and _name(n.func) == name]
        mentions = [n for n in ast.walk(file.tree) if _name(n) == name]
        if not calls or len(mentions) != len(calls):
            continue
        bound = _bound(calls[0], parameters)
        if bound is None:
            continue
        source = file.source(bound[value.id])
        simple = isinstance(bound[value.id], (ast.Name, ast.Call, ast.Attribute, ast.Subscript, ast.Constant))
        file.edit(*file.span(calls[0]), source if simple else f"({source})")
        return file.replaced()
    return text


def _handed_on(text: str, keep: tuple[str, ...]) -> str:
    file = _File(text)
    functions = _functions(file.tree)
    for name, function in functions.items():
        value = _only_return(function)
        if not isinstance(value, ast.Call) or _name(value.func) not in functions or "." not in name:
            continue
        other = _name(value.func)
        inner = functions[other]
        parameters, wanted = [a.arg for a in function.args.args], [a.arg for a in inner.args.args]
        given = [a.id if isinstance(a, ast.Name) else "" for a in value.args]
        mentions = [n for n in ast.walk(file.tree) if _name(n) == other]
        same_class = other.rpartition(".")[0] == name.rpartition(".")[0]
        if value.keywords or sorted(given) != sorted(parameters) or given != wanted or len(mentions) != 1 or not same_class:
            continue
        if given != parameters:
            continue
        short = name.rpartition(".")[2]
        begin, end = file.span(inner)
        body = file.data[begin:end].decode().replace(f"def {inner.name}(", f"def {short}(", 1)
        file.edit(*file.span(function), body)
        file.edit(file.starts[inner.lineno - 1], file.starts[inner.end_lineno or 0], "")
        return re.sub(r"\n{3,}(?=    \S)", "\n\n", file.replaced())
    return text


def _unread(text: str) -> str:
    file = _File(text)
    for function in _functions(file.tree).values():
        read = {n.id for n in ast.walk(function) if isinstance(n, ast.Name) and isinstance(n.ctx, ast.Load)}
        for statement in function.body:
            if isinstance(statement, ast.Assign) and len(statement.targets) == 1:
                target = statement.targets[0]
                uses = [n for n in ast.walk(function) if isinstance(n, ast.Name) and isinstance(target, ast.Name) and n.id == target.id]
                path = isinstance(statement.value, ast.Attribute) and _name(statement.value)
                if path and len(uses) == 2 and path.partition(".")[0][:1].isupper():
                    file.edit(*file.span(max(uses, key=file.span)), path)
                    file.edit(file.starts[statement.lineno - 1], file.starts[statement.end_lineno or 0], "")
                    return file.replaced()
                if isinstance(target, ast.Name) and target.id not in read and _pure(statement.value):
                    file.edit(file.starts[statement.lineno - 1], file.starts[statement.end_lineno or 0], "")
                    return file.replaced()
    return text


def _pure(node: ast.expr) -> bool:
    return not any(isinstance(n, ast.Call) for n in ast.walk(node))


def _only_return(function: ast.FunctionDef) -> ast.expr | None:
    """What a function returns that does nothing else."""
    body = [s for s in function.body if not (isinstance(s, ast.Expr) and isinstance(s.value, ast.Constant))]
    return body[0].value if len(body) == 1 and isinstance(body[0], ast.Return) else None


def _name(node: Any) -> str:
    if isinstance(node, ast.Name):
        return node.id
    if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name):
        return f"{node.value.id}.{node.attr}"
    return ""


def _bound(call: ast.Call, names: list[str], preset: dict[str, ast.expr] | None = None) -> dict[str, ast.expr] | None:
    """Arguments by the names of the parameters; None where they are not all told one by one."""
    if any(isinstance(a, ast.Starred) for a in call.args) or any(k.arg is None for k in call.keywords):
        return None
    found = (preset or {}) | dict(zip(names, call.args, strict=False)) | {k.arg: k.value for k in call.keywords if k.arg}
    return found if set(found) == set(names) else None


def _literal(node: ast.expr) -> bool:
    if isinstance(node, ast.Constant):
        return True
    if isinstance(node, (ast.Tuple, ast.List)):
        return isinstance(node, ast.Tuple) and all(map(_literal, node.elts))
    if isinstance(node, ast.UnaryOp):
        return isinstance(node.operand, ast.Constant)
    if isinstance(node, ast.Attribute):  # torch.float32
        return isinstance(node.value, ast.Name) and node.value.id == "torch"
    return False
