"""The rows of the suite. Each is one configuration of a layer or function; all files of this folder, one per family,
are read."""

from importlib import import_module
from pkgutil import iter_modules

from ..case import Case

_FAMILIES = [
    import_module(f"{__name__}.{file.name}") for file in iter_modules(__path__) if not file.name.startswith("_")
]

CASES: list[Case] = [case for family in _FAMILIES for case in family.CASES]
