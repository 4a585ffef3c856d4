"""Which checks a row meets in `make test`; all others it meets in `make test-all`.

Chosen by what finds most wrong formulas in a second: the rows of one rule differ in their values and derivatives, but
go through the same transforms, the same compiler and the same module protocol.
"""

from __future__ import annotations

import re

from manual_backprop import functional
from manual_backprop.testing import CHECKS
from manual_backprop.testing.case import Case
from manual_backprop.testing.cases import CASES

EVERY_ROW = ("forward", "float32", "specials", "gradcheck", "deltas")
HEAVY = ("gradgradcheck", "batched_grad", "forward_mode", "transforms", "compiled")
"""Tens or hundreds of milliseconds where the others take a few."""
ALL = tuple(CHECKS)
CHEAP = tuple(name for name in CHECKS if name not in HEAVY)
ALSO: dict[str, tuple[str, ...]] = {
    "cdist-many": ALL,
    "index-masked": ALL,
    "index_put-accumulate=False-rows": ALL,
    # overloads of an operator that are rules of their own
    **dict.fromkeys(
        ("prod-dim=1", "max-dim=1", "min-dim=1", "median-dim=1", "nanmedian-dim=1", "scatter-value=1.5"), CHEAP
    ),
    # rules without a public name of their own: statistics that are kept, soft labels, in place, broadcasting
    "batch_norm-weight-only": ALL,
    "cross_entropy-soft-weight-unbatched": ALL,
    "cross_entropy-label_smoothing=0.2-soft-weight": ALL,
    "kl_div-reduction=sum-log_target=True": ALL,
    "Hardtanh-inplace=True": ALL,
    "kl_div-reduction=sum-broadcast-target": ALL,
    # mutants that nothing else of `make test` catches
    "add-alpha=2.5": ("forward_mode",),
    "cross_entropy-reduction=none-soft-weight-2d": ("forward_mode",),
}
"""Row -> further checks of it, for rules and mutants that the first rows do not reach (`make mutants` lists those)."""


def family(name: str) -> str:
    """The public names of one rule: a module, its function, their forms of one, two and three axes.

    Layers of transformers put the same rules together, so they are one family, too.
    """
    if name.startswith("Transformer"):
        return "transformer"
    return re.sub(r"[123]d|_", "", name).lower()


def is_operator(name: str) -> bool:
    """Whether a public name is an operator whose rule is called by what it stands in for: hundreds of them, alike."""
    rule = getattr(getattr(functional, name, None), "rule", None)
    return rule is not None and bool(rule.operator)


def chosen() -> dict[str, tuple[str, ...]]:
    """Row -> the checks of it that `make test` runs."""
    families: set[str] = set()
    names: set[str] = set()
    found = {}
    for case in CASES:
        if is_operator(case.covers) and case.covers not in names:
            checks = set(CHECKS) - set(HEAVY)
        elif family(case.covers) not in families and not is_operator(case.covers):
            checks = set(CHECKS)
        elif case.covers not in names:
            checks = set(CHECKS) - set(HEAVY)
        else:
            checks = set(EVERY_ROW)
        families.add(family(case.covers))
        names.add(case.covers)
        checks |= set(ALSO.get(case.name, ()))
        found[case.name] = tuple(name for name in CHECKS if name in checks)
    return found


_CHOSEN = chosen()


def in_make_test(case: Case) -> tuple[str, ...]:
    """The checks of a row that `make test` runs: all on the first row of a family, the cheap ones on the first row of
    a public name, those of values and derivatives on every row, and what ALSO names."""
    return _CHOSEN[case.name]


def in_make_test_all_only(case: Case) -> tuple[str, ...]:
    """The checks of a row that only `make test-all` runs."""
    return tuple(name for name in CHECKS if name not in _CHOSEN[case.name])


def first_of_its_name(case: Case) -> bool:
    """Whether a row is the first of its public name, for other tests that go through the rows."""
    return case is next(other for other in CASES if other.covers == case.covers)
