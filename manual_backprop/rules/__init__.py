"""The mathematics: one class per operation, one file per family. Each rule in these files is exported."""

from ..engine.exports import defined as _defined
from ..engine.rule import RULES, Rule, backend

_found = _defined(__name__, lambda value: isinstance(value, type) and issubclass(value, Rule))
globals().update(_found)

__all__ = sorted([*_found, "RULES", "Rule", "backend"])  # type checkers and editors read __init__.pyi
