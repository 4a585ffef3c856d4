"""The tables of the guides show the numbers of benchmarks/results."""

from __future__ import annotations

from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
RESULTS = ROOT / "benchmarks" / "results"
GUIDES = ROOT / "docs" / "guides"
NETWORKS = {"MLP": "mlp", "ResNet-18": "resnet18", "MLP-Mixer S/16": "mixer-s16", "ViT tiny": "vit-tiny", "GPT": "gpt",
            "UNet": "unet", "small MLP": "mlp-small"}  # fmt: skip
RECURRENT = {"LSTM": "LSTM, float32", "LSTM, `segment = 16`": "LSTM, float32, segment 16", "GRU": "GRU, float32",
             "GRU, `segment = 16`": "GRU, float32, segment 16", "RNN": "RNN, float32"}  # fmt: skip
GROUPS = {"activations": "activation", "norms": "norm", "linear and convolution": "linear and convolution"}


def rows(path: Path) -> list[list[str]]:
    """The cells of all tables of a page, each cut off at a bracket."""
    lines = [line for line in path.read_text(encoding="utf-8").splitlines() if line.startswith("| ")]
    return [[cell.partition(" (")[0].strip() for cell in line.strip("| ").split(" | ")] for line in lines]


def steps() -> dict[str, dict[str, str]]:
    """Network -> ratios of time and bytes, in each mode of saving."""
    found: dict[str, dict[str, str]] = {}
    for name, _, first, second, *others in rows(RESULTS / "steps.md"):
        if name not in found:
            found[name] = {"time exact": first, "time off": second, "milliseconds": _}
        else:
            found[name] |= {"bytes exact": first, "bytes off": second, "bytes int4": others[-1]}
    return found


def two(number: str) -> str:
    return f"{float(number):.2f}"


@pytest.mark.parametrize("name", [name for name in NETWORKS if name != "MLP"])
def test_saving_memory(name: str) -> None:
    shown = {row[0]: row[1:] for row in rows(GUIDES / "saving_memory.md") if len(row) == 6}
    m = steps()[NETWORKS[name]]
    times, kept = (m["time off"], m["time exact"]), [two(m[f"bytes {mode}"]) for mode in ("off", "exact", "int4")]
    assert shown[name] == [kept[0], times[0], kept[1], times[1], kept[2]]


@pytest.mark.parametrize("name", [name for name in NETWORKS if name != "UNet"])
def test_comparison(name: str) -> None:
    shown = {row[0]: row[1:] for row in rows(GUIDES / "comparison.md") if len(row) == 4}
    m = steps()[NETWORKS[name]]
    label = f"small MLP of {m['milliseconds'].removesuffix(' µs')} microseconds" if name == "small MLP" else name
    assert shown[label] == [m["time exact"], m["time off"], two(m["bytes exact"])]


@pytest.mark.parametrize("name", RECURRENT)
def test_recurrent(name: str) -> None:
    shown = {row[0]: row[1:] for row in rows(GUIDES / "saving_memory.md") if len(row) == 3}
    measured = {row[0]: row for row in rows(RESULTS / "recurrent.md")}[RECURRENT[name]]
    assert shown[name] == [measured[1], measured[5]]


@pytest.mark.parametrize("name", GROUPS)
def test_groups_of_layers(name: str) -> None:
    shown = {row[0]: row[1:] for row in rows(GUIDES / "comparison.md") if len(row) == 4}
    assert shown[name] == [row[2] for row in rows(RESULTS / "layers.md") if row[0] == GROUPS[name]]
