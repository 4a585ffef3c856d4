"""A bias and the activation behind it in one pass; torch.nn.functional has no such function."""

from __future__ import annotations

import torch
from torch import Tensor

from .. import rules
from ..rules.bias_activation import ACTIVATIONS
from ._call import call


def bias_activation(input: Tensor, bias: Tensor, activation: str) -> Tensor:
    """y = f(input + bias), bias along the last axis, in one pass each way; rule: `mb.rules.BiasActivation`.

        y = mb.functional.bias_activation(mb.functional.linear(x, weight), bias, "gelu")

    Raises ValueError for an activation that it does not know, RuntimeError for a bias of another shape than (size of
    the last axis,), TypeError for complex numbers and for what is no tensor.
    """
    if activation not in ACTIVATIONS:
        raise ValueError(f"bias_activation knows {', '.join(map(repr, ACTIVATIONS))}, got {activation!r}")
    for name, value in (("input", input), ("bias", bias)):
        if not isinstance(value, Tensor):
            raise TypeError(f"bias_activation adds two tensors, got {type(value).__name__} as {name}")
    if input.is_complex() or bias.is_complex():
        raise TypeError("bias_activation has a rule for real numbers only, got complex ones")
    if bias.dim() != 1 or bias.shape != input.shape[-1:]:
        raise RuntimeError(
            f"bias_activation adds a bias of the size of the last axis: input {tuple(input.shape)}, "
            f"bias {tuple(bias.shape)}"
        )
    if not ACTIVATIONS[activation].by_output and torch.is_grad_enabled() and not torch.compiler.is_compiling():
        # the twin keeps the sum: so the backward adds the bias as it was, not what `.data` has made of it since
        bias = call(rules.Copy, bias, None)
    return call(rules.BiasActivation, input, bias, activation)
