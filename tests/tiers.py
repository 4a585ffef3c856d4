"""Which checks a row meets in `make test`; all others it meets in `make test-all`.

Chosen by what finds most wrong formulas in a second: the rows of one rule differ in their values and derivatives, but
go through the same transforms, the same compiler and the same module protocol.
"""

from __future__ import annotations

import re

from manual_backprop.testing import CHECKS
from manual_backprop.testing.case import Case
from manual_backprop.testing.cases import CASES

EVERY_ROW = ("forward", "float32", "specials", "gradcheck", "deltas")
HEAVY = ("gradgradcheck", "batched_grad", "forward_mode", "transforms", "compiled")
"""Tens or hundreds of milliseconds where the others take a few."""
ALSO: dict[str, tuple[str, ...]] = {}
"""Row -> checks that alone catch some mutant of a rule (`make mutants` lists those that would be missed)."""


def family(name: str) -> str:
    """The public names of one rule: a module, its function, their forms of one, two and three axes.

    Layers of transformers put the same rules together, so they are one family, too.
    """
    if name.startswith("Transformer"):
        return "transformer"
    return re.sub(r"[123]d|_", "", name).lower()


def _tiers() -> dict[str, tuple[str, ...]]:
    families: set[str] = set()
    names: set[str] = set()
    found = {}
    for case in CASES:
        if family(case.covers) not in families:
            chosen = set(CHECKS)
        elif case.covers not in names:
            chosen = set(CHECKS) - set(HEAVY)
        else:
            chosen = set(EVERY_ROW)
        families.add(family(case.covers))
        names.add(case.covers)
        chosen |= set(ALSO.get(case.name, ()))
        found[case.name] = tuple(name for name in CHECKS if name in chosen)
    return found


_TIERS = _tiers()


def in_make_test(case: Case) -> tuple[str, ...]:
    """The checks of a row that `make test` runs: all on the first row of a family, the cheap ones on the first row of
    a public name, those of values and derivatives on every row."""
    return _TIERS[case.name]


def in_make_test_all_only(case: Case) -> tuple[str, ...]:
    """The checks of a row that only `make test-all` runs."""
    return tuple(name for name in CHECKS if name not in _TIERS[case.name])
