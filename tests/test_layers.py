"""Every check over every row: the proof of the library."""

from __future__ import annotations

import functools
from collections.abc import Iterator
from typing import Any

import pytest
import torch

from manual_backprop.testing import CHECKS, SLOW_CHECKS, Subject
from manual_backprop.testing.cases import CASES
from manual_backprop.testing.report import run_check


@functools.lru_cache(maxsize=4)
def _subject(i: int, device: str = "cpu") -> Subject:
    return Subject(CASES[i], device)


ROWS = [pytest.param(i, id=case.name) for i, case in enumerate(CASES)]
# seconds where the others take milliseconds: by default on the first row of each public name, the rest is slow
HEAVY = ("gradgradcheck", "batched_grad", "forward_mode", "transforms", "compiled")


def _pairs() -> Iterator[Any]:
    seen: set[str] = set()
    for i, case in enumerate(CASES):
        first = case.covers not in seen
        seen.add(case.covers)
        for name in CHECKS:
            marks = [pytest.mark.slow] if name in HEAVY and not first else []
            yield pytest.param(i, name, id=f"{case.name}-{name}", marks=marks)


@pytest.mark.parametrize(("i", "name"), list(_pairs()))
def test_layer(i: int, name: str) -> None:
    result = run_check(_subject(i), name)
    assert result.outcome in ("pass", "n/a"), result.detail


@pytest.mark.slow
@pytest.mark.parametrize("i", ROWS)
@pytest.mark.parametrize("name", SLOW_CHECKS)
def test_layer_slow(i: int, name: str) -> None:
    result = run_check(_subject(i), name)
    assert result.outcome in ("pass", "n/a"), result.detail


@pytest.mark.gpu
@pytest.mark.parametrize(("i", "name"), list(_pairs()))
def test_layer_cuda(i: int, name: str, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
    monkeypatch.setattr(torch.backends.cudnn, "allow_tf32", False)  # float32 with 24 bits, as everywhere else
    result = run_check(_subject(i, "cuda"), name)
    assert result.outcome in ("pass", "n/a"), result.detail
    assert "no Triton kernel" not in caplog.text


def test_names_of_the_rows_are_unique() -> None:
    names = [case.name for case in CASES]
    assert sorted(names) == sorted(set(names))
