"""The rows of the suite: one configuration of a layer or function each, one file per family, all of which are read."""

from importlib import import_module
from pkgutil import iter_modules

from ..case import Case

_FAMILIES = [
    import_module(f"{__name__}.{file.name}") for file in iter_modules(__path__) if not file.name.startswith("_")
]

CASES: list[Case] = [case for family in _FAMILIES for case in family.CASES]
