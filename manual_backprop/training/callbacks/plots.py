"""Pictures of a run's metrics and deltas. Each function returns a figure, or raises NothingToShow with the reason."""

import math
from collections.abc import Sequence

import numpy as np
from matplotlib.colors import LogNorm, PowerNorm
from matplotlib.figure import Figure
from matplotlib.ticker import LogLocator, MaxNLocator, NullFormatter, PercentFormatter

from ..._style import BLUE, COUNTS, INK, MUTED, ORANGE, SEQUENTIAL
from .delta_table import Row
from .style import NothingToShow, sheet

Curves = dict[str, list[tuple[int, float]]]  # "train/loss" and so on: (step, value)


def learning_curves(curves: Curves, epoch_ends: list[tuple[int, int]]) -> Figure:
    """Loss and accuracy (or R2) of training and validation over epochs.

    `epoch_ends` are (last step, epochs done) pairs.
    """
    if not any(len(points) > 1 or not name.endswith("_step") for name, points in curves.items() if points):
        raise NothingToShow("no metric was logged")
    steps = [0, *(step + 1 for step, _ in epoch_ends)]
    done = [0, *(epoch for _, epoch in epoch_ends)]

    def epochs(points: list[tuple[int, float]]) -> list[float]:
        return list(np.interp([step + 1 for step, _ in points], steps, done))

    best = max(curves.get("val/accuracy", []), key=lambda point: point[1], default=None)
    subtitle = f"{done[-1]} epochs, {steps[-1]:,} steps"
    if best is not None:
        subtitle += f"; best validation accuracy {best[1]:.2%} after epoch {epochs([best])[0]:g}"
    figure = sheet(9, 4, "Learning curves", subtitle)
    score = "r2" if "val/r2" in curves or "train/r2" in curves else "accuracy"
    for axes, what in zip(figure.subplots(1, 2), ("loss", score), strict=True):
        single = curves.get(f"train/{what}_step", [])
        if len(single) > 1:
            x, y = epochs(single), [value for _, value in single]
            axes.plot(x, y, color=BLUE, alpha=0.25, linewidth=0.8, label="single batches")
        for stage, name, color in (("train", "training", BLUE), ("val", "validation", ORANGE)):
            points = curves.get(f"{stage}/{what}", [])
            if points:
                last = f"{points[-1][1]:.2%}" if what == "accuracy" else f"{points[-1][1]:.4g}"
                x, y = epochs(points), [value for _, value in points]
                dots = 3 if len(x) < 40 else 0
                axes.plot(x, y, color=color, marker="o", markersize=dots, label=f"{name}, last {last}")
        axes.set(title="R²" if what == "r2" else what, xlabel="epoch", xlim=(0, 1.02 * max(done[-1], 1)))
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))
        axes.grid(axis="y")
        if what == "accuracy":
            axes.yaxis.set_major_formatter(lambda share, _: f"{100 * share:.4g}%")
        elif what == "loss":
            values = [y for name in curves if name.startswith(("train/loss", "val/loss")) for _, y in curves[name]]
            if values and min(values) > 0 and max(values) > 20 * min(values):
                axes.set_yscale("log")
        if axes.lines:
            axes.legend(loc="upper right" if what == "loss" else "lower right")
        else:
            axes.text(0.5, 0.5, f"no {what} was logged", ha="center", color=MUTED, transform=axes.transAxes)
    return figure


def confusion_matrix(counts: np.ndarray, names: Sequence[str], stage: str) -> Figure:
    """Rows are the true classes. Colour is the share of a row, on a scale steep near zero: single mistakes show."""
    total, right, size = int(counts.sum()), int(np.trace(counts)), len(counts)
    if total == 0:
        raise NothingToShow(f"no {stage} image was seen")
    wrong = counts * (1 - np.eye(size, dtype=counts.dtype))
    subtitle = f"{right:,} of {total:,} {stage} images right ({right / total:.2%})"
    if wrong.any():
        true, predicted = np.unravel_index(wrong.argmax(), wrong.shape)
        often = f"most often {names[true]} taken for {names[predicted]} ({wrong.max():,} times)"
        subtitle += f"; {often if wrong.max() > 1 else 'no mistake was made twice'}"
    side = min(10.0, max(5.2, 2.4 + 0.42 * size))
    figure = sheet(side + 0.9, side + 0.4, f"Confusion matrix, {stage}", subtitle)
    axes = figure.subplots()
    share = counts / np.maximum(counts.sum(1, keepdims=True), 1)
    image = axes.imshow(share, cmap=COUNTS, norm=PowerNorm(0.4, 0, 1))
    if size <= 20:
        for (row, column), count in np.ndenumerate(counts):
            if count:
                dark = share[row, column] > 0.3
                text = f"{count:,}" if size <= 12 else str(count)
                axes.text(column, row, text, ha="center", va="center", fontsize=8, color="white" if dark else INK)
    long = max(map(len, names)) > 3
    axes.set_xticks(range(size), names, rotation=45 if long else 0, ha="right" if long else "center")
    axes.set_yticks(range(size), names)
    if size > 20:
        axes.tick_params(labelsize=6)
    axes.set(xlabel="predicted", ylabel="true")
    axes.set_xticks(np.arange(size + 1) - 0.5, minor=True)
    axes.set_yticks(np.arange(size + 1) - 0.5, minor=True)
    axes.grid(which="minor", color="#f2f2f2", linewidth=0.6)
    axes.tick_params(which="both", length=0)
    axes.spines[:].set_visible(False)
    bar = figure.colorbar(image, ax=axes, shrink=0.7, ticks=[0, 0.01, 0.1, 0.5, 1], label="share of the true class")
    bar.ax.yaxis.set_major_formatter(PercentFormatter(1, decimals=0))
    bar.outline.set_visible(False)
    return figure


def predicted(true: np.ndarray, numbers: np.ndarray, stage: str) -> Figure:
    """What a regression predicts against what is true, and the line where both are equal."""
    if not len(true):
        raise NothingToShow(f"no {stage} example was seen")
    if not (np.isfinite(true).all() and np.isfinite(numbers).all()):
        raise NothingToShow("not every number is finite")
    error = float(np.sqrt(np.mean((numbers - true) ** 2)))
    subtitle = f"{len(true):,} numbers, root of the mean squared error {error:.4g}"
    figure = sheet(5.6, 5.6, f"Predicted and true numbers, {stage}", subtitle)
    axes = figure.subplots()
    ends = [min(true.min(), numbers.min()), max(true.max(), numbers.max())]
    axes.plot(ends, ends, color=MUTED, linewidth=0.8, label="equal")
    axes.plot(true, numbers, "o", color=BLUE, markersize=3, alpha=0.6, markeredgewidth=0)
    axes.set(xlabel="true", ylabel="predicted")
    axes.legend(loc="upper left")
    return figure


def delta_flow(rows: list[Row]) -> Figure:
    """RMS of delta for each layer (the last one on top) at each logged step, logarithmic colours."""
    rows = [row for row in rows if row["delta_rms"] is not None]
    steps = sorted({row["step"] for row in rows})
    names = list(dict.fromkeys(row["layer"] for row in rows))
    if not rows:
        raise NothingToShow("no delta was logged (DeltaFlow is off, or no layer is trained)")
    values = np.full((len(names), len(steps)), np.nan)
    for row in rows:
        values[names.index(row["layer"]), steps.index(row["step"])] = row["delta_rms"]
    shown = np.where(np.isfinite(values) & (values > 0), values, np.nan)
    if np.isnan(shown).all():
        raise NothingToShow("every delta that was logged is zero or not finite")
    kinds = {row["layer"]: row["kind"] for row in rows}
    # rounded to half decades, so that the range contains a power of ten
    low, high = np.floor(2 * np.log10(np.nanmin(shown))) / 2, np.ceil(2 * np.log10(np.nanmax(shown))) / 2
    figure = sheet(
        9,
        min(12.0, 1.9 + max(4, len(names)) * 0.26),
        "Delta by depth over time",
        "RMS of the derivative of the loss by each layer's output; backward runs from the top row down",
    )
    axes = figure.subplots()
    axes.set_facecolor("#d9d9d9")  # zero, not finite, or not there
    edges = np.arange(len(steps) + 1) - 0.5
    norm = LogNorm(10**low, 10 ** max(high, low + 0.5))
    mesh = axes.pcolormesh(edges, np.arange(len(names) + 1) - 0.5, shown, cmap=SEQUENTIAL, norm=norm)
    ticks = range(0, len(steps), math.ceil(len(steps) / 10))
    axes.set_xticks(ticks, [f"{steps[tick]:,}" for tick in ticks])
    every = math.ceil(len(names) / 40)
    axes.set_yticks(range(0, len(names), every), [f"{name}  {kinds[name]}" for name in names[::every]])
    axes.set(xlabel="step", ylabel="layer, input at the bottom")
    axes.spines[:].set_visible(False)
    axes.tick_params(length=0)
    bar = figure.colorbar(mesh, ax=axes, label="RMS of delta", pad=0.015)
    bar.ax.yaxis.set_major_locator(LogLocator(numticks=8))
    bar.ax.yaxis.set_minor_formatter(NullFormatter())
    bar.outline.set_visible(False)
    return figure
