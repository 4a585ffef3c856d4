"""Writes what follows from the docstrings of the rules, for `make docs`: docs/operators.md, and `__init__.pyi` for the
packages that find out by themselves what they export.

A rule's docstring has the formula as its first paragraph, the shapes as its second, the backward formulas as its third
and the source as its last.
"""

from __future__ import annotations

import inspect
import os
import re
from pathlib import Path
from types import ModuleType

import torch

import manual_backprop as mb
from manual_backprop.engine.rule import paragraphs

QUOTES = '"' * 3


def code(text: str) -> str:
    """Formulas as code in one cell of a Markdown table; wide gaps become line breaks."""
    lines = re.split(r"\n| {3,}", re.sub(r" +=", " =", text))
    return "<br>".join("`" + line.strip().replace("|", "\\|") + "`" for line in lines if line.strip())


OPERATORS = Path(__file__).with_name("operators.md")
HEAD = """# Operators

Each runs on the rule of that line inside `mb.explicit()`, also where torch calls it inside of another function; and by
itself as `mb.functional.<operator>`. Written by `make docs` from the rules.
"""


def operators() -> str:
    """The page of all rules that stand in for an operator of torch, family by family."""
    lines, family = [HEAD.rstrip()], ""
    for rule in sorted(mb.rules.RULES.values(), key=lambda rule: rule.__module__):
        if not rule.operator:
            continue
        if rule.__module__ != family:
            family = rule.__module__
            about = (inspect.getdoc(inspect.getmodule(rule)) or "").partition("\n\n")[0].replace("\n", " ")
            lines += ["", f"## {family.rpartition('.')[2].replace('_', ' ')}", "", about, ""]
            lines += ["| operator | forward | backward | source |", "|---|---|---|---|"]
        forward, _, backward, *rest = paragraphs(rule)
        source = " ".join(rest[-1].removeprefix("Source: ").split())
        cells = (" ".join(f"`{name}`" for name in rule.operator.split()), code(forward), code(backward), source)
        lines.append("| " + " | ".join(cells) + " |")
    return "\n".join(lines) + "\n"


def stub(package: ModuleType) -> str:
    """What a package exports, for type checkers and editors, which read its text and do not run it."""
    imports, functions = set(), []
    for name, value in sorted(vars(package).items()):
        home = getattr(value, "__module__", "") or ""
        if home.endswith("._derived") and name in package.__all__:
            definition, _, rest = inspect.getsource(value).partition("\n")
            functions.append(f"{definition}\n{rest[: rest.rindex(QUOTES)]}{QUOTES}\n")
        elif home.startswith(f"{mb.__name__}.") and not name.startswith("_"):
            imports.add(f"from {home} import {name} as {name}")
        elif package is mb.nn and vars(torch.nn).get(name) is value and not name.startswith("_"):
            imports.add(f"from torch.nn import {name} as {name}")
    if package is mb.nn:
        imports.add("from .. import functional as functional")
    if package is mb.rules:
        imports.add(f"from {mb.rules.Rule.__module__} import RULES as RULES")
    if functions:
        imports |= {"from torch import Tensor", "from typing import Any"}
    head = [f"# what {package.__name__} exports: written by make docs", ""]
    return "\n".join([*head, *sorted(imports), "", "__all__: list[str]", "", *functions])


def written() -> dict[Path, str]:
    """File -> what has to stand in it."""
    files = {OPERATORS: operators()}
    for package in (mb.rules, mb.functional, mb.nn):
        files[Path(str(package.__file__)).with_suffix(".pyi")] = stub(package)
    return files


def main() -> None:
    for path, text in written().items():
        aside = path.with_name(f".{path.name}.{os.getpid()}")
        aside.write_text(text, encoding="utf-8")
        os.replace(aside, path)


if __name__ == "__main__":
    main()
