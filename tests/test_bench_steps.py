"""Benchmarks of training steps: contestants, peers, growth, and the files that are written. Nothing says how fast."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F

import benchmarks.common
import benchmarks.growth
import benchmarks.layers
import benchmarks.steps
from manual_backprop.bench import rows, steps
from manual_backprop.bench.networks import NETWORKS, Network
from manual_backprop.bench.peers import PEERS


def small() -> Network:
    """A network whose step takes no time, yet large enough for recipes."""
    return Network(
        lambda: torch.nn.Sequential(torch.nn.Linear(8, 256), torch.nn.GELU(), torch.nn.Linear(256, 4)),
        lambda: torch.randn(64, 8),
        lambda: torch.randint(4, (64,)),
    )


def perceptron() -> Network:
    return Network(
        lambda: torch.nn.Sequential(torch.nn.Linear(8, 16), torch.nn.ReLU(), torch.nn.Linear(16, 4)).double(),
        lambda: torch.randn(6, 8, dtype=torch.float64),
        lambda: torch.randint(4, (6,)),
    )


@pytest.mark.parametrize("name", PEERS)
def test_the_gradients_of_a_peer_are_torchs(name: str) -> None:
    network = perceptron()
    model, x, y = network.build(), network.input(), network.target()
    try:
        gradients = PEERS[name](model, x, y)()
    except ImportError as error:
        pytest.skip(str(error))
    F.cross_entropy(model(x), y).backward()
    linears = model[::2]
    expected = [*(layer.weight.grad.T for layer in linears), *(layer.bias.grad for layer in linears)]
    for found, wanted in zip(gradients, expected, strict=True):
        np.testing.assert_allclose(found, wanted.numpy(), rtol=1e-12, atol=1e-14)


def test_a_peer_that_is_not_installed_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    for module in ("sklearn.neural_network", "autograd.numpy"):
        monkeypatch.setitem(sys.modules, module, None)
    found = steps.measure(perceptron(), ("eager", *PEERS), rounds=1, dtype=torch.float64)
    assert list(found.seconds) == ["eager"]
    assert found.notes()[:2] == [
        "scikit-learn: n/a, scikit-learn is not installed",
        "autograd: n/a, autograd is not installed",
    ]


def test_a_step_of_every_contestant(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch, "compile", lambda model: model)
    found = steps.measure(small(), (*steps.CONTESTANTS, "compile", *PEERS), rounds=2)
    assert list(found.seconds) == [*steps.CONTESTANTS, "compile"]  # no peer knows GELU
    assert {len(seconds) for seconds in found.seconds.values()} == {2}
    # here the same network as eager, counted another way: the labels, alive anyway, and a total weight are the rest
    assert 0 <= found.bytes["eager"] - found.bytes["compile"] <= 8 * 64 + 4
    assert found.bytes["exact"] < found.bytes["off"] <= found.bytes["eager"]
    assert found.compiling is not None
    assert json.loads(json.dumps(found.json()))["seconds"]["exact"]["over eager"].keys() == {"value", "low", "high"}


def test_a_compiler_that_fails_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    class Broken(torch.nn.Sequential):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            raise KeyError("no compiler")

    monkeypatch.setattr(torch, "compile", Broken)
    found = steps.measure(small(), ("eager", "compile"), rounds=1)
    assert found.missing == {"compile": "torch.compile failed: KeyError"}
    assert list(found.seconds) == ["eager"]


def test_the_summary_of_steps_judges_by_given_numbers() -> None:
    kept = {"eager": 100, "exact": 50, "off": 100, "bf16": 40, "int8": 30, "int4": 20}
    results = {
        "mlp": steps.Step({"eager": [1.0] * 4, "exact": [0.8] * 4, "off": [1.0] * 4}, kept),
        "gpt": steps.Step({"eager": [1.0] * 4, "exact": [1.25] * 4, "off": [1.0] * 4}, kept, {"autograd": "gone"}),
    }
    text = benchmarks.steps.summary(results)
    assert "| mlp | 1 s | 0.80 (0.80 to 0.80) | 1.00 (1.00 to 1.00) | - | - | exact at most 1.02: met |" in text
    small = benchmarks.steps.summary({"unet": results["gpt"]})
    assert "exact at most 1.05: missed" in small
    assert "| gpt | 1 s | 1.25 (1.25 to 1.25) | 1.00 (1.00 to 1.00) | n/a | - | exact at most 1.02: missed |" in text
    assert "time 1.000 (at most 0.97: missed), bytes 0.500 (at most 0.57: met)" in text
    assert "n/a: autograd of gpt, gone." in text
    assert "busy" not in text
    results["mlp"].seconds["off"][0] = 0.4
    assert "The machine was busy: in 1 of 2 rows" in benchmarks.steps.summary(results)


def test_the_exponent_is_that_of_the_upper_half() -> None:
    xs = [1, 2, 4, 8, 16, 32]
    assert benchmarks.growth.exponent(xs, [3 * x**2 for x in xs]) == pytest.approx(2)
    assert benchmarks.growth.exponent(xs, [5 * x**-0.5 for x in xs]) == pytest.approx(-0.5)
    assert benchmarks.growth.exponent(xs, [7, 7, 7, 8, 16, 32]) == pytest.approx(1)  # below is the cost of calls
    assert benchmarks.growth.exponent([4, 1], [16, 1]) == pytest.approx(2)


def test_growth_of_given_numbers() -> None:
    def step(x: int) -> steps.Step:
        times = {"eager": [1e-3 * x**2] * 4, "exact": [1e-3 * x] * 4}
        return steps.Step(times, {"eager": 2048 * x, "exact": 1024 * x})

    text = benchmarks.growth.report({"width": {x: step(x) for x in (1, 2, 4, 8)}})
    assert "| exponent of the upper half of the points | manual_backprop | torch.nn, eager |" in text
    assert "| time against width | 1.00 | 2.00 |" in text
    assert "| bytes against width | 1.00 | 1.00 |" in text
    assert "| 4 | 4 ms | 16 ms | 4.0 KiB | 8.0 KiB | 0.25 | 0.50 |" in text


@pytest.fixture
def results(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    monkeypatch.setattr(benchmarks.common, "RESULTS", tmp_path / "results")
    return tmp_path / "results"


def arguments(monkeypatch: pytest.MonkeyPatch, *given: str) -> None:
    monkeypatch.setattr(sys, "argv", ["benchmark", *given])


def test_the_benchmarks_write_their_files(results: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(benchmarks.layers, "rows", lambda: [r for r in rows.ROWS if r.name in ("ReLU", "GELU(tanh)")])
    monkeypatch.setattr(benchmarks.layers, "SIZES", {"tiny": 64})
    arguments(monkeypatch, "--budget", "0")
    benchmarks.layers.main()
    monkeypatch.setattr(benchmarks.steps, "NETWORKS", {"mlp": small()})
    arguments(monkeypatch, "--rounds", "2")
    benchmarks.steps.main()
    monkeypatch.setattr(benchmarks.growth, "POINTS", {"depth": (1, 2, 3)})
    monkeypatch.setattr(benchmarks.growth, "BASE", {"batch": 4, "width": 8, "depth": 1})
    arguments(monkeypatch, "--budget", "0")
    benchmarks.growth.main()
    for name in ("layers", "steps", "growth"):
        assert (results / f"{name}.png").read_bytes().startswith(b"\x89PNG")
        text = (results / f"{name}.md").read_text()
        assert f"torch {torch.__version__}" in text
        assert f"]({name}.png)" in text
        found = json.loads((results / f"{name}.json").read_text())
        assert found["machine"]["torch"] == torch.__version__
        assert found["machine"]["threads"] == torch.get_num_threads()
        assert found["results"]
    assert [r["layer"] for r in json.loads((results / "layers.json").read_text())["results"]] == ["ReLU", "GELU(tanh)"]


def test_the_networks_of_the_targets_are_there() -> None:
    assert set(benchmarks.steps.SIX) <= set(NETWORKS)
