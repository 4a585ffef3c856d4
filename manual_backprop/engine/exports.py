"""Collects what the files of a package define, so that a new class or function is exported without a list."""

from __future__ import annotations

import importlib
import pkgutil
import sys
from collections.abc import Callable
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
