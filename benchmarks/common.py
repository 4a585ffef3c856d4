"""Timing two things in one process, and writing what was measured as Markdown, JSON and a plot."""

from __future__ import annotations

import json
import os
import platform
import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch

RESULTS = Path(__file__).with_name("results")


def interleaved(steps: Mapping[str, Callable[[], Any]], rounds: int, warm_up: int = 5) -> dict[str, list[float]]:
    """Seconds of every call, the contestants taking turns so that a noisy moment hits all of them alike."""
    times: dict[str, list[float]] = {name: [] for name in steps}
    for i in range(rounds + warm_up):
        order = list(steps.items())
        for name, step in order if i % 2 else reversed(order):
            start = time.perf_counter()
            step()
            if torch.cuda.is_available():
                torch.cuda.synchronize()
            if i >= warm_up:
                times[name].append(time.perf_counter() - start)
    return times


def ratio(ours: Sequence[float], theirs: Sequence[float]) -> tuple[float, float, float]:
    """Median of ours over median of theirs, and the quartiles of the paired ratios."""
    quarters = statistics.quantiles([a / b for a, b in zip(ours, theirs, strict=True)], n=4)
    return statistics.median(ours) / statistics.median(theirs), quarters[0], quarters[2]


def machine() -> dict[str, Any]:
    """What a number was measured on."""
    model = platform.processor() or platform.machine()
    info = Path("/proc/cpuinfo")
    if info.exists():
        lines = [line for line in info.read_text().splitlines() if line.startswith("model name")]
        model = lines[0].split(":", 1)[1].strip() if lines else model
    return {
        "cpu": model,
        "cores": os.cpu_count(),
        "threads": torch.get_num_threads(),
        "gpu": torch.cuda.get_device_name() if torch.cuda.is_available() else None,
        "torch": torch.__version__,
        "python": platform.python_version(),
    }


def table(header: Sequence[str], rows: Sequence[Sequence[Any]]) -> str:
    """A Markdown table."""
    lines = ["| " + " | ".join(header) + " |", "|" + "---|" * len(header)]
    return "\n".join(lines + ["| " + " | ".join(str(cell) for cell in row) + " |" for row in rows])


def write(name: str, title: str, body: str, data: Any) -> None:
    """`results/<name>.md` and `.json`, whole or not at all."""
    RESULTS.mkdir(exist_ok=True)
    where = machine()
    facts = f"{where['cpu']}, {where['threads']} threads, torch {where['torch']}" + (
        f", {where['gpu']}" if where["gpu"] else ""
    )
    save(RESULTS / f"{name}.md", f"# {title}\n\n{facts}\n\n{body}\n")
    save(RESULTS / f"{name}.json", json.dumps({"machine": where, "results": data}, indent=1) + "\n")


def save(path: Path, text: str) -> None:
    temporary = path.with_name(f".{path.name}")
    temporary.write_text(text)
    os.replace(temporary, path)
