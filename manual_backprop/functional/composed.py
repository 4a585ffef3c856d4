"""Functions that belong to no family: conv_tbc, gumbel_softmax, weight_norm, grouped_mm."""

from __future__ import annotations

import warnings

import torch
from torch import Tensor

from .. import rules
from ._call import call
from ._overloads import stands_for
from .arithmetic import add, div, sub
from .softmax import softmax


@stands_for("conv_tbc")
def conv_tbc(input: Tensor, weight: Tensor, bias: Tensor, pad: int = 0) -> Tensor:
    """Convolution of (T, N, C) by weight (K, C, O), as torch.nn.functional.conv_tbc; rule: `mb.rules.ConvTBC`.

    RuntimeError for shapes that do not fit.
    """
    return call(rules.ConvTBC, input, weight, bias, pad)


def gumbel_softmax(logits: Tensor, tau: float = 1, hard: bool = False, eps: float = 1e-10, dim: int = -1) -> Tensor:
    """softmax((x + g) / tau) with Gumbel noise g, as torch.nn.functional.gumbel_softmax.

    Rules: those of add, div and softmax. With `hard` the output is one-hot, but its derivative is that of the softmax.
    """
    if eps != 1e-10:
        warnings.warn("`eps` parameter is deprecated and has no effect.", stacklevel=2)
    with torch.no_grad():
        noise = -torch.empty_like(logits, memory_format=torch.legacy_contiguous_format).exponential_().log()
    soft = softmax(div(add(logits, noise), tau), dim)
    if not hard:
        return soft
    with torch.no_grad():
        index = soft.max(dim, keepdim=True)[1]
        chosen = torch.zeros_like(logits, memory_format=torch.legacy_contiguous_format).scatter_(dim, index, 1.0)
    return add(sub(chosen, soft.detach()), soft)


@stands_for("_weight_norm")
def weight_norm(v: Tensor, g: Tensor, dim: int = 0) -> Tensor:
    """g v / |v|, the norm taken over all axes except dim (-1: over all elements); rule: `mb.rules.WeightNorm`.

    It computes what torch.nn.utils.parametrizations.weight_norm computes.
    """
    return call(rules.WeightNorm, v, g, dim)


@stands_for("_grouped_mm")
def grouped_mm(
    mat_a: Tensor,
    mat_b: Tensor,
    *,
    offs: Tensor | None = None,
    bias: Tensor | None = None,
    out_dtype: torch.dtype | None = None,
) -> Tensor:
    """Products of groups of rows or columns, as torch.nn.functional.grouped_mm; rule: `mb.rules.GroupedMM`.

    offs (G): where each group ends, needed where a matrix has two axes. Unlike torch's, takes float64, too.
    RuntimeError for a bias, which torch does not support yet either, and for shapes that do not fit.
    """
    if bias is not None:
        raise RuntimeError("grouped_mm: a bias is not supported. got: a bias. expected: None; add the bias afterwards")
    if (offs is None) != (mat_a.dim() == mat_b.dim() == 3):
        raise RuntimeError(
            f"grouped_mm: offs do not fit. got: offs {None if offs is None else tuple(offs.shape)} for matrices "
            f"{tuple(mat_a.shape)} and {tuple(mat_b.shape)}. expected: offs if a matrix has two axes, else None"
        )
    return call(rules.GroupedMM, mat_a, mat_b, offs, out_dtype)
