"""Two operations as one rule, where a module runs both: a residual connection and its norm, a bias and its activation.

A layer is called as usual if it has hooks or is not ours, and under torch.compile, which fuses operations itself.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from .. import functional as F
from ..engine.terms import LOW
from ..engine.torch_private import any_autocast, has_hooks
from ..explicit import TABLE, explicit
from ..rules.bias_activation import ACTIVATIONS
from .linear import Linear
from .normalization import LayerNorm, RMSNorm

NAMES = {getattr(F, name): name for name in ACTIVATIONS if hasattr(F, name)}
"""Our function -> its name as an activation of `mb.rules.BiasActivation`."""


def add_norm(norm: torch.nn.Module, input: Tensor, other: Tensor) -> tuple[Tensor, Tensor]:
    """norm(input + other), and the sum input + other."""
    dtype = torch.promote_types(input.dtype, other.dtype)
    # autocast may run a norm of 16-bit tensors in float32
    kept = dtype not in LOW or not any_autocast()
    if isinstance(norm, (LayerNorm, RMSNorm)) and kept and _unwatched(norm):
        weight: Any = norm.weight
        if weight is None or weight.dtype is dtype:
            if isinstance(norm, LayerNorm):
                return F.add_layer_norm(input, other, norm.normalized_shape, weight, norm.bias, norm.eps)
            return F.add_rms_norm(input, other, norm.normalized_shape, weight, norm.eps)
    summed = F.add(input, other)
    return norm(summed), summed


def activated_linear(linear: torch.nn.Module, activation: Callable[[Tensor], Tensor], input: Tensor) -> Tensor:
    """activation(linear(input)). A function of torch runs on its rule; so do torch's calls inside another callable."""
    ours = TABLE.get(activation)
    name = NAMES.get(ours)
    # in 16 bits, the matmul's result would be rounded once more before the bias is added
    wide = input.dtype not in LOW and not any_autocast()
    if name and wide and isinstance(linear, Linear) and linear.bias is not None and _unwatched(linear):
        return F.bias_activation(F.linear(input, linear.weight), linear.bias, name)
    weighted = linear(input)
    if ours is not None:
        return ours(weighted)
    with explicit():
        return activation(weighted)


def _unwatched(module: torch.nn.Module) -> bool:
    """Whether calling the module runs only the forward of its class, which is ours: no hooks, no replaced forward."""
    return type(module) in (LayerNorm, RMSNorm, Linear) and not (
        torch.compiler.is_compiling() or has_hooks(module) or "forward" in vars(module)
    )
