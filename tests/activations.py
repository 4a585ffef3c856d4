"""Every activation layer with arguments, for the tests of activations beside the rows of the suite."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

import manual_backprop as mb

LAYERS = {
    "ReLU": (), "Threshold": (0.1, -2.0), "LeakyReLU": (0.3,), "PReLU": (4,), "RReLU": (), "ELU": (0.5,),
    "CELU": (2.0,), "SELU": (), "Hardtanh": (), "ReLU6": (), "Hardshrink": (), "Softshrink": (), "Hardsigmoid": (),
    "Hardswish": (), "Sigmoid": (), "LogSigmoid": (), "Tanh": (), "Tanhshrink": (), "Softplus": (), "Softsign": (),
    "SiLU": (), "Mish": (), "GELU": ("none",), "GLU": (1,), "Softmax": (1,), "Softmin": (1,), "Softmax2d": (),
    "LogSoftmax": (1,),
}  # fmt: skip
IN_PLACE = [name for name in LAYERS if hasattr(getattr(torch.nn, name)(*LAYERS[name]), "inplace")]


def seeded(run: Callable[[], Tensor]) -> Tensor:
    torch.manual_seed(3)
    return run()


def pair(name: str, **kwargs: object) -> tuple[torch.nn.Module, torch.nn.Module]:
    return getattr(mb.nn, name)(*LAYERS[name], **kwargs), getattr(torch.nn, name)(*LAYERS[name], **kwargs)


def values(*shape: int) -> Tensor:
    return torch.randn(shape or (5, 4), generator=torch.Generator().manual_seed(1))
