"""The mutants: told apart by their keys, installed and taken out again, caught or explained."""

from __future__ import annotations

import pytest
import torch

import manual_backprop as mb
from manual_backprop.rules import RULES, Mul, interpolation
from manual_backprop.testing import CHECKS
from manual_backprop.testing.cases import CASES
from tests.mutants import catcher, equivalents, passing, rules_of_rows
from tests.mutation import calls_helpers_of, helper_mutants, mutants, rule_modules
from tests.tiers import HEAVY, in_make_test

OURS = [name for name, rule in RULES.items() if rule.__module__.startswith("manual_backprop.")]


@pytest.fixture(scope="module")
def rows() -> dict[str, list[int]]:
    return rules_of_rows()


def test_a_key_names_one_mutant_and_a_reason_one_that_exists() -> None:
    found = [*map(mutants, OURS), *map(helper_mutants, rule_modules())]
    keys = [mutant.key for mutants_of_one in found for mutant in mutants_of_one]
    assert len(keys) == len(set(keys)) > 1000
    assert equivalents().keys() <= set(keys)


def test_every_rule_is_run_by_a_row(rows: dict[str, list[int]]) -> None:
    assert rows.keys() >= set(OURS)


def test_every_rule_meets_every_check_in_make_test_but_operators_the_heavy_ones(rows: dict[str, list[int]]) -> None:
    for name in OURS:
        checks = set(CHECKS) - set(HEAVY) if RULES[name].operator else set(CHECKS)
        assert any(set(in_make_test(CASES[i])) >= checks for i in rows[name]), f"a row of {name} belongs to ALSO"


def test_a_mutant_computes_wrong_while_it_is_installed() -> None:
    mutant = next(m for m in mutants("Mul") if m.method == "delta_input" and m.kind == "wrong operator")
    original = Mul.delta_input
    x = torch.tensor(3.0, requires_grad=True)
    with mutant.installed():
        (wrong,) = torch.autograd.grad(mb.functional.mul(x, torch.tensor(2.0)), x)
    (right,) = torch.autograd.grad(mb.functional.mul(x, torch.tensor(2.0)), x)
    assert (wrong.item(), right.item()) == (0.5, 2.0)
    assert Mul.delta_input is original


def test_a_wrong_formula_is_caught_and_an_equivalent_one_is_not(rows: dict[str, list[int]]) -> None:
    of_key = {mutant.key: mutant for mutant in mutants("PReLU")}
    equivalent = of_key["PReLU.grad_weight: input > 0 -> input >= 0"]
    wrong = next(m for m in of_key.values() if m.method == "grad_weight" and m.kind == "swapped branches")
    with mb.backend("formula"):
        assert catcher(equivalent, rows["PReLU"]) is None
        assert catcher(wrong, rows["PReLU"]) is not None


def test_what_make_test_does_not_run_is_told_apart(rows: dict[str, list[int]], monkeypatch: pytest.MonkeyPatch) -> None:
    wrong = next(m for m in mutants("PReLU") if m.method == "grad_weight" and m.kind == "swapped branches")
    with mb.backend("formula"):
        early = catcher(wrong, rows["PReLU"], "default")
        assert early is not None
        assert not early.late
        monkeypatch.setattr("tests.mutants.in_make_test", lambda case: ())
        passing.cache_clear()
        late = catcher(wrong, rows["PReLU"])
        assert late is not None
        assert late.late
        assert catcher(wrong, rows["PReLU"], "default") is None
    passing.cache_clear()


def test_a_wrong_helper_is_wrong_wherever_it_is_called() -> None:
    """`lanczos` is called out of a table, `spread` by other files than its own."""
    at = torch.tensor(0.5)
    module = next(m for m in rule_modules() if m.__name__.endswith(".interpolation"))
    mutant = next(m for m in helper_mutants(module) if m.method == "lanczos" and m.kind == "dropped term")
    kernel = interpolation.FILTERS["lanczos-antialias"][1]
    right = kernel(at)
    with mutant.installed():
        assert kernel(at) != right
    assert kernel(at) == right
    module = next(m for m in rule_modules() if m.__name__.endswith(".normalization"))
    assert calls_helpers_of(module, RULES["InstanceNorm"])
    assert not calls_helpers_of(module, RULES["Exp"])
