"""What counts as a layer of a network, and the numbers that describe one."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.modules import activation

from ._observe import tensors
from .engine.torch_private import COMPILED

ACTIVATIONS = tuple(getattr(activation, name) for name in activation.__all__ if name != "MultiheadAttention")

# Layers whose units are the channels, dimension 1 of the output. For all others the last dimension is the units.
_CHANNELS_FIRST = (
    nn.Conv1d, nn.Conv2d, nn.Conv3d, nn.ConvTranspose1d, nn.ConvTranspose2d, nn.ConvTranspose3d, nn.BatchNorm1d,
    nn.BatchNorm2d, nn.BatchNorm3d, nn.SyncBatchNorm, nn.InstanceNorm1d, nn.InstanceNorm2d, nn.InstanceNorm3d,
    nn.GroupNorm,
)  # fmt: skip

# Activations where an output at rest (zero, or Threshold's value) means f'(z) = 0. A unit that is at rest for a whole
# batch learns nothing from that batch.
_RECTIFIERS = (nn.ReLU, nn.ReLU6, nn.Threshold, nn.Hardswish, nn.Hardshrink, nn.Softshrink)


def layers(model: nn.Module) -> dict[str, nn.Module]:
    """Name -> module, for leaf modules with parameters and for activations. A module used in several places is once.

    A parametrized layer (weight norm, pruning) is still one leaf: its parametrizations belong to it.
    """
    found = {}
    for name, module in model.named_modules():
        if "parametrizations" in name.split(".") or any(
            child != "parametrizations" for child, _ in module.named_children()
        ):
            continue
        if isinstance(module, ACTIVATIONS) or next(module.parameters(), None) is not None:
            found[readable(name)] = module
    return found


def readable(name: str) -> str:
    """A module's name without the wrapper that torch.compile puts around it."""
    return ".".join(part for part in name.split(".") if part != COMPILED) or "model"


def numbers(value: Any) -> list[Tensor]:
    """Every floating-point or complex tensor in the inputs or outputs of a module."""
    return [tensor for tensor in tensors(value) if tensor.is_floating_point() or tensor.is_complex()]


def square_sum(value: Tensor) -> Tensor:
    """Sum of squares, 0-d, in float64 where the device has it: squares of very small deltas underflow in float32."""
    if value.is_sparse:
        value = value.coalesce().values()
    if value.is_complex():
        value = value.abs()
    precision = torch.float32 if value.device.type == "mps" else torch.float64
    return torch.linalg.vector_norm(value.detach(), dtype=precision).square()


def root(square: float, count: float) -> float:
    """sqrt(square / count); for a count of 0: NaN, or inf where square is positive."""
    if count == 0:
        return math.inf if square > 0 else math.nan
    return math.sqrt(square / count)


def units_last(module: nn.Module) -> bool | None:
    """Whether a layer's units are its output's last dimension (True) or dimension 1 (False). None for an activation."""
    if isinstance(module, ACTIVATIONS):
        return None
    return not isinstance(module, _CHANNELS_FIRST)


def at_rest(module: nn.Module, output: Tensor, last: bool) -> Tensor | None:
    """For ReLU and its like: for each unit, whether it was at rest in the whole batch. None for other layers."""
    if not isinstance(module, _RECTIFIERS):
        return None
    resting = output.detach() == (module.value if isinstance(module, nn.Threshold) else 0)
    unit = -1 if last or output.dim() < 2 else 1
    return resting.movedim(unit, -1).flatten(0, -2).all(0) if output.dim() > 1 else resting
