"""`manual-backprop coverage`: torch's own lists, and what of them has a rule."""

from __future__ import annotations

import pytest
import torch

from manual_backprop import coverage


@pytest.fixture(scope="module")
def entries() -> dict[tuple[str, str], coverage.Entry]:
    found = [*coverage.layers(), *coverage.functions(), *coverage.operators()]
    return {(entry.kind, entry.name): entry for entry in found}


def test_rules_views_and_what_is_left_out_are_told_apart(entries: dict[tuple[str, str], coverage.Entry]) -> None:
    states = {
        ("layer", "Linear"): "rule",
        ("function", "gelu"): "rule",
        ("operator", "exp"): "rule",
        ("operator", "mul.Tensor"): "rule",
        ("operator", "convolution"): "rule",
        ("operator", "transpose.int"): "view",
        ("operator", "gelu_backward"): "left out",
        ("operator", "_sparse_sum.dim"): "left out",
    }
    assert {key: entries[key].state for key in states} == states
    assert all(entry.reason for entry in entries.values() if entry.state == "left out")
    assert ("operator", "eq.Tensor") not in entries, "it has no derivative"


def test_what_a_new_torch_brings_is_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    class New(torch.nn.Module): ...

    monkeypatch.setattr(torch.nn, "New", New, raising=False)
    new = [entry for entry in coverage.layers() if entry.name == "New"]
    assert new == [coverage.Entry("layer", "New", "missing")]
    assert "1 missing:\n  New" in coverage.report(new, every=False)


def test_the_command_prints_each_kind(capsys: pytest.CaptureFixture[str]) -> None:
    assert coverage.main(["--kind", "operator", "--all"]) == 0
    printed = capsys.readouterr().out
    assert "operators:" in printed
    assert "gelu_backward" in printed
    assert "layers:" not in printed
