"""What `predict` writes: predictions.csv and, for image files, a picture of the images with their predictions."""

import csv
import io
import math
from collections.abc import Sequence
from itertools import chain
from pathlib import Path

from matplotlib.figure import Figure
from torch import Tensor

from .._files import write_atomically

SHOWN = 48  # images in the picture, at most
PRINTED = 10  # predictions printed, at most, where the examples are no files

Predicted = tuple[list[str], list[list[str]], list[str]]
"""Columns, rows and captions."""


def classified(probabilities: Tensor, classes: Sequence[str]) -> Predicted:
    """The two most probable classes and their probabilities, from probabilities (N, V)."""
    names = list(classes) if len(classes) == probabilities.shape[1] else list(map(str, range(probabilities.shape[1])))
    top, labels = probabilities.topk(min(2, len(names)), dim=1)
    pairs = [
        [(names[label], number) for label, number in zip(which, numbers, strict=True)]
        for which, numbers in zip(labels.tolist(), top.tolist(), strict=True)
    ]
    rows = [list(chain(*((name, f"{number:.6f}") for name, number in row))) for row in pairs]
    captions = [f"{row[0][0]}  ({row[0][1]:.1%})" for row in pairs]
    return ["class", "confidence", "second_class", "second_confidence"][: 2 * top.shape[1]], rows, captions


def in_numbers(predictions: Tensor) -> Predicted:
    """The values that a regression predicts, (N, K)."""
    count = predictions.shape[1]
    rows = [[f"{number:.6g}" for number in row] for row in predictions.tolist()]
    columns = ["prediction"] if count == 1 else [f"prediction_{number}" for number in range(count)]
    return columns, rows, [", ".join(row) for row in rows]


def write(folder: Path, predicted: Predicted, files: Sequence[Path] = (), pixels: Tensor | None = None) -> None:
    """Writes predictions.csv with one row per file, or per example by its index. Image files also get predictions.png.

    pixels: the pixels of the files, (N, C, H, W) uint8. Prints the captions: all of them for files, else the first ten.
    """
    columns, rows, captions = predicted
    names = [str(file) for file in files] or [str(number) for number in range(len(rows))]
    text = io.StringIO()
    table = csv.writer(text)
    table.writerow(["path" if files else "example", *columns])
    table.writerows([name, *row] for name, row in zip(names, rows, strict=True))
    write_atomically(folder / "predictions.csv", text.getvalue().encode(errors="surrogateescape"))
    shown = len(names) if files else PRINTED
    for name, caption in list(zip(names, captions, strict=True))[:shown]:
        print(f"{name.encode(errors='replace').decode()}: {caption}")
    if len(names) > shown:
        print(f"... and {len(names) - shown} more")
    print(f"table {folder / 'predictions.csv'}")
    if pixels is not None:
        picture = io.BytesIO()
        _grid(pixels[:SHOWN].cpu(), captions).savefig(picture, format="png", dpi=120)
        write_atomically(folder / "predictions.png", picture.getvalue())
        print(f"picture {folder / 'predictions.png'}")


def _grid(pixels: Tensor, captions: Sequence[str]) -> Figure:
    columns = min(8, len(pixels))
    rows = math.ceil(len(pixels) / columns)
    figure = Figure(figsize=(max(3.0, 1.3 * columns), 1.5 * rows), layout="constrained")
    axes = figure.subplots(rows, columns, squeeze=False).flatten()
    for axis in axes:
        axis.set_axis_off()
    for axis, image, caption in zip(axes, pixels, captions, strict=False):
        axis.imshow(image.permute(1, 2, 0).squeeze(-1).numpy(), cmap="gray", vmin=0, vmax=255)
        axis.set_title(caption, fontsize=8)
    return figure
