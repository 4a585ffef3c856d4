"""How every picture looks: one set of fonts, sizes and colours, all of them distinguishable by the colour-blind."""

import io
from pathlib import Path
from typing import Any

import matplotlib as mpl
from matplotlib.figure import Figure

from ..._files import write_atomically

# Okabe and Ito 2008, "Color Universal Design"
BLUE, ORANGE, GREEN, INK, MUTED = "#0072B2", "#D55E00", "#009E73", "#222222", "#6b6b6b"
SEQUENTIAL = "viridis"  # amounts
COUNTS = "Blues"  # amounts on paper, zero is white
DIVERGING = "RdBu_r"  # signed weights, zero is white
DPI = 150

SETTINGS: dict[str, Any] = {
    "figure.dpi": DPI,
    "figure.facecolor": "white",
    "font.family": "DejaVu Sans",
    "font.size": 9,
    "text.color": INK,
    "axes.labelcolor": INK,
    "axes.edgecolor": "#b8b8b8",
    "axes.titlesize": 10,
    "axes.titlelocation": "left",
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": False,
    "grid.color": "#e6e6e6",
    "xtick.color": MUTED,
    "ytick.color": MUTED,
    "xtick.labelsize": 8,
    "ytick.labelsize": 8,
    "legend.frameon": False,
    "legend.fontsize": 8,
    "lines.linewidth": 1.8,
    "image.interpolation": "nearest",
}


class NothingToShow(Exception):
    """A picture does not apply to this run; the message says why, for a reader."""


def styled() -> Any:
    """Context manager: draw inside it. Outside it matplotlib's own settings stay as they are."""
    return mpl.rc_context(SETTINGS)  # type: ignore[arg-type]


def sheet(width: float, height: float, title: str, subtitle: str) -> Figure:
    """An empty page in inches with a title and, in grey below it, what to know before looking, on one line."""
    figure = Figure(figsize=(width, height), layout="constrained")
    left, top = 0.12 / width, 0.10 / height
    figure.text(left, 1 - top, title, fontsize=13, fontweight="bold", va="top")
    below = figure.text(left, 1 - top - 0.27 / height, subtitle, fontsize=9, color=MUTED, va="top")
    room = figure.bbox.width * (1 - 2 * left)
    below.set_fontsize(9 * min(1.0, room / below.get_window_extent().width))
    figure.get_layout_engine().set(rect=(0, 0, 1, 1 - 0.62 / height), w_pad=0.08, h_pad=0.06)  # type: ignore[union-attr, call-arg]
    return figure


def save(figure: Figure, path: Path) -> Path:
    """PNG of width x height x DPI pixels, whole or not there. Raises BadInput for a full disk and the like."""
    buffer = io.BytesIO()
    figure.savefig(buffer, dpi=DPI, format="png")
    write_atomically(path, buffer.getvalue())
    return path
