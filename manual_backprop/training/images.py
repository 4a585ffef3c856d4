"""Reads image files into one uint8 tensor of the shape that models for a dataset expect."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from PIL import Image, ImageOps, UnidentifiedImageError
from torch import Tensor

from ..errors import BadInput
from .datasets import Spec

SUFFIXES = {".png", ".jpg", ".jpeg", ".bmp", ".gif", ".tif", ".tiff", ".webp", ".pgm", ".ppm"}


def find(paths: Sequence[str]) -> list[Path]:
    """The named files, and the image files inside the named folders, sorted. Raises BadInput."""
    if not paths:
        raise BadInput("No images to predict. Name files or a folder: --images a.png b.png")
    found: list[Path] = []
    for path in map(Path, paths):
        if path.is_dir():
            inside = sorted(p for p in path.iterdir() if p.suffix.lower() in SUFFIXES)
            if not inside:
                raise BadInput(f"{path} holds no image files ({', '.join(sorted(SUFFIXES))}).")
            found += inside
        elif path.is_file():
            found.append(path)
        else:
            raise BadInput(f"No such image file or folder: {path}")
    return found


def read_images(paths: Sequence[str], spec: Spec, resize: bool, invert: bool) -> tuple[list[Path], Tensor]:
    """Files and their pixels, (N, C, H, W) uint8. Raises BadInput for files that are no images or have another size."""
    files = find(paths)
    return files, torch.stack([_read(file, spec, resize, invert) for file in files])


def _read(file: Path, spec: Spec, resize: bool, invert: bool) -> Tensor:
    channels, height, width = spec.shape
    try:
        with Image.open(file) as opened:
            image = opened.convert("L" if channels == 1 else "RGB")
    except (UnidentifiedImageError, OSError, SyntaxError, Image.DecompressionBombError) as error:
        raise BadInput(f"{file} is not an image that can be read: {error}") from error
    if image.size != (width, height):
        if not resize:
            raise BadInput(
                f"{file} is {image.width} x {image.height} pixels; the model expects {width} x {height}. "
                "Add --data.resize=true to have images scaled."
            )
        image = image.resize((width, height), Image.Resampling.LANCZOS)
    if invert:
        image = ImageOps.invert(image)
    return torch.from_numpy(np.array(image)).reshape(height, width, channels).permute(2, 0, 1)
