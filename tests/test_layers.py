"""Every check over every row: the proof of the library.

One test is one row with all its checks: a test for each check would be ten thousand, whose collection in every worker
takes longer than half of the checks.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from types import SimpleNamespace
from typing import Any

import pytest

from manual_backprop.testing import CHECKS, SLOW_CHECKS, Subject
from manual_backprop.testing.case import Case
from manual_backprop.testing.cases import CASES
from manual_backprop.testing.report import Result, run_check
from tests import older_torch, tiers

ROWS = [pytest.param(case, id=case.name, marks=older_torch.marks(case.name)) for case in CASES]


def run(case: Case, checks: Iterable[str], device: str = "cpu") -> None:
    subject = Subject(case, device)
    results = [run_check(subject, name) for name in checks]
    wrong = [result.detail for result in results if result.outcome not in ("pass", "n/a")]
    if wrong:
        pytest.fail("\n\n".join(wrong))


@pytest.mark.parametrize("case", ROWS)
def test_layer(case: Case) -> None:
    run(case, tiers.in_make_test(case))


@pytest.mark.slow
@pytest.mark.parametrize("case", ROWS)
def test_layer_in_every_other_way(case: Case) -> None:
    run(case, tiers.in_make_test_all_only(case))


@pytest.mark.slow
@pytest.mark.parametrize("case", ROWS)
def test_layer_slow(case: Case) -> None:
    run(case, SLOW_CHECKS)


def ran(test: Any, monkeypatch: pytest.MonkeyPatch) -> Counter[tuple[str, str]]:
    """(row, check) -> how often a test runs it, over all its parameters."""
    found: Counter[tuple[str, str]] = Counter()

    def note(subject: Any, name: str) -> Result:
        found[subject.case.name, name] += 1
        return Result(name, "pass", "")

    monkeypatch.setitem(globals(), "Subject", lambda case, device: SimpleNamespace(case=case))
    monkeypatch.setitem(globals(), "run_check", note)
    (parameters,) = (mark.args[1] for mark in test.pytestmark if mark.name == "parametrize")
    for parameter in parameters:
        test(*parameter.values)
    return found


def test_the_tiers_together_run_every_check_on_every_row_once(monkeypatch: pytest.MonkeyPatch) -> None:
    tests = test_layer, test_layer_in_every_other_way, test_layer_slow
    assert [any(m.name == "slow" for m in test.pytestmark) for test in tests] == [False, True, True]
    found = sum((ran(test, monkeypatch) for test in tests), Counter())
    assert found == Counter((case.name, check) for case in CASES for check in (*CHECKS, *SLOW_CHECKS))


def test_make_test_runs_every_check_and_every_row(monkeypatch: pytest.MonkeyPatch) -> None:
    found = ran(test_layer, monkeypatch)
    assert {check for _, check in found} == set(CHECKS)
    assert {row for row, _ in found} == {case.name for case in CASES}
    for case in CASES:
        assert {"forward", "gradcheck", "deltas"} <= {check for row, check in found if row == case.name}


def test_a_failing_check_of_a_row_is_named_and_the_others_still_run(monkeypatch: pytest.MonkeyPatch) -> None:
    seen = []

    def failing(subject: Any, name: str) -> Result:
        seen.append(name)
        return Result(name, "fail" if name in ("float32", "deltas") else "pass", f"{name} is wrong")

    monkeypatch.setitem(globals(), "run_check", failing)
    with pytest.raises(pytest.fail.Exception, match="float32 is wrong\n\ndeltas is wrong"):
        test_layer(CASES[0])
    assert tuple(seen) == tiers.in_make_test(CASES[0])


def test_rows_named_for_further_checks_exist_and_need_them(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, checks in dict(tiers.ALSO).items():
        assert name in {case.name for case in CASES}, name
        assert set(checks) <= set(CHECKS), name
        monkeypatch.setattr(tiers, "ALSO", {key: more for key, more in tiers.ALSO.items() if key != name})
        assert not set(checks) <= set(tiers.chosen()[name]), f"{name} meets these checks without being named"
        monkeypatch.undo()


def test_rows_that_an_older_torch_skips_exist() -> None:
    assert older_torch.ROWS.keys() <= {case.name for case in CASES}


def test_names_of_the_rows_are_unique() -> None:
    names = [case.name for case in CASES]
    assert sorted(names) == sorted(set(names))
