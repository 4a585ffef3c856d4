"""What counts as a layer of a network, and the numbers that describe one: shared by the callbacks of this folder."""

import math
from collections.abc import Callable, Iterator
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.modules import activation, batchnorm, conv

ACTIVATIONS = tuple(getattr(activation, name) for name in activation.__all__ if name != "MultiheadAttention")

# Outputs whose units are channels, dimension 1. Every other output counts its last dimension as units.
_CHANNELS_FIRST = (conv._ConvNd, batchnorm._NormBase, nn.GroupNorm)

# Where an output at rest says that f'(z) = 0: such a unit, at rest for a whole batch, learns nothing from it.
_RECTIFIERS = (nn.ReLU, nn.ReLU6, nn.Threshold, nn.Hardswish, nn.Hardshrink, nn.Softshrink)

_SELU_ALPHA, _SELU_SCALE = 1.6732632423543772, 1.0507009873554805
SATURATED_BELOW = 0.01

# |f'(z)| as a share of its largest value, from the output a = f(z) (the input may have been overwritten in place).
# GELU, SiLU and Mish are missing: they are not monotone, so that a does not determine f'(z).
_SLOPES: dict[type[nn.Module], Callable[[Any, Tensor], Tensor]] = {
    nn.Sigmoid: lambda f, a: 4 * a * (1 - a),
    nn.Tanh: lambda f, a: 1 - a * a,
    nn.Softsign: lambda f, a: (1 - a.abs()) ** 2,
    nn.Hardtanh: lambda f, a: ((f.min_val < a) & (a < f.max_val)).float(),
    nn.ReLU6: lambda f, a: (a < 6).float(),
    nn.Hardsigmoid: lambda f, a: ((a > 0) & (a < 1)).float(),
    nn.ELU: lambda f, a: torch.where(a > 0, 1.0, a + f.alpha) / max(1.0, f.alpha),
    nn.CELU: lambda f, a: torch.where(a > 0, 1.0, a / f.alpha + 1),
    nn.SELU: lambda f, a: torch.where(a > 0, _SELU_SCALE, a + _SELU_SCALE * _SELU_ALPHA) / (_SELU_SCALE * _SELU_ALPHA),
    nn.Softplus: lambda f, a: -torch.expm1(-f.beta * a),
    nn.LogSigmoid: lambda f, a: -torch.expm1(a),
}


def network(pl_module: nn.Module) -> nn.Module:
    """The network inside a LightningModule: its attribute `net` or `model`, or the LightningModule itself."""
    for name in ("net", "model"):
        if isinstance(getattr(pl_module, name, None), nn.Module):
            return getattr(pl_module, name)
    return pl_module


def layers(model: nn.Module) -> dict[str, nn.Module]:
    """Leaf modules with parameters, and activations, by name; a module used in several places appears once.

    A parametrized layer (weight norm, pruning) is still one leaf: its parametrizations belong to it.
    """
    found = {}
    for name, module in model.named_modules():
        if "parametrizations" in name.split(".") or any(child != "parametrizations" for child in module._modules):
            continue
        if isinstance(module, ACTIVATIONS) or next(module.parameters(), None) is not None:
            found[readable(name)] = module
    return found


def readable(name: str) -> str:
    """A module's name without the wrapper that torch.compile puts around it."""
    return ".".join(part for part in name.split(".") if part != "_orig_mod") or "model"


def tensors(value: Any) -> Iterator[Tensor]:
    """Every floating point tensor inside what a module received or returned."""
    if isinstance(value, Tensor):
        if value.is_floating_point() or value.is_complex():
            yield value
    elif isinstance(value, dict):
        for item in value.values():
            yield from tensors(item)
    elif isinstance(value, (list, tuple)):
        for item in value:
            yield from tensors(item)


def square_sum(value: Tensor) -> Tensor:
    """Sum of squares, 0-d, in float64 where the device has it: the deltas of a deep sigmoid net underflow float32."""
    if value.is_sparse:
        value = value.coalesce().values()
    if value.is_complex():
        value = value.abs()
    precision = torch.float32 if value.device.type == "mps" else torch.float64
    return torch.linalg.vector_norm(value.detach(), dtype=precision).square()


def root(square: float, count: float) -> float:
    """sqrt(square / count); NaN for nothing seen, inf for something over nothing."""
    if count == 0:
        return math.inf if square > 0 else math.nan
    return math.sqrt(square / count)


def units_last(module: nn.Module) -> bool | None:
    """Whether a layer's units are its output's last dimension (True) or dimension 1 (False). None for an activation."""
    if isinstance(module, ACTIVATIONS):
        return None
    return not isinstance(module, _CHANNELS_FIRST)


def at_rest(module: nn.Module, output: Tensor, last: bool) -> Tensor | None:
    """For ReLU and its like, per unit: was it at rest (zero) everywhere in this batch? None for other layers."""
    if not isinstance(module, _RECTIFIERS):
        return None
    resting = output.detach() == (module.value if isinstance(module, nn.Threshold) else 0)
    unit = -1 if last or output.dim() < 2 else 1
    return resting.movedim(unit, -1).flatten(0, -2).all(0) if output.dim() > 1 else resting


def saturated(module: nn.Module, output: Tensor) -> Tensor | None:
    """How many outputs sit where |f'(z)| is below 1 % of its largest value, 0-d. None where no formula is known."""
    slope = next((_SLOPES[cls] for cls in type(module).__mro__ if cls in _SLOPES), None)
    if slope is None:
        return None
    return (slope(module, output.detach().float()).abs() < SATURATED_BELOW).sum()
