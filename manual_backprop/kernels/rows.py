"""Row-wise formulas as C (rows.c): normalizations, softmax and cross-entropy, in one pass where torch makes several.

Each hands on to its formula what it does not take: other dtypes and layouts, traced or transformed tensors.
"""

from __future__ import annotations

import torch
from torch import Tensor

from ..rules import LayerNorm, RMSNorm
from ..rules._rule import KERNELS
from . import native

REAL = {torch.float32: "float", torch.float64: "double"}


def layer_norm_derivatives(
    delta: Tensor, input: Tensor, weight: Tensor | None, mean: Tensor, invstd: Tensor, shape: torch.Size,
    needs: tuple[bool, bool, bool],
) -> tuple:  # fmt: skip
    """`LayerNorm.derivatives`."""
    if not (needs[0] or needs[1]) or not takes(delta, input, mean, invstd, weight):
        return LayerNorm.derivatives(delta, input, weight, mean, invstd, shape, needs)
    delta_input, sums = _norm(delta, input, weight, mean, invstd, shape, needs[0], needs[1] or needs[2])
    return delta_input, sums[1] if needs[1] else None, sums[0] if needs[2] else None


def rms_norm_derivatives(
    delta: Tensor, input: Tensor, weight: Tensor | None, invrms: Tensor, shape: torch.Size, needs: tuple[bool, bool]
) -> tuple:
    """`RMSNorm.derivatives`."""
    if not takes(delta, input, invrms, weight):
        return RMSNorm.derivatives(delta, input, weight, invrms, shape, needs)
    delta_input, sums = _norm(delta, input, weight, None, invrms, shape, *needs)
    return delta_input, sums[1] if needs[1] else None


def _norm(
    delta: Tensor, input: Tensor, weight: Tensor | None, mean: Tensor | None, invstd: Tensor, shape: torch.Size,
    needs_input: bool, needs_sums: bool,
) -> tuple:  # fmt: skip
    """delta_input and the sums over rows of delta and delta x̂."""
    delta, input, weight = delta.contiguous(), input.contiguous(), None if weight is None else weight.contiguous()
    delta_input = torch.empty_like(input) if needs_input else None
    sums = input.new_empty(2, *shape) if needs_sums else None
    native.call(
        f"norm_derivatives_{REAL[input.dtype]}",
        *addresses(delta_input, sums, delta, input, weight, mean, invstd),
        invstd.numel(), shape.numel(),
    )  # fmt: skip
    return delta_input, sums


def takes(*tensors: Tensor | None) -> bool:
    """Whether the C can read such tensors: floats or doubles, not empty, where kernels may be called at all."""
    given = [t for t in tensors if t is not None]
    dtype = given[0].dtype
    return dtype in REAL and all([t.dtype == dtype and t.numel() > 0 for t in given]) and native.serves(*given)


def addresses(*tensors: Tensor | None) -> list[int | None]:
    return [None if t is None else t.data_ptr() for t in tensors]


KERNELS.update({LayerNorm.derivatives: layer_norm_derivatives, RMSNorm.derivatives: rms_norm_derivatives})
