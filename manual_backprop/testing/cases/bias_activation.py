"""Rows of a bias and the activation after it."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import torch
import torch.nn.functional as F
from torch import Tensor

from ..case import Case, Spec, constant, normal
from ._make import function

TWINS: dict[str, Callable[[Tensor], Tensor]] = {
    "relu": F.relu,
    "gelu": F.gelu,
    "gelu_tanh": partial(F.gelu, approximate="tanh"),
    "silu": F.silu,
    "mish": F.mish,
    "tanh": torch.tanh,
    "sigmoid": torch.sigmoid,
}


def twin(input: Tensor, bias: Tensor, activation: str) -> Tensor:
    return TWINS[activation](input + bias)


def row(activation: str, *inputs: Spec, tag: str = "", row: dict | None = None) -> Case:
    tag = activation + (f"-{tag}" if tag else "")
    return function("bias_activation", (*inputs, constant(activation)), twin=twin, tag=tag, row=row)


CASES = [
    row("relu", normal(3, 4), normal(4), row={"larger": (normal(32, 16), normal(16), constant("relu"))}),
    *(row(name, normal(3, 4), normal(4)) for name in TWINS if name != "relu"),
    row("gelu", normal(2, 3, 4), normal(4), tag="axes"),
    row("silu", normal(4), normal(4), tag="vector"),
]
