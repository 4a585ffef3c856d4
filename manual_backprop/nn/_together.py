"""Two layers as one rule, where a module calls both: a residual connection and its norm, a bias and its activation.

A layer that someone watches by a hook, that is not ours, or that torch.compile sees, which fuses by itself, is called.
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
    """norm(input + other), and the sum."""
    dtype = torch.promote_types(input.dtype, other.dtype)
    # a norm of 16 bits is computed in float32 under some autocasts
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
    """activation(linear(input)): torch's own function on its rule, in any other callable its torch calls on theirs."""
    ours = TABLE.get(activation)
    name = NAMES.get(ours)
    # of 16 bits the product would be rounded once more, before the bias is added
    wide = input.dtype not in LOW and not any_autocast()
    if name and wide and isinstance(linear, Linear) and linear.bias is not None and _unwatched(linear):
        return F.bias_activation(F.linear(input, linear.weight), linear.bias, name)
    weighted = linear(input)
    if ours is not None:
        return ours(weighted)
    with explicit():
        return activation(weighted)


def _unwatched(module: torch.nn.Module) -> bool:
    """Whether a call of the module is a call of its class's forward, which is ours, and of nothing else."""
    return type(module) in (LayerNorm, RMSNorm, Linear) and not (
        torch.compiler.is_compiling() or has_hooks(module) or "forward" in vars(module)
    )
