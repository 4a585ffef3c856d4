"""Writes `__init__.pyi` for the packages that find out by themselves what they export: `make stubs`."""

from __future__ import annotations

import inspect
import os
from pathlib import Path
from types import ModuleType

import torch

import manual_backprop as mb

QUOTES = '"' * 3


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
    if package is mb.functional:
        imports.add("from torch.nn.functional import one_hot as one_hot")
    if package is mb.nn:
        imports.add("from .. import functional as functional")
    if package is mb.rules:
        imports.add(f"from {mb.rules.Rule.__module__} import RULES as RULES")
    if functions:
        imports |= {"from torch import Tensor", "from typing import Any"}
    head = [f"# what {package.__name__} exports: written by make stubs", ""]
    exported = ["__all__ = [", *(f'    "{name}",' for name in package.__all__), "]"]
    if package is mb.nn:
        exported.append("_LAYERS: list[str]")
    return "\n".join([*head, *sorted(imports), "", *exported, "", *functions])


def written() -> dict[Path, str]:
    """File -> what has to stand in it."""
    files = {}
    for package in (mb.rules, mb.functional, mb.nn):
        files[Path(str(package.__file__)).with_suffix(".pyi")] = stub(package)
    home = mb.nn.modules.__name__
    for name, file in vars(mb.nn.modules).items():
        if isinstance(file, ModuleType) and file.__name__ == f"{home}.{name}" and file.__all__:
            lines = [f"from manual_backprop.nn import {layer} as {layer}" for layer in file.__all__]
            path = Path(str(mb.nn.modules.__file__)).with_name(f"{name}.pyi")
            files[path] = "\n".join([f"# what {home}.{name} exports: written by make stubs", "", *lines, ""])
    return files


def main() -> None:
    for path, text in written().items():
        aside = path.with_name(f".{path.name}.{os.getpid()}")
        aside.write_text(text, encoding="utf-8")
        os.replace(aside, path)


if __name__ == "__main__":
    main()
