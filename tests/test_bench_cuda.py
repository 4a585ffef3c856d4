"""benchmarks/cuda.py without a GPU: every contestant on tiny networks, the tables, and the refusal."""

from __future__ import annotations

import sys
import types
from typing import Any

import pytest
import torch

from benchmarks import cuda


def test_a_dry_run_shows_every_contestant(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    kernels: Any = types.ModuleType("liger_kernel.transformers")
    kernels.LigerLayerNorm, kernels.LigerCrossEntropyLoss = torch.nn.LayerNorm, torch.nn.CrossEntropyLoss
    monkeypatch.setitem(sys.modules, "liger_kernel", types.ModuleType("liger_kernel"))
    monkeypatch.setitem(sys.modules, "liger_kernel.transformers", kernels)
    monkeypatch.setattr(torch, "compile", lambda model: model)  # takes half a minute in earnest
    monkeypatch.setattr(cuda, "write", lambda *args: pytest.fail("a dry run writes nothing"))
    assert cuda.main(["--dry-run", "--rounds", "2"]) == 0
    shown = capsys.readouterr().out
    for network in cuda.NETWORKS:
        assert f"## {network}" in shown
    for name in cuda.CONTESTANTS:
        assert shown.count(f"| {name} | ") == 3
    assert shown.count("for the first step") == 3
    assert "n/a" not in shown


def test_what_does_not_run_is_named(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(model: Any) -> Any:
        raise RuntimeError("no compiler")

    monkeypatch.setattr(torch, "compile", broken)
    monkeypatch.setitem(sys.modules, "liger_kernel.transformers", None)
    assert cuda.main(["--dry-run", "--rounds", "2", "--model", "gpt2", "--without", "off"]) == 0
    shown = capsys.readouterr().out
    assert "compile: n/a, failed: RuntimeError" in shown
    assert "liger: n/a, " in shown
    assert "| off |" not in shown


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
def test_without_a_gpu_it_refuses(capsys: pytest.CaptureFixture[str]) -> None:
    assert cuda.main([]) == 2
    assert "torch sees none" in capsys.readouterr().err


def test_targets_and_ratios() -> None:
    found = cuda.Found(
        {"eager": [1.0, 1.0], "exact": [0.9, 0.9]},
        {"eager": 2**30, "exact": 2**29},
        {"eager": 2**30, "exact": 3 * 2**28},
    )
    text = cuda.summary({"net": found})
    assert "| exact | 900 ms | 0.90 (0.90 to 0.90) | 512 MiB (0.50) | 768 MiB (0.75) |" in text
    assert "time at most 0.9: met" in text
    assert "kept at most 0.6: met" in text
    found.seconds["exact"], found.kept["exact"] = [1.1, 1.1], 2**30
    assert cuda.summary({"net": found}).count("missed") == 2
