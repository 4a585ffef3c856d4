"""The benchmark as a tool: turns, ratios, verdicts, the command. No test here says how fast anything is."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
import torch

import benchmarks.layers
import manual_backprop as mb
from manual_backprop.bench import layers, rows, steps
from manual_backprop.bench.timing import (
    Ratio,
    disturbed,
    duration,
    interleaved,
    ratio,
    spread,
    threads,
    turns,
)
from manual_backprop.cli import main


def row(name: str) -> rows.Row:
    return next(r for r in rows.rows() if r.name == name)


def measured(
    layer: str, both: float, size: str = "64k", group: str = "activation", spread: float = 1.1
) -> layers.Measured:
    """A layer whose torch takes 1 ms and that is `both` times as fast."""
    speed = {part: Ratio(both, 0.9 * both, 1.1 * both) for part in layers.PARTS}
    target = rows.Row(layer, group, rows.MATRIX).target(size)
    times = {part: 1e-3 for part in layers.PARTS}
    ours = {part: 1e-3 / both for part in layers.PARTS}
    return layers.Measured(layer, group, size, (512, 128), target, 7, ours, times, speed, spread)


def test_contestants_take_turns_and_the_order_turns_around() -> None:
    calls: list[str] = []

    def contestant(name: str) -> Any:
        return lambda: calls.append(name) or len(calls)

    found = turns({"a": contestant("a"), "b": contestant("b")}, rounds=4, warm_up=1)
    assert "".join(calls) == "ab" + "ba" + "ab" + "ba" + "ab"
    assert found == {"a": [4, 5, 8, 9], "b": [3, 6, 7, 10]}


def test_a_contestant_may_lead_itself_in() -> None:
    calls: list[str] = []
    found = turns({n: lambda n=n: calls.append(n) or len(calls) for n in "ab"}, rounds=2, warm_up=0, lead=1)
    assert "".join(calls) == "bbaa" + "aabb"
    assert found == {"a": [4, 6], "b": [2, 8]}


def test_memory_that_is_freed_stays() -> None:
    """Written to again, it costs no page faults; where the C library is not glibc nothing is promised."""
    code = """
import resource, torch
from manual_backprop.bench.timing import keep_freed
def faults():
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    torch.ones(2**24)
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before
print(faults(), faults(), int(keep_freed()), *[faults() for _ in range(4)])
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=120)
    *given_back, kept, _, _, _, stayed = map(int, done.stdout.split())  # in turns at one of two places, at times
    if kept:
        assert min(given_back) > 100, "64 MiB are 16,384 pages, or 32 huge ones"
        assert stayed < 20


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
    numbers = {size: torch.Size(s).numel() for size, s in chosen.shapes.items()}
    if chosen in rows.ROWS:
        assert numbers == rows.SIZES
    else:  # whole batches of a case
        assert all(size / 2 < numbers[name] <= size for name, size in rows.SIZES.items())


def test_every_layer_has_a_row() -> None:
    without = set(mb.nn._LAYERS) - {r.layer for r in rows.rows()}
    assert {name for name in without if not name.startswith("Lazy")} == rows.LEFT_OUT


@pytest.mark.parametrize("layer", ["MSELoss", "CrossEntropyLoss", "BatchNorm2d", "Softsign", "PReLU"])
def test_a_layer_without_a_row_is_measured_on_its_first_case(layer: str, monkeypatch: pytest.MonkeyPatch) -> None:
    others = [r for r in rows.ROWS if r.layer != layer]
    monkeypatch.setattr(rows, "ROWS", others)
    (derived,) = [r for r in rows.rows() if r.name == layer]
    assert derived.group == ("activation" if layer in ("Softsign", "PReLU") else "other")
    for size, numbers in rows.SIZES.items():
        inputs = derived.inputs(derived.shapes[size])
        assert inputs[0].shape == derived.shapes[size]
        assert numbers / 2 <= inputs[0].numel() <= max(numbers, 200)
    found = layers.measure(derived, "tiny", rounds=2)
    assert set(found.ours) == set(layers.PARTS)


def test_met_and_missed_are_judged_by_the_number_that_is_shown() -> None:
    assert measured("ReLU", 0.95).met
    assert measured("ReLU", 0.9451).met
    assert not measured("ReLU", 0.944).met
    assert measured("ReLU", 0.95, "tiny").met
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


def test_a_busy_machine_is_called_one() -> None:
    found = [measured("ReLU", 1.0), measured("Mish", 1.0, spread=2.1)]
    assert disturbed([1.1, 2.0]) == ""
    assert disturbed([1.1, 2.1]).startswith(
        "The machine was busy: in 1 of 2 rows a median is more than 2 times the fastest"
    )
    assert spread([1.0, 2.0, 3.0], [2.0, 5.0, 5.0]) == 2.5
    assert "The machine was busy" in benchmarks.layers.report(found)
    assert "The machine was busy" not in benchmarks.layers.report(found[:1])

    seconds = iter([9.0, 9.0, 1.0, *[3.0] * 5])  # the first two warm up
    step = layers.step(row("Tanh"), torch.nn, "tiny")
    assert layers.compare(row("Tanh"), "tiny", lambda: (1.0, 1.0, next(seconds)), step, rounds=6).spread >= 3


def test_a_dtype_that_does_not_exist_there_is_named() -> None:
    with pytest.raises(mb.errors.BadInput, match=r"Bilinear cannot run in torch.int32 on cpu"):
        layers.measure(row("Bilinear"), "tiny", dtype=torch.int32)


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
        numbers = {"target", "rounds", "ours", "torch", "speed", "spread", "met"}
        assert r.keys() == {"layer", "group", "size", "shape", *numbers}
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
    assert "checkpoint: n/a, the network is not a Sequential of blocks" in capsys.readouterr().out
    assert main(["bench", "--model", "cnn", "--input", "2,1,28,28", "--rounds", "1"]) == 0


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--layer", "Gelu"], "Unknown layer 'Gelu'. Did you mean 'GELU'? Known: ReLU, LeakyReLU, "),
        (["--layer", "Sigmoids"], "Unknown layer 'Sigmoids'"),
        (["--layer", "ReLU", "--rounds", "0"], "bench.rounds=0: give 1 or more."),
        (["--layer", "ReLU", "--threads", "0"], "bench.threads=0: give 1 or more."),
        (["--layer", "ReLU", "--compile"], "--compile and --input need --model"),
        (["--model", "gtp"], "Unknown network 'gtp'. Did you mean 'gpt'? Known: mlp, "),
        (["--model", "mlp", "--input", "2,3"], "mlp has its own batch"),
        (["--model", "cnn"], "--model cnn needs --input: expected positive sizes"),
        (["--model", "cnn", "--input", "2,x"], "--input '2,x': expected positive sizes"),
        (["--model", "torchvision.models.resnet81", "--input", "2,3,8,8"], "Did you mean 'resnet18'?"),
        (
            ["--model", "torchvision.models.resnet18", "--input", "2,1,64,64"],
            "cannot run on a batch of sizes 2,1,64,64",
        ),
        (["--model", "torch.nn.Identity", "--input", "2,1,8,8"], "gives (2, 1, 8, 8) for 2 inputs. expected: logits"),
    ],
)
def test_bad_input(options: list[str], message: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["bench", *options]) == 2
    assert message in capsys.readouterr().err


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU here")
def test_without_a_gpu(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["bench", "--layer", "ReLU", "--device", "cuda"]) == 2
    assert "sees no CUDA device" in capsys.readouterr().err
