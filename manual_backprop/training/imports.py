"""Networks, data sets and other objects by import path."""

import sys
from collections.abc import Iterable
from importlib import import_module
from pathlib import Path
from typing import Any

from ..errors import BadInput, unknown


def imported(kind: str, path: str, known: Iterable[str]) -> Any:
    """The object that an import path `module.name` names. Raises BadInput; `known`: names that need no import path."""
    module, _, name = path.rpartition(".")
    if not module:
        raise unknown(kind, path, [*known, "any.import.path"])
    try:
        found = import_module(module)
    except (ImportError, ValueError) as error:  # ValueError: an empty name between two dots
        raise BadInput(f"{kind.capitalize()} {path}: module {module} cannot be imported: {error}") from error
    if not hasattr(found, name):
        hint = _another_module(module)
        raise unknown(f"name in {module}{hint}:", name, [n for n in dir(found) if not n.startswith("_")])
    return getattr(found, name)


def _another_module(module: str) -> str:
    """A hint where the module was imported from, if a file in the current folder has the same name; else ""."""
    top = module.partition(".")[0]
    file = getattr(sys.modules[top], "__file__", None)
    here = [path for path in (Path(f"{top}.py"), Path(top, "__init__.py")) if path.is_file()]
    if not file or not here or Path(file).resolve() == here[0].resolve():
        return ""
    return f" (which is {file}, not your {here[0]}: give that another name)"
