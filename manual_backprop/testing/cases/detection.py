"""Rows of what detection networks compute. Without torchvision there are none."""

import importlib.util
from typing import Any

import torch
from torch import Tensor

from ..case import Case, Spec, normal
from ._make import function

WITHOUT = {
    "empty": "torchvision reads the picture that a box names without looking whether it exists",
    "transforms": "torchvision's function does not support them",
}
ADAPTIVE = {"compiled": "the number of samples depends on the boxes"}
INSIDE = [[0, 1.5, 2.0, 6.5, 7.25], [1, 0.0, 0.0, 4.0, 3.0], [0, 2.25, 1.0, 3.0, 8.5]]
BEYOND = [[1, -3.0, -2.5, 5.0, 4.0], [0, 6.0, 5.0, 14.0, 12.0], [1, 3.0, 3.0, 3.0, 3.0]]


def _rois(rows: list[list[float]]) -> Spec:
    def make(generator: torch.Generator, dtype: torch.dtype) -> Tensor:
        return torch.tensor(rows, dtype=dtype).reshape(-1, 5)

    return Spec(make, differentiable=False)


def _rows() -> list[Case]:
    from torchvision.ops import roi_align

    def row(tag: str, rois: list[list[float]], **options: Any) -> Case:
        without = WITHOUT if "sampling_ratio" in options else WITHOUT | ADAPTIVE
        inputs = normal(2, 3, 8, 9), _rois(rois)
        return function("roi_align", inputs, roi_align, tag, {"without": without}, output_size=(2, 3), **options)

    return [
        row("inside", INSIDE, sampling_ratio=2, aligned=True),
        row("beyond", BEYOND, sampling_ratio=2, aligned=True),
        row("unaligned", INSIDE + BEYOND, sampling_ratio=3),
        row("scaled", INSIDE, spatial_scale=0.5, sampling_ratio=1, aligned=True),
        row("adaptive", INSIDE + BEYOND, aligned=True),
        row("none", [], sampling_ratio=2),
    ]


CASES: list[Case] = _rows() if importlib.util.find_spec("torchvision") else []
