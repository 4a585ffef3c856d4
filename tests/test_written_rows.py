"""Rows of the check suite as programs, which torch alone runs; and that the tool finds a program that is wrong."""

from __future__ import annotations

import re

import pytest

from manual_backprop.listing import sources, spelling
from manual_backprop.testing.cases import CASES
from tests.written_rows import program, run

FEW = [case for k, case in enumerate(CASES) if k % 12 == 0]
"""A twelfth of the rows, spread over all families."""


def test_rows_as_programs_give_the_gradients_of_the_library() -> None:
    count, wrong = run(FEW, "formulas")
    assert wrong == []
    assert count > 0.9 * len(FEW)


@pytest.mark.slow
@pytest.mark.parametrize("level", ["formulas", "torch"])
def test_every_row_as_a_program(level: str) -> None:
    count, wrong = run(CASES, level)
    assert wrong == []
    assert count > 0.9 * len(CASES)


TANH = [case for case in CASES if case.name == "Tanh"]


def in_the_source(monkeypatch: pytest.MonkeyPatch, old: str, new: str) -> None:
    """The text that a file has of each formula, with other words in it."""
    before = sources.source_of
    monkeypatch.setattr(sources, "source_of", lambda f, name: before(f, name).replace(old, new))


def test_a_wrong_formula_in_a_program_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    assert run(TANH, "formulas") == (1, [])
    in_the_source(monkeypatch, "1 - output * output", "1 + output * output")
    count, found = run(TANH, "formulas")
    assert count == 1
    assert re.fullmatch(r"Tanh: x differs by \d\.\de[+-]\d\d", "\n".join(found))


def test_a_wrong_sign_in_plain_torch_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    assert run(TANH, "torch") == (1, [])
    monkeypatch.setitem(spelling.INFIX, "mul", "+")
    count, found = run(TANH, "torch")
    assert count == 1
    assert "x differs by" in "\n".join(found)


def test_a_program_that_fails_is_reported(monkeypatch: pytest.MonkeyPatch) -> None:
    in_the_source(monkeypatch, "torch.tanh", "torch.tan_h")
    with pytest.raises(AttributeError, match="tan_h"):
        program(TANH[0], "formulas")
    _, found = run(TANH, "formulas")
    assert len(found) == 1
    assert found[0].startswith("Tanh: AttributeError: module 'torch' has no attribute 'tan_h'")
