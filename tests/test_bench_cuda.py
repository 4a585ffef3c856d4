"""benchmarks/cuda.py and gpu.py without a GPU: every contestant on tiny networks, every part, tables and refusals."""

from __future__ import annotations

import importlib.util
import sys
import types
from pathlib import Path
from typing import Any

import pytest
import torch

from benchmarks import cuda, gpu

WITH_TRITON = pytest.mark.skipif(
    importlib.util.find_spec("triton") is None, reason="the package triton is not installed"
)


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


def test_one_that_fails_stops_no_other(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(model: Any) -> Any:
        raise RuntimeError("no rule")

    monkeypatch.setattr(cuda.mb, "convert", broken)
    arguments = "--dry-run", "--rounds", "2", "--model", "vit-s16", "--without", "compile", "--without", "liger"
    assert cuda.main(arguments) == 1
    shown = capsys.readouterr()
    assert "| eager |" in shown.out
    assert "exact: n/a, failed: RuntimeError" in shown.out
    assert "no rule" in shown.err


def test_a_profile_names_kernels_and_their_time(monkeypatch: pytest.MonkeyPatch) -> None:
    class Event:
        def __init__(self, key: str, microseconds: float) -> None:
            self.key, self.count, self.self_device_time_total = key, 3, microseconds
            kinds = torch.profiler.DeviceType
            self.device_type = kinds.CPU if key.startswith("aten") else kinds.CUDA

    events = [Event("aten::mm", 4000.0), Event("small", 1000.0), Event("large", 4000.0)]
    monkeypatch.setattr(torch.profiler.profile, "key_averages", lambda self: events)
    text = cuda.profile(lambda: None, "cpu")
    assert text.startswith("5 ms of kernels in a step of ")
    assert text.splitlines()[-2:] == ["| large | 3 | 4 ms |", "| small | 3 | 1 ms |"]


@pytest.mark.slow
@WITH_TRITON
@pytest.mark.usefixtures("fake_gpu")
def test_every_part_runs_dry(capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gpu, "write", lambda *args: pytest.fail("a dry run writes nothing"))
    assert gpu.main(["--dry-run"]) == 0
    shown = capfd.readouterr().out
    assert shown.count("| passed |") == len(gpu.PARTS)
    assert shown.count("== ") >= len(gpu.PARTS)


def test_the_parts_fit_into_eight_minutes_and_have_every_test() -> None:
    assert sum(part.limit for part in gpu.PARTS.values()) <= 8 * 60
    named = {argument for part in gpu.PARTS.values() for argument in part.command if argument.startswith("tests/")}
    root = Path(__file__).parents[1]
    marked = {str(p.relative_to(root)) for p in root.glob("tests/**/test_*.py") if "mark.gpu" in p.read_text()}
    assert marked - {str(Path(__file__).relative_to(root))} == named - {str(Path(__file__).relative_to(root))}


FAILING = """
import time
def test_good(): pass
def test_bad(): assert 1 == 2, "one | two"
"""
HANGING = """
import time
def test_good(): pass
def test_bad(): assert 3 == 4
def test_endless(): time.sleep(600)
"""


def test_a_part_that_fails_or_hangs_stops_no_other(
    tmp_path: Path, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, text in (("failing", FAILING), ("hanging", HANGING)):
        (tmp_path / f"test_{name}.py").write_text(text)

    def part(name: str, limit: float) -> gpu.Part:
        options = "-p", "benchmarks.records", "-q", "-c", "/dev/null", f"--rootdir={tmp_path}", "-p", "no:cacheprovider"
        return gpu.Part(f"{name} tests", limit, ("pytest", str(tmp_path / f"test_{name}.py"), *options), ())

    script = gpu.Part("no tests", 60, ("this",), ())
    monkeypatch.setattr(gpu, "PARTS", {"a": part("hanging", 15), "b": part("failing", 60), "c": script})
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    written: list[Any] = []
    monkeypatch.setattr(gpu, "write", lambda *args: written.append(args))
    assert gpu.main(["--workers", "0"]) == 1
    (name, _, text, data) = written[0]
    assert name == "gpu"
    assert "| a | hanging tests | stopped at its limit of 15 s | 1 passed, 1 failed |" in text
    assert "| b | failing tests | failed (exit status 1) | 1 passed, 1 failed |" in text
    assert "- `test_failing.py::test_bad`: AssertionError: one | two assert 1 == 2" in text
    assert data["a"]["failed"] == {"test_hanging.py::test_bad": "assert 3 == 4"}
    assert "assert 3 == 4" in capfd.readouterr().out  # which pytest, killed, has not shown
    assert data["c"]["status"] == "passed"


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
def test_the_parts_refuse_without_a_gpu(capsys: pytest.CaptureFixture[str]) -> None:
    assert gpu.main([]) == 2
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
