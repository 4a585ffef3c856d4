"""Writes results as Markdown, JSON and bar charts."""

from __future__ import annotations

import io
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from manual_backprop._files import write_atomically
from manual_backprop._style import BLUE, DPI, INK, MUTED, ORANGE, SETTINGS
from manual_backprop.bench.timing import interleaved, machine, ratio, table

__all__ = ["RESULTS", "bars", "draw", "interleaved", "machine", "ratio", "table", "write"]

RESULTS = Path(__file__).with_name("results")


def write(name: str, title: str, body: str, data: Any) -> None:
    """Writes `results/<name>.md` and `.json`; an interrupted write leaves the old file."""
    where = machine()
    facts = f"{where['cpu']}, {where['threads']} threads, torch {where['torch']}" + (
        f", {where['gpu']}, triton {where['triton']}" if where["gpu"] else ""
    )
    write_atomically(RESULTS / f"{name}.md", f"# {title}\n\n{facts}\n\n{body}\n".encode())
    text = json.dumps({"machine": where, "results": data}, indent=1)
    write_atomically(RESULTS / f"{name}.json", f"{text}\n".encode())


def draw(name: str, figure: Any) -> None:
    """`results/<name>.png`."""
    buffer = io.BytesIO()
    figure.savefig(buffer, dpi=DPI, format="png")
    write_atomically(RESULTS / f"{name}.png", buffer.getvalue())


def bars(name: str, panels: Mapping[str, Mapping[str, float]], label: str, alike: bool = False) -> None:
    """Panels of bars on a log axis: from 1 to the left for slower, to the right for faster. alike: all panels have the
    same scale, with a tick at every tenth."""
    import matplotlib as mpl
    from matplotlib.figure import Figure

    with mpl.rc_context(SETTINGS):  # type: ignore[arg-type]
        height = 1.2 + 0.17 * max(map(len, panels.values()))
        figure = Figure(figsize=(3.3 * len(panels) + 0.5, height), layout="constrained", facecolor="white")
        for axes, (title, values) in zip(
            figure.subplots(1, len(panels), squeeze=False, sharex=alike)[0], panels.items(), strict=True
        ):
            places, numbers = range(len(values)), list(values.values())
            axes.barh(
                places, [v - 1 for v in numbers], 0.7, left=1, color=[BLUE if v >= 1 else ORANGE for v in numbers]
            )
            axes.set(xscale="log", title=title)
            axes.set_yticks(places, list(values), fontsize=6)
            axes.axvline(1, color=INK, linewidth=0.8)
            low, high = min(*numbers, 1), max(*numbers, 1)
            base = 2 if high / low < 40 else 4 if high / low < 1600 else 16
            ticks = [t for i in range(-8, 9) if low / base <= (t := base**i) <= high * base]
            if alike:
                every = [v for values in panels.values() for v in values.values()]
                ticks = [k / 10 for k in range(1, 100) if min(*every, 1) - 0.1 <= k / 10 <= max(*every, 1) + 0.1]
            axes.set_xticks(ticks, [f"{t:g}" for t in ticks])
            axes.minorticks_off()
            for place, value in zip(places, numbers, strict=True):
                axes.annotate(f"{value:.2f}", (value, place), (2 if value >= 1 else -2, 0), textcoords="offset points",
                              va="center", ha="left" if value >= 1 else "right", fontsize=5, color=MUTED)  # fmt: skip
            axes.margins(x=0.15, y=0.01)
            axes.invert_yaxis()
        figure.supxlabel(label, fontsize="medium")
        draw(name, figure)
