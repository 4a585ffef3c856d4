"""What `predict` leaves behind: predictions.csv, and a picture of the images with their classes."""

import csv
import io
import math
from collections.abc import Sequence
from itertools import chain
from pathlib import Path

from matplotlib.figure import Figure
from torch import Tensor

from .._files import write_atomically

SHOWN = 48


def write_predictions(
    folder: Path, files: Sequence[Path], pixels: Tensor, probabilities: Tensor, classes: Sequence[str]
) -> tuple[Path, Path]:
    """Write one CSV row per file (path, class, confidence, and the runner-up) and a grid of the first images.

    pixels (N, C, H, W) uint8, probabilities (N, V). Returns the paths of the table and of the picture.
    """
    top, labels = probabilities.topk(min(2, len(classes)), dim=1)
    text = io.StringIO()
    table = csv.writer(text)
    table.writerow(["path", "class", "confidence", "second_class", "second_confidence"])
    for file, numbers, which in zip(files, top.tolist(), labels.tolist(), strict=True):
        best = [(classes[label], f"{number:.6f}") for label, number in zip(which, numbers, strict=True)]
        table.writerow([str(file), *chain(*best)])
    write_atomically(folder / "predictions.csv", text.getvalue().encode(errors="surrogateescape"))

    picture = io.BytesIO()
    captions = [f"{classes[w[0]]}  {n[0]:.0%}" for w, n in zip(labels.tolist(), top.tolist(), strict=True)]
    _grid(pixels[:SHOWN].cpu(), captions).savefig(picture, format="png", dpi=120)
    write_atomically(folder / "predictions.png", picture.getvalue())
    return folder / "predictions.csv", folder / "predictions.png"


def _grid(pixels: Tensor, captions: Sequence[str]) -> Figure:
    columns = min(8, len(pixels))
    rows = math.ceil(len(pixels) / columns)
    figure = Figure(figsize=(max(3.0, 1.3 * columns), 1.5 * rows), layout="constrained")
    axes = figure.subplots(rows, columns, squeeze=False).flatten()
    for axis in axes:
        axis.set_axis_off()
    for axis, image, caption in zip(axes, pixels, captions, strict=False):
        axis.imshow(image.permute(1, 2, 0).squeeze(-1).numpy(), cmap="gray", vmin=0, vmax=255)
        axis.set_title(caption, fontsize=9)
    return figure
