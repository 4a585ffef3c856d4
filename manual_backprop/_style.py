"""The fonts, sizes and colours of every picture. The colours are distinguishable for colour-blind readers, too."""

from __future__ import annotations

from typing import Any

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
