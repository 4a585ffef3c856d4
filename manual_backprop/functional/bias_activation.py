"""A bias and the activation after it in one pass; torch.nn.functional has no such function."""

from __future__ import annotations

import torch
from torch import Tensor

from .. import rules
from ..rules.bias_activation import ACTIVATIONS
from ._call import call


def bias_activation(input: Tensor, bias: Tensor, activation: str) -> Tensor:
    """y = f(input + bias), bias along the last axis, in one pass each way; rule: `mb.rules.BiasActivation`.

        y = mb.functional.bias_activation(mb.functional.linear(x, weight), bias, "gelu")

    Raises ValueError for an unknown activation, RuntimeError for a bias whose shape is not (size of the last axis,),
    TypeError for complex numbers and for arguments that are not tensors.
    """
    if activation not in ACTIVATIONS:
        known = ", ".join(map(repr, ACTIVATIONS))
        raise ValueError(f"bias_activation: unknown activation. got: {activation!r}. expected: one of {known}")
    for name, value in (("input", input), ("bias", bias)):
        if not isinstance(value, Tensor):
            raise TypeError(f"bias_activation: {name} must be a tensor. got: {type(value).__name__}")
    if input.is_complex() or bias.is_complex():
        raise TypeError(
            f"bias_activation has a rule for real numbers only. got: input {input.dtype}, bias {bias.dtype}; "
            "pass real and imaginary parts separately"
        )
    if bias.dim() != 1 or bias.shape != input.shape[-1:]:
        raise RuntimeError(
            f"bias_activation: the bias does not fit the input. got: input {tuple(input.shape)}, bias "
            f"{tuple(bias.shape)}. expected: a bias of shape {tuple(input.shape[-1:])}"
        )
    if not ACTIVATIONS[activation].by_output and torch.is_grad_enabled() and not torch.compiler.is_compiling():
        # torch saves the sum input + bias, so writing into `bias.data` does not change its backward; hence a copy here
        bias = call(rules.Copy, bias, None)
    return call(rules.BiasActivation, input, bias, activation)
