"""Some random programs written out; more of them: python -m tests.written_programs."""

from __future__ import annotations

import pytest

from manual_backprop.listing import proxies
from tests.written_programs import check

PROGRAMS = range(24)


@pytest.mark.filterwarnings("ignore")
def test_random_programs_have_torchs_gradients() -> None:
    said = [check(1, number) for number in PROGRAMS]
    wrong = [what for what in said if what and not what.startswith(("torch:", "refused:"))]
    assert wrong == []
    assert said.count("") > len(PROGRAMS) // 2


@pytest.mark.filterwarnings("ignore")
def test_a_formula_that_is_noted_with_the_wrong_arguments_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    noted = proxies.Proxies.arguments

    def turned(self: proxies.Proxies, function: object, args: tuple) -> list:
        return noted(self, function, args[::-1] if len(args) == 2 else args)  # type: ignore[arg-type]

    monkeypatch.setattr(proxies.Proxies, "arguments", turned)
    found = []
    for number in PROGRAMS:
        try:
            found.append(check(1, number))
        except Exception as error:  # a program that cannot run
            found.append(type(error).__name__)
    assert any("differs" in what or "loss" in what or "Error" in what for what in found)
