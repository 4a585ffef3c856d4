"""What a package exports: all that its files define, without a list; torch's own modules by further names; and for a
name that it lacks, why."""

from __future__ import annotations

import importlib
import pkgutil
import sys
from collections.abc import Callable, Sequence
from importlib.abc import MetaPathFinder
from importlib.machinery import ModuleSpec
from types import ModuleType
from typing import Any


def defined(package: str, wanted: Callable[[Any], bool]) -> dict[str, Any]:
    """Name -> value of what the files of a package define and is wanted, but for names and files that begin with an
    underscore. Raises ImportError where two files define the same name."""
    found: dict[str, Any] = {}
    for file in pkgutil.iter_modules(sys.modules[package].__path__):
        if file.name.startswith("_"):
            continue
        module = importlib.import_module(f"{package}.{file.name}")
        for name, value in vars(module).items():
            if name.startswith("_") or not wanted(value) or value.__module__ != module.__name__:
                continue
            if name in found:
                raise ImportError(f"{name} is defined twice: in {found[name].__module__} and in {module.__name__}")
            found[name] = value
    return found


def import_as(name: str, module: ModuleType) -> None:
    """Let `import name` give a module that has another name, as `import os.path` does; and what lies below it."""
    sys.modules[name] = module
    for file in pkgutil.iter_modules(getattr(module, "__path__", ())):
        if not file.name.startswith("_"):
            sys.modules[f"{name}.{file.name}"] = importlib.import_module(f"{module.__name__}.{file.name}")


class NotExportedError(AttributeError):
    """A package of ours has no such name, though torch has; the message says why, and what to write."""


class _Reasons(MetaPathFinder):
    """Lets `from package import name` fail with the reason that `package.name` gives.

    Python takes a name that a package lacks for a submodule, and asks all finders for it. This one is asked last, finds
    nothing, and raises the reason as ImportError. Without it Python would say "cannot import name", and no more.
    """

    def __init__(self) -> None:
        self.packages: set[str] = set()

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        package, _, name = fullname.rpartition(".")
        if package in self.packages and package in sys.modules:
            try:
                getattr(sys.modules[package], name)
            except NotExportedError as reason:
                raise ImportError(str(reason), name=fullname) from None
            except AttributeError:
                return None  # torch has no such name either: Python's own message says enough
        return None


_reasons = _Reasons()
sys.meta_path.append(_reasons)


def give_reasons(package: str) -> None:
    """Let imports from a package fail with the message of the NotExportedError that its `__getattr__` raises."""
    _reasons.packages.add(package)
