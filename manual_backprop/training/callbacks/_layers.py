"""Helpers of the callbacks: the network inside a LightningModule, and which activations are saturated."""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

_SELU_ALPHA, _SELU_SCALE = 1.6732632423543772, 1.0507009873554805
SATURATED_BELOW = 0.01

# |f'(z)| divided by its largest value, computed from the output a = f(z): the input may be overwritten in place.
# GELU, SiLU and Mish are missing: they are not monotone, so a does not determine f'(z).
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


def saturated(module: nn.Module, output: Tensor) -> Tensor | None:
    """The number of outputs where |f'(z)| is below 1 % of its largest value, 0-d. None where no formula is known."""
    slope = next((_SLOPES[cls] for cls in type(module).__mro__ if cls in _SLOPES), None)
    if slope is None:
        return None
    return (slope(module, output.detach().float()).abs() < SATURATED_BELOW).sum()
