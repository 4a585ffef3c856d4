"""Layout and saving of a run's pictures."""

import io
from pathlib import Path
from typing import Any

import matplotlib as mpl
from matplotlib.figure import Figure

from ..._files import write_atomically
from ..._style import DPI, MUTED, SETTINGS


class NothingToShow(Exception):
    """Raised where a picture does not apply to this run. The message is the reason that users read."""


def styled() -> Any:
    """Context manager with the settings for drawing. Outside it matplotlib's settings are unchanged."""
    return mpl.rc_context(SETTINGS)  # type: ignore[arg-type]


def sheet(width: float, height: float, title: str, subtitle: str) -> Figure:
    """An empty page, sizes in inches, with a title and below it a subtitle in grey, shrunk to fit on one line."""
    figure = Figure(figsize=(width, height), layout="constrained")
    left, top = 0.12 / width, 0.10 / height
    figure.text(left, 1 - top, title, fontsize=13, fontweight="bold", va="top")
    below = figure.text(left, 1 - top - 0.27 / height, subtitle, fontsize=9, color=MUTED, va="top")
    room = figure.bbox.width * (1 - 2 * left)
    below.set_fontsize(9 * min(1.0, room / below.get_window_extent().width))
    figure.get_layout_engine().set(rect=(0, 0, 1, 1 - 0.62 / height), w_pad=0.08, h_pad=0.06)  # type: ignore[union-attr, call-arg]
    return figure


def save(figure: Figure, path: Path) -> Path:
    """Writes a PNG of width x DPI by height x DPI pixels, atomically. Raises BadInput for a full disk and the like."""
    buffer = io.BytesIO()
    figure.savefig(buffer, dpi=DPI, format="png")
    write_atomically(path, buffer.getvalue())
    return path
