"""The rows of the check suite themselves."""

from __future__ import annotations

from collections import Counter

import pytest

from manual_backprop.testing import Subject
from manual_backprop.testing.cases import CASES


@pytest.mark.filterwarnings("ignore")
def test_no_row_is_refused_by_its_twin() -> None:
    refused = {case.name: str(why) for case in CASES if (why := Subject(case).refused)}
    assert refused == {}, "such a row checks nothing"


def test_each_row_has_a_name_of_its_own() -> None:
    assert [name for name, count in Counter(case.name for case in CASES).items() if count > 1] == []
