"""The picture of a trace: sizes of outputs, deltas and gradients, layer by layer. Needs matplotlib."""

from __future__ import annotations

import io
import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from ._style import BLUE, DPI, GREEN, MUTED, ORANGE, SETTINGS
from .errors import BadInput

if TYPE_CHECKING:
    from .trace import Row, Trace

ALARM = "#fbe3d6"


def picture(trace: Trace) -> bytes:
    """A PNG. Above: rms of y and delta. Below: rms of each gradient. Raises BadInput where matplotlib is missing."""
    try:
        import matplotlib as mpl
        from matplotlib.figure import Figure
    except ImportError as error:
        raise BadInput('matplotlib is not installed. A picture needs: pip install "manual-backprop[train]"') from error
    rows = trace.rows[:-1]  # without the loss, whose delta is always 1
    with mpl.rc_context(SETTINGS):  # type: ignore[arg-type]
        figure = Figure(figsize=(min(max(3 + 0.2 * len(rows), 7), 30), 6), layout="constrained", facecolor="white")
        above, below = figure.subplots(2, sharex=True)
        figure.suptitle(f"One backward pass, loss {trace.loss:.3g}", x=0.01, ha="left", fontsize=13, fontweight="bold")
        _line(above, [row.output_rms for row in rows], BLUE, "output y, which flows to the right")
        _line(above, [row.delta_rms for row in rows], ORANGE, "delta, which flows to the left")
        above.set_title("Root mean square of outputs and deltas", pad=22)
        _gradients(below, rows)
        below.set_title("Root mean square of gradients", pad=22)
        for axes in (above, below):
            _finish(axes, rows)
        labels = [row.layer if row.type in row.layer else f"{row.layer}  {row.type}" for row in rows]
        below.set_xticks(range(len(rows)), labels, rotation=45, ha="right", rotation_mode="anchor")
        buffer = io.BytesIO()
        figure.savefig(buffer, dpi=DPI, format="png")
    return buffer.getvalue()


def _line(axes: Any, values: Sequence[float | None], colour: str, label: str) -> None:
    axes.plot(range(len(values)), list(map(_drawable, values)), "o-", color=colour, label=label, ms=4.5, lw=1.6)


def _gradients(axes: Any, rows: Sequence[Row]) -> None:
    looks = {"weight": (GREEN, "o"), "bias": (MUTED, "s"), "other parameters": (ORANGE, "^")}
    points: dict[str, list[tuple[int, float]]] = {kind: [] for kind in looks}
    for x, row in enumerate(rows):
        for name, value in row.gradient_rms.items():
            points[name if name in looks else "other parameters"].append((x, _drawable(value)))
    for kind, found in points.items():
        if found:
            colour, marker = looks[kind]
            axes.plot(*zip(*found, strict=True), f"{marker}-", color=colour, label=kind, ms=5, lw=0.8)


def _drawable(value: float | None) -> float:
    """The value, or NaN where a logarithmic axis cannot show it: None, zero, infinite."""
    return value if value and math.isfinite(value) else math.nan


def _finish(axes: Any, rows: Sequence[Row]) -> None:
    axes.set_yscale("log")
    if math.isinf(axes.dataLim.minposy):  # no number to draw
        axes.set_ylim(0.1, 1)
    axes.grid(lw=0.8)
    axes.set_axisbelow(True)
    axes.set_xlim(-0.6, len(rows) - 0.4)
    for x, row in enumerate(rows):
        sizes = (row.output_rms, row.delta_rms, *row.gradient_rms.values())
        if any(size is not None and not math.isfinite(size) for size in sizes):
            axes.axvspan(x - 0.5, x + 0.5, color=ALARM, lw=0, zorder=0, label="NaN or infinite")
    handles = dict(zip(*reversed(axes.get_legend_handles_labels()), strict=True))  # one entry per label
    if handles:
        axes.legend(handles.values(), handles, loc="lower left", bbox_to_anchor=(-0.01, 0.98), ncols=4, borderpad=0.2)
