"""Shared by the examples: the `--out` option, and style and saving of the pictures."""

import argparse
import os
from pathlib import Path

import matplotlib as mpl
from matplotlib.figure import Figure

BLUE, ORANGE, GREEN, GREY = "#0072B2", "#D55E00", "#009E73", "#6b6b6b"  # Okabe, Ito 2008: safe for colour-blind readers
mpl.rcParams.update({
    "font.size": 9, "axes.titlesize": 10, "axes.titlelocation": "left", "axes.spines.top": False,
    "axes.spines.right": False, "legend.frameon": False, "figure.constrained_layout.use": True,
})  # fmt: skip


def arguments(description: str | None) -> argparse.ArgumentParser:
    """A parser with the option `--out`, the folder for the picture."""
    parser = argparse.ArgumentParser(description=(description or "").split("\n")[0])
    parser.add_argument("--out", type=Path, default=Path(__file__).parent / "out", help="folder for the picture")
    return parser


def save(figure: Figure, folder: Path, name: str) -> Path:
    """Write the picture to another name first, then rename it: an interrupted run leaves no half-written file."""
    folder.mkdir(parents=True, exist_ok=True)
    aside = folder / f".{name}.{os.getpid()}.png"
    figure.savefig(aside, dpi=150)
    path = folder / f"{name}.png"
    os.replace(aside, path)
    print(f"\npicture: {path}")
    return path
