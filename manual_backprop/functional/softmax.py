"""Softmax, softmin and log_softmax along one axis."""

from __future__ import annotations

import warnings

import torch
from torch import Tensor

from .. import rules
from ._call import call


def softmax(input: Tensor, dim: int | None = None, _stacklevel: int = 3, dtype: torch.dtype | None = None) -> Tensor:
    """y = e^x / sum along dim of e^x, as torch.nn.functional.softmax; rule: `mb.rules.Softmax`.

    `dtype` is that of the computation and the output. Without `dim`, warns and chooses one, as torch does.
    """
    if dim is None:
        dim = _implicit_dim("softmax", input, _stacklevel)
    return call(rules.Softmax, input, dim, dtype)


def softmin(input: Tensor, dim: int | None = None, _stacklevel: int = 3, dtype: torch.dtype | None = None) -> Tensor:
    """y = e^-x / sum along dim of e^-x, as torch.nn.functional.softmin; rule: `mb.rules.Softmin`.

    `dtype` is that of the computation and the output. Without `dim`, warns and chooses one, as torch does.
    """
    if dim is None:
        dim = _implicit_dim("softmin", input, _stacklevel)
    return call(rules.Softmin, input, dim, dtype)


def log_softmax(
    input: Tensor, dim: int | None = None, _stacklevel: int = 3, dtype: torch.dtype | None = None
) -> Tensor:
    """y = x - log of the sum along dim of e^x, as torch.nn.functional.log_softmax; rule: `mb.rules.LogSoftmax`.

    `dtype` is that of the computation and the output. Without `dim`, warns and chooses one, as torch does.
    """
    if dim is None:
        dim = _implicit_dim("log_softmax", input, _stacklevel)
    return call(rules.LogSoftmax, input, dim, dtype)


def _implicit_dim(name: str, input: Tensor, stacklevel: int) -> int:
    if not torch.compiler.is_compiling():  # a warning would cause a graph break
        warnings.warn(
            f"Implicit dimension choice for {name} has been deprecated. "
            "Change the call to include dim=X as an argument.",
            stacklevel=stacklevel,
        )
    return 0 if input.dim() in (0, 1, 3) else 1
