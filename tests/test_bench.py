"""The benchmark as a tool: turns, ratios, verdicts, files, the command. No test here says how fast anything is."""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F

import benchmarks.common
import benchmarks.growth
import benchmarks.layers
import benchmarks.steps
import manual_backprop as mb
from manual_backprop.bench import layers, rows, steps
from manual_backprop.bench.networks import NETWORKS, Network
from manual_backprop.bench.peers import PEERS
from manual_backprop.bench.timing import Ratio, duration, interleaved, ratio, threads, turns
from manual_backprop.cli import main

WITHOUT_ROW = {
    "Flatten",  # these three compute nothing
    "Identity",
    "Unflatten",
    "LinearCrossEntropyLoss",  # benchmarks/vocabulary.py
    "Transformer",  # these three are stacks of layers that have rows
    "TransformerDecoder",
    "TransformerEncoder",
}


def row(name: str) -> rows.Row:
    return next(r for r in rows.rows() if r.name == name)


def measured(layer: str, both: float, size: str = "64k", group: str = "activation") -> layers.Measured:
    """A layer whose torch takes 1 ms and that is `both` times as fast."""
    speed = {part: Ratio(both, 0.9 * both, 1.1 * both) for part in layers.PARTS}
    target = rows.Row(layer, group, rows.MATRIX).target(size)
    times = {part: 1e-3 for part in layers.PARTS}
    ours = {part: 1e-3 / both for part in layers.PARTS}
    return layers.Measured(layer, group, size, (512, 128), target, 7, ours, times, speed)


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


def test_contestants_take_turns_and_the_order_turns_around() -> None:
    calls: list[str] = []

    def contestant(name: str) -> Any:
        return lambda: calls.append(name) or len(calls)

    found = turns({"a": contestant("a"), "b": contestant("b")}, rounds=4, warm_up=1)
    assert "".join(calls) == "ab" + "ba" + "ab" + "ba" + "ab"
    assert found == {"a": [4, 5, 8, 9], "b": [3, 6, 7, 10]}


def test_rounds_fill_the_budget_but_are_never_too_few() -> None:
    assert len(turns({"a": lambda: time.sleep(0.02)}, budget=0.0)["a"]) == 5
    assert 6 <= len(turns({"a": lambda: time.sleep(0.02)}, budget=0.3)["a"]) <= 16
    assert len(turns({"a": lambda: None}, rounds=3, budget=0.0)["a"]) == 3


def test_a_slowed_contestant_is_seen_to_be_slow() -> None:
    times = interleaved({"slow": lambda: time.sleep(0.01), "quick": lambda: None}, rounds=5)
    assert ratio(times["quick"], times["slow"]).value < 0.5
    assert ratio(times["slow"], times["quick"]).value > 2


def test_a_slowed_layer_misses_its_target() -> None:
    step = layers.step(row("Tanh"), torch.nn, "tiny")

    def slow() -> tuple[float, float, float]:
        forward, backward, _ = step()
        return forward + 0.1, backward, forward + backward + 0.1

    found = layers.compare(row("Tanh"), "tiny", slow, step, rounds=3)
    assert found.speed["forward"].value < 0.5
    assert found.speed["both"].value < rows.TINY
    assert not found.met
    assert found.cells()[-1] == "missed"
    assert layers.compare(row("Tanh"), "tiny", step, slow, rounds=3).met


def test_the_seconds_of_a_layer_add_up() -> None:
    forward, backward, both = layers.step(row("LayerNorm"), mb.nn, "tiny")()
    assert min(forward, backward) > 0
    assert both == pytest.approx(forward + backward)


def test_a_ratio_is_of_the_medians_and_its_quartiles_of_the_pairs() -> None:
    found = ratio([2.0, 4.0, 6.0, 100.0, 8.0], [1.0, 2.0, 2.0, 2.0, 2.0])
    assert found == Ratio(3.0, 2.0, 27.0)  # pairs 2, 2, 3, 4, 50
    assert str(found) == "3.00 (2.00 to 27.00)"
    assert ratio([3.0], [2.0]) == Ratio(1.5, 1.5, 1.5)


def test_durations_as_people_read_them() -> None:
    assert [duration(s) for s in (5e-6, 2.34e-3, 0.5, 12.3, 1234.0)] == [
        "5 µs",
        "2.34 ms",
        "500 ms",
        "12.3 s",
        "1234 s",
    ]


def test_threads_are_given_back() -> None:
    before = torch.get_num_threads()
    with threads(before + 1):
        assert torch.get_num_threads() == before + 1
    with threads(None):
        assert torch.get_num_threads() == before
    assert torch.get_num_threads() == before


@pytest.mark.parametrize("chosen", rows.rows(), ids=lambda r: r.name)
def test_every_row_is_the_same_problem_for_both(chosen: rows.Row) -> None:
    shape = chosen.shapes["tiny"]
    ours, theirs = (chosen.make(nn, shape) for nn in (mb.nn, torch.nn))
    assert type(ours) is not type(theirs)
    for a, b in zip(ours.parameters(), theirs.parameters(), strict=True):
        assert torch.equal(a, b)
    for nn in (mb.nn, torch.nn):
        assert min(layers.step(chosen, nn, "tiny")()) > 0
    largest = {size: torch.Size(s).numel() for size, s in chosen.shapes.items()}
    assert largest == rows.SIZES


def test_every_layer_has_a_row() -> None:
    def is_layer(name: str) -> bool:
        ours = getattr(mb.nn, name)
        return isinstance(ours, type) and ours is not getattr(torch.nn, name, None) and not name.startswith("Lazy")

    assert {name for name in mb.nn.__all__ if is_layer(name)} - {r.layer for r in rows.ROWS} <= WITHOUT_ROW


def test_met_and_missed_are_judged_by_the_number_that_is_shown() -> None:
    assert measured("ReLU", 0.95).met
    assert measured("ReLU", 0.9451).met
    assert not measured("ReLU", 0.944).met
    assert measured("ReLU", 0.67, "tiny").met
    assert not measured("ReLU", 0.66, "tiny").met
    assert not measured("LayerNorm", 1.19, group="norm").met
    assert measured("ReLU", 2.0).cells() == (
        "ReLU", "512 x 128", "1 ms", "500 µs", "2.00", "2.00", "2.00 (1.80 to 2.20)", "0.95", "met",
    )  # fmt: skip


def test_geometric_means_have_their_own_targets() -> None:
    found = [measured("ReLU", 2.0), measured("Mish", 0.5), measured("LayerNorm", 3.0, group="norm")]
    assert layers.mean_cells(found) == [("activation", "2", "1.00", "1.30", "missed"), ("norm", "1", "3.00", "-", "-")]
    assert layers.mean_cells([measured("ReLU", 1.3)])[0][-1] == "met"
    assert layers.mean_cells([measured("ReLU", 1.3, "4M")])[0] == ("activation", "1", "1.30", "1.80", "missed")
    assert layers.missed(found) == "2 of 3 rows meet their target; missed: Mish 0.50."


def test_the_report_shows_what_is_slow() -> None:
    text = benchmarks.layers.report([measured("Mish", 0.5), measured("ReLU", 2.0, "4M")])
    assert "| Mish | 512 x 128 | 1 ms | 2 ms | 0.50 | 0.50 | 0.50 (0.45 to 0.55) | 0.95 | missed |" in text
    assert text.index("## 64k: 65,536 numbers") < text.index("## 4M: 4,194,304 numbers")
    assert "1 of 1 rows meet their target." in text


def test_a_dtype_that_does_not_exist_there_is_named() -> None:
    with pytest.raises(mb.errors.BadInput, match=r"Bilinear cannot run in torch.int32 on cpu"):
        layers.measure(row("Bilinear"), "tiny", dtype=torch.int32)


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
    assert found.notes() == [
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
    assert "| mlp | 1 s | 0.80 (0.80 to 0.80) | 1.00 (1.00 to 1.00) | - | - | exact at most 1.00: met |" in text
    assert "| gpt | 1 s | 1.25 (1.25 to 1.25) | 1.00 (1.00 to 1.00) | n/a | - | exact at most 1.00: missed |" in text
    assert "time 1.000 (at most 0.95: missed), bytes 0.500 (at most 0.6: met)" in text
    assert "n/a: autograd of gpt, gone." in text


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
    monkeypatch.setattr(benchmarks.layers, "rows", lambda: [row("ReLU"), row("GELU(tanh)")])
    monkeypatch.setattr(rows, "SIZES", {"tiny": 64})
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


def test_the_command_for_a_layer(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "layer.json"
    assert main(["bench", "--layer", "Hardtanh", "--rounds", "2", "--threads", "1", "--json", str(file)]) == 0
    out = capsys.readouterr().out
    assert "both (quartiles)" in out
    assert "4096 x 1024" in out
    found = json.loads(file.read_text())
    assert found["machine"]["threads"] == 1
    assert [r["size"] for r in found["results"]] == ["tiny", "64k", "4M"]
    for r in found["results"]:
        assert r.keys() == {"layer", "group", "size", "shape", "target", "rounds", "ours", "torch", "speed", "met"}
        assert (r["layer"], r["rounds"]) == ("Hardtanh", 2)
        for part in layers.PARTS:
            assert r["ours"][part] > 0
            assert r["speed"][part].keys() == {"value", "low", "high"}
        assert r["met"] == (round(r["speed"]["both"]["value"], 2) >= r["target"])


def test_the_command_for_a_network(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "step.json"
    assert main(["bench", "--model", "mlp-gelu", "--rounds", "1", "--dtype", "float64", "--json", str(file)]) == 0
    assert "over eager (quartiles)" in capsys.readouterr().out
    found = json.loads(file.read_text())["results"]["mlp-gelu"]
    assert found["seconds"].keys() == set(steps.CONTESTANTS)
    assert found["bytes"]["exact"] < found["bytes"]["eager"]


def test_the_command_for_a_network_by_import_path(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["bench", "--model", "torchvision.models.squeezenet1_1", "--input", "2,3,32,32", "--rounds", "1"]) == 0
    assert "checkpoint: n/a, the network is no Sequential of blocks" in capsys.readouterr().out
    assert main(["bench", "--model", "cnn", "--input", "2,1,28,28", "--rounds", "1"]) == 0


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--layer", "Gelu"], "Unknown layer 'Gelu'. Did you mean 'GELU'? Known: ReLU, LeakyReLU, "),
        (["--layer", "LSTM"], "Unknown layer 'LSTM'"),
        (["--layer", "ReLU", "--rounds", "0"], "bench.rounds=0: give 1 or more."),
        (["--layer", "ReLU", "--threads", "0"], "bench.threads=0: give 1 or more."),
        (["--layer", "ReLU", "--compile"], "--compile and --input go with --model"),
        (["--model", "gtp"], "Unknown network 'gtp'. Did you mean 'gpt'? Known: mlp, "),
        (["--model", "mlp", "--input", "2,3"], "mlp brings a batch of its own"),
        (["--model", "cnn"], "--model cnn wants --input: expected positive sizes"),
        (["--model", "cnn", "--input", "2,x"], "--input '2,x': expected positive sizes"),
        (["--model", "torchvision.models.resnet81", "--input", "2,3,8,8"], "Did you mean 'resnet18'?"),
        (
            ["--model", "torchvision.models.resnet18", "--input", "2,1,64,64"],
            "cannot run on a batch of sizes 2,1,64,64",
        ),
        (["--model", "torch.nn.Identity", "--input", "2,1,8,8"], "gives (2, 1, 8, 8) for 2 inputs, expected logits"),
    ],
)
def test_bad_input(options: list[str], message: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["bench", *options]) == 2
    assert message in capsys.readouterr().err


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU here")
def test_without_a_gpu(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["bench", "--layer", "ReLU", "--device", "cuda"]) == 2
    assert "sees no CUDA device" in capsys.readouterr().err


def test_the_networks_of_the_targets_are_there() -> None:
    assert set(benchmarks.steps.SIX) <= set(NETWORKS)
