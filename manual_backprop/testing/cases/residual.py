"""Rows of residual connections fused with the normalization after them."""

from dataclasses import replace

import torch
from torch import Tensor

from ..case import INFINITE, Case, Spec, constant
from ..case import normal as gaussian
from ._make import function
from .normalization import WEIGHT, WRONG


def normal(*shape: int) -> Spec:
    """Special values are only NaN and infinities: float32 rounds the sum of 1,000 and a normal number, and the norm
    then magnifies the rounding error."""
    return replace(gaussian(*shape), specials=INFINITE)


ROW, SIZE = (normal(3, 4), normal(3, 4)), constant((4,))
DEEP, WEIGHTS = (normal(2, 3, 2, 2), normal(2, 3, 2, 2)), replace(gaussian(2, 2), specials=())


def add_layer_norm(input: Tensor, other: Tensor, *arguments: object, **options: object) -> tuple[Tensor, Tensor]:
    summed = input + other
    return torch.nn.functional.layer_norm(summed, *arguments, **options), summed  # type: ignore[arg-type]


def add_rms_norm(input: Tensor, other: Tensor, *arguments: object, **options: object) -> tuple[Tensor, Tensor]:
    summed = input + other
    return torch.nn.functional.rms_norm(summed, *arguments, **options), summed  # type: ignore[arg-type]


def after(norm: str, *inputs: Spec, tag: str = "", row: dict | None = None, **options: float) -> Case:
    return function(norm, inputs, twin=globals()[norm], tag=tag, row=row, **options)


LARGER = normal(16, 4), normal(16, 4), SIZE, gaussian(4)

CASES = [
    after("add_layer_norm", *ROW, SIZE, WEIGHT, gaussian(4), row={"larger": (*LARGER, gaussian(4)), **WRONG}),
    after("add_layer_norm", *ROW, SIZE, tag="plain"),
    after("add_layer_norm", normal(5, 4), normal(5, 4), SIZE, WEIGHT, eps=0.1, row=WRONG),
    after("add_layer_norm", *ROW, SIZE, constant(None), gaussian(4), tag="bias-only"),
    after("add_layer_norm", *DEEP, constant((2, 2)), WEIGHTS, gaussian(2, 2), tag="axes", row=WRONG),
    after("add_layer_norm", normal(3, 4), normal(2, 1, 4), SIZE, WEIGHT, gaussian(4), tag="broadcast", row=WRONG),
    after("add_rms_norm", *ROW, SIZE, WEIGHT, row={"larger": LARGER}),
    after("add_rms_norm", *ROW, SIZE, tag="plain"),
    after("add_rms_norm", *DEEP, constant((2, 2)), WEIGHTS, eps=0.1),
    after("add_rms_norm", normal(2, 1, 4), normal(3, 4), SIZE, WEIGHT, tag="broadcast"),
]
