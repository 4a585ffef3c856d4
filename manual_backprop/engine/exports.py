"""What a package exports: what its files define, torch's modules under other names, reasons for missing names."""

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
    """Name -> value of everything that the package's files define and `wanted` accepts.

    Names and files that begin with an underscore are skipped. Raises ImportError where two files define the same name.
    """
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
    """Make a module importable under another name, as os.path is, together with its submodules."""
    sys.modules[name] = module
    for file in pkgutil.iter_modules(getattr(module, "__path__", ())):
        if not file.name.startswith("_"):
            sys.modules[f"{name}.{file.name}"] = importlib.import_module(f"{module.__name__}.{file.name}")


class NotExportedError(AttributeError):
    """torch has this name, our package does not; the message says why, and what to write instead."""


class _Reasons(MetaPathFinder):
    """Makes `from package import name` fail with the same message as `package.name`.

    If a package lacks the name, Python looks for a submodule and asks all finders for it. This finder is asked last. It
    finds nothing and raises the message as ImportError. Without it Python would only say "cannot import name".
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
                return None  # torch lacks the name, too: Python's own message is enough
        return None


_reasons = _Reasons()
sys.meta_path.append(_reasons)


def give_reasons(package: str) -> None:
    """Make imports from a package fail with the message of the NotExportedError that its `__getattr__` raises."""
    _reasons.packages.add(package)
