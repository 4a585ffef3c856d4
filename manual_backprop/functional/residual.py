"""A residual connection and the normalization after it in one pass; torch.nn.functional has no such functions."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from .. import rules
from ._call import call
from .arithmetic import add
from .normalization import layer_norm, rms_norm

LAYER_NORM, RMS_NORM = rules.LayerNorm.autocast, rules.RMSNorm.autocast
"""Device -> autocast policy of the norms. Constants, because torch.compile cannot read a rule's attribute."""


def add_layer_norm(
    input: Tensor,
    other: Tensor,
    normalized_shape: Sequence[int],
    weight: Tensor | None = None,
    bias: Tensor | None = None,
    eps: float = 1e-5,
) -> tuple[Tensor, Tensor]:
    """(y, s): s = input + other, and y = layer_norm(s, ...), in one pass each way; rule: `mb.rules.AddLayerNorm`.

        y, x = mb.functional.add_layer_norm(x, attention, (256,), weight, bias)
        x = x + mlp(y)

    Raises TypeError for nested tensors and for arguments that are not tensors.
    """
    _plain("add_layer_norm", input, other)
    if _apart(LAYER_NORM, input, other):
        summed = add(input, other)
        return layer_norm(summed, normalized_shape, weight, bias, eps), summed
    return call(rules.AddLayerNorm, input, other, normalized_shape, weight, bias, eps)[:2]


def add_rms_norm(
    input: Tensor,
    other: Tensor,
    normalized_shape: Sequence[int],
    weight: Tensor | None = None,
    eps: float | None = None,
) -> tuple[Tensor, Tensor]:
    """(y, s): s = input + other, and y = rms_norm(s, ...), in one pass each way; rule: `mb.rules.AddRMSNorm`.

    Without `eps`, the machine epsilon of the dtype. Raises TypeError for nested and complex tensors and for arguments
    that are not tensors.
    """
    _plain("add_rms_norm", input, other)
    if input.is_complex() or other.is_complex():
        raise TypeError(
            "add_rms_norm has a rule for real numbers only, got complex input: pass torch.view_as_real(input) and the "
            "same for other"
        )
    if _apart(RMS_NORM, input, other):
        summed = add(input, other)
        return rms_norm(summed, normalized_shape, weight, eps), summed
    return call(rules.AddRMSNorm, input, other, normalized_shape, weight, eps)[:2]


def _apart(policy: dict[str, str], input: Tensor, other: Tensor) -> bool:
    """Whether autocast runs the norm in float32 but the sum before it in 16 bits."""
    device = input.device.type
    if policy.get(device) != "float32" or not torch.is_autocast_enabled(device):
        return False
    return torch.promote_types(input.dtype, other.dtype) in (torch.bfloat16, torch.float16)


def _plain(name: str, *operands: Tensor) -> None:
    for operand in operands:
        if not isinstance(operand, Tensor):
            kind = type(operand).__name__
            raise TypeError(f"{name} adds two tensors, got {kind}: pass a number as torch.tensor(number)")
        if operand.is_nested:
            raise TypeError(
                f"{name} has a rule for plain tensors only, got a nested one: pass it padded, by "
                "torch.nested.to_padded_tensor(tensor, 0)"
            )
