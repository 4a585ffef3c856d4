"""Pictures made of small images: a first layer's weights, and the images a network got wrong."""

import math
from collections.abc import Sequence
from typing import Any

import torch
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from torch import Tensor, nn

from ..._statistics import layers
from ..._style import DIVERGING, ORANGE
from .style import NothingToShow, sheet

PAGE_WIDTH = 9.0  # inches
COLUMNS = 8
GAP, GAP_FOR_WORDS = 0.12, 0.48  # between images, as a share of an image's width
MOST_UNITS = 64

CONVOLUTIONS = nn.Conv1d, nn.Conv2d, nn.Conv3d
TRANSPOSED = nn.ConvTranspose1d, nn.ConvTranspose2d, nn.ConvTranspose3d


def first_layer(model: nn.Module, shape: tuple[int, ...] | None) -> Figure:
    """The weights of a first Linear, as images where the input `shape` is (C, H, W); the filters of a first Conv."""
    weighted = ((name, layer) for name, layer in layers(model).items() if getattr(layer, "weight", None) is not None)
    name, layer = next(weighted, ("", None))
    if not isinstance(layer, (nn.Linear, *CONVOLUTIONS, *TRANSPOSED)):
        kind = type(layer).__name__ if layer is not None else "there is none with weights"
        raise NothingToShow(f"the first layer is neither Linear nor Conv ({kind})")
    tiles, what = _tiles(layer, shape)
    total = len(tiles)
    tiles = tiles[tiles.flatten(1).norm(dim=1).argsort(descending=True, stable=True)[:MOST_UNITS]]
    if total > len(tiles):
        what += f" ({len(tiles)} of {total}, largest norm first)"
    largest = tiles.abs().max().item() or 1.0
    if tiles.shape[1] == 3:
        what += f"; grey is zero, full colour ±{largest:.2g}"
    else:
        what += ", mean of input channels" if tiles.shape[1] > 1 else ""
        tiles = tiles.mean(1, keepdim=True)
        largest = tiles.abs().max().item() or 1.0
        what += f"; white is zero, blue negative, red positive, full colour ±{largest:.2g}"
    columns = COLUMNS * (2 if len(tiles) > 32 else 1)
    ratio = min(max(tiles.shape[2] / tiles.shape[3], 0.3), 2.0)
    rows = math.ceil(len(tiles) / columns)
    height = 0.75 + rows * (ratio + GAP) * PAGE_WIDTH / (columns * (1 + GAP))
    figure = sheet(PAGE_WIDTH, height, f"First layer: {name}, {type(layer).__name__}", what)
    if tiles.shape[1] == 3:
        _grid(figure, list(tiles / largest / 2 + 0.5), columns, ratio, GAP)
    else:
        _grid(figure, list(tiles), columns, ratio, GAP, cmap=DIVERGING, vmin=-largest, vmax=largest)
    return figure


def _grid(
    figure: Figure, images: list[Tensor], columns: int, ratio: float, row_gap: float, **colors: Any
) -> tuple[Axes, list[tuple[float, float]]]:
    """Images (C, H, W) in rows, each of width 1 and height `ratio`, on one axes: an axes per image would take a second.

    Returns the axes and the top left corner of each image.
    """
    axes = figure.subplots()
    corners = [(k % columns * (1 + GAP), -(k // columns) * (ratio + row_gap)) for k in range(len(images))]
    for (x, y), image in zip(corners, images, strict=True):
        pixels = image.permute(1, 2, 0).numpy()
        axes.imshow(pixels if len(image) == 3 else pixels[..., 0], extent=(x, x + 1, y - ratio, y), **colors)
    bottom = corners[-1][1] - ratio
    axes.set(xlim=(0, columns * (1 + GAP) - GAP), ylim=(bottom, 0), aspect="equal", anchor="NW")
    axes.axis("off")
    return axes, corners


def _tiles(layer: nn.Module, shape: tuple[int, ...] | None) -> tuple[Tensor, str]:
    """One image (C, H, W) per output unit, and a description."""
    assert isinstance(layer.weight, Tensor)
    weight = layer.weight.detach().float().cpu()
    if isinstance(layer, nn.Linear):
        if shape is not None and len(shape) == 3 and math.prod(shape) == weight.shape[1]:
            return weight.view(-1, *shape), "weights per unit, laid out as the input image"
        return weight[:, None, None, :], "weights per unit, one strip each"
    if isinstance(layer, TRANSPOSED):
        weight = weight.transpose(0, 1)  # torch keeps the input channels first
    if weight.dim() == 3:
        return weight[:, None], "filters, one row per input channel"
    if weight.dim() == 5:
        return weight.permute(0, 1, 3, 2, 4).flatten(3), "filters, slices in depth side by side"
    return weight, "filters per output channel"


def mistakes(
    images: Tensor,
    true: list[str],
    predicted: list[str],
    confidence: list[float],
    wrong: int,
    total: int,
    stage: str,
) -> Figure:
    """Images (N, C, H, W) in [0, 1] that the network got wrong with most confidence, of `wrong` among `total`."""
    if total == 0:
        raise NothingToShow(f"no {stage} image was seen")
    if not true:
        raise NothingToShow(f"no mistake on {total:,} {stage} images")
    if images.dim() != 4 or images.shape[1] not in (1, 3):
        raise NothingToShow(f"inputs of shape {tuple(images.shape[1:])} are no images of 1 or 3 channels")
    subtitle = f"{wrong:,} of {total:,} {stage} images are wrong ({wrong / total:.2%})"
    shown = "all, surest first" if len(images) == wrong else f"the {len(images)} it was surest of"
    subtitle += f"; {shown}, in orange its answer and confidence"
    height = 0.75 + math.ceil(len(images) / COLUMNS) * (1 + GAP_FOR_WORDS) * PAGE_WIDTH / (COLUMNS * (1 + GAP))
    figure = sheet(PAGE_WIDTH, height, f"The most confident mistakes, {stage}", subtitle)
    axes, corners = _grid(figure, list(images), COLUMNS, 1.0, GAP_FOR_WORDS, cmap="gray", vmin=0, vmax=1)
    size = 8 if max(map(len, true + predicted)) < 8 else 7
    for (x, y), truth, answer, sure in zip(corners, true, predicted, confidence, strict=True):
        words: dict[str, Any] = {"x": x + 0.5, "ha": "center", "fontsize": size}
        axes.text(y=y + 0.03, s=f"{answer}  {sure:.1%}", va="bottom", color=ORANGE, **words)
        axes.text(y=y - 1.04, s=f"true {truth}", va="top", **words)
    return figure


def unnormalized(images: Tensor, mean: Sequence[float] | float | None, std: Sequence[float] | float | None) -> Tensor:
    """images * std + mean per channel, pixels in [0, 1]. Without mean or std, each image is scaled to its own range."""
    images = images.detach().float().cpu()
    if mean is None or std is None:
        low, high = images.amin((1, 2, 3), keepdim=True), images.amax((1, 2, 3), keepdim=True)
        return (images - low) / (high - low).clamp(min=1e-12)
    scale, shift = (torch.as_tensor(value, dtype=torch.float32).reshape(1, -1, 1, 1) for value in (std, mean))
    return (images * scale + shift).clamp(0, 1)
