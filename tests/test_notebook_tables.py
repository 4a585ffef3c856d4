"""What notebooks show: tables of traces, saved bytes, audits and check reports, with nothing left unescaped."""

from __future__ import annotations

from xml.etree import ElementTree

import pytest
import torch

import manual_backprop as mb
import manual_backprop.nn as nn
from manual_backprop._tables import html_table
from manual_backprop.testing import check


def shown(report: object) -> tuple[list[str], list[list[str]], str]:
    """Head, rows and the text below of what a notebook shows; it has to be well-formed."""
    page = ElementTree.fromstring(f"<div>{report._repr_html_()}</div>")  # type: ignore[attr-defined]
    head = ["".join(cell.itertext()) for cell in page.iterfind(".//th")]
    rows = [["".join(cell.itertext()) for cell in row] for row in page.iterfind(".//tbody/tr")]
    below = page.find("pre")
    return head, rows, "" if below is None else "".join(below.itertext())


@pytest.fixture
def model() -> nn.Sequential:
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(4, 3), nn.ReLU(), nn.Linear(3, 2))


def test_a_trace(model: nn.Sequential) -> None:
    found = mb.trace(model, torch.randn(5, 4), torch.tensor([0, 1, 0, 1, 1]), nn.CrossEntropyLoss())
    head, rows, below = shown(found)
    assert head[0] == "layer"
    assert [row[0] for row in rows] == [row.layer for row in found.rows]
    assert str(found).endswith(below)
    assert "grad_weight" in below


def test_saved_bytes(model: nn.Sequential) -> None:
    found = mb.saved_bytes(model, torch.randn(5, 4))
    head, rows, below = shown(found)
    assert head == ["module", "type", "ours", "torch.nn", "ours / torch.nn"]
    assert [row[0] for row in rows] == [*(row.module for row in found.rows), "total"]
    assert below == str(found).splitlines()[-1]


def test_an_audit(model: nn.Sequential) -> None:
    found = mb.audit(model, torch.randn(5, 4))
    _, rows, below = shown(found)
    assert [row[1] for row in rows] == [row.node for row in found.rows]
    assert below == str(found).splitlines()[-1]


def test_a_check_report() -> None:
    report = check(nn.Tanh(), torch.randn(3, 4), checks=["forward", "gradcheck"])
    head, rows, _ = shown(report)
    assert head[0] == report.name
    assert [row[:2] for row in rows] == [["forward", "pass"], ["gradcheck", "pass"]]


def test_marks_are_escaped() -> None:
    assert '<td style="text-align: left">a &lt; b</td>' in html_table(("x",), [("a < b",)])
    assert html_table(("x",), [], below="a & b").endswith("<pre>a &amp; b</pre>")
