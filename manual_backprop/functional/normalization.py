"""Normalization of each sample by itself."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor

from .. import rules
from ._call import call
from ._errors import refuse_single_values


def layer_norm(
    input: Tensor,
    normalized_shape: Sequence[int],
    weight: Tensor | None = None,
    bias: Tensor | None = None,
    eps: float = 1e-5,
) -> Tensor:
    """w (x - mean) / sqrt(var + eps) + b over the last axes, as torch.nn.functional.layer_norm.

    Rule: `mb.rules.LayerNorm`. Raises TypeError for nested tensors.
    """
    if input.is_nested:
        raise TypeError(
            "layer_norm has a rule for plain tensors only, got a nested one: pass it padded, by "
            "torch.nested.to_padded_tensor(input, 0)"
        )
    return call(rules.LayerNorm, input, normalized_shape, weight, bias, eps)[0]


def group_norm(
    input: Tensor, num_groups: int, weight: Tensor | None = None, bias: Tensor | None = None, eps: float = 1e-5
) -> Tensor:
    """w (x - mean) / sqrt(var + eps) + b over groups of channels, as torch.nn.functional.group_norm.

    Rule: `mb.rules.GroupNorm`. Raises RuntimeError for fewer than two axes, ValueError for a single value per group.
    """
    if input.dim() < 2:
        raise RuntimeError(f"Expected at least 2 dimensions for input tensor but received {input.dim()}")
    refuse_single_values([input.size(0) * input.size(1) // num_groups, num_groups, *input.size()[2:]])
    return call(rules.GroupNorm, input, num_groups, weight, bias, eps)[0]


def rms_norm(
    input: Tensor, normalized_shape: Sequence[int], weight: Tensor | None = None, eps: float | None = None
) -> Tensor:
    """w x / sqrt(mean(x²) + eps) over the last axes, as torch.nn.functional.rms_norm; rule: `mb.rules.RMSNorm`.

    Without `eps`, the machine epsilon of the dtype. Raises TypeError for complex input, which has no rule.
    """
    if input.is_complex():
        raise TypeError("rms_norm has a rule for real numbers only, got complex input: pass torch.view_as_real(input)")
    return call(rules.RMSNorm, input, normalized_shape, weight, eps)
