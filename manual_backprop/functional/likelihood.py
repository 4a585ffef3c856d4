"""Negative log-likelihoods."""

from __future__ import annotations

import torch
from torch import Tensor

from .. import rules
from ..engine.torch_private import transforms_active
from ._call import call
from ._losses import reduction_of


def gaussian_nll_loss(
    input: Tensor,
    target: Tensor,
    var: Tensor | float,
    full: bool = False,
    eps: float = 1e-6,
    reduction: str = "mean",
) -> Tensor:
    """(log v + (x - y)^2 / v) / 2, as torch.nn.functional.gaussian_nll_loss; rule: `mb.rules.GaussianNLLLoss`.

    var: a number or a tensor of the input's size, whose last axis may be missing, or one of whose axes may have size 1.
    ValueError for an unknown reduction, a var of another size or with negative entries.
    """
    if isinstance(var, float):
        negative = var < 0
        var = torch.full_like(input, var)
    else:
        negative = not (torch.compiler.is_compiling() or transforms_active()) and bool((var < 0).any())
    if negative:
        raise ValueError("var has negative entry/entries")
    if var.size() != input.size():
        if input.size()[:-1] == var.size():
            var = var.unsqueeze(-1)
        else:
            others = [b for a, b in zip(input.size(), var.size(), strict=False) if a != b]
            if input.dim() != var.dim() or len(others) != 1 or others[0] != 1:
                raise ValueError(
                    f"var is of incorrect size. got: {tuple(var.shape)}. expected: the size of the input, "
                    f"{tuple(input.shape)}, which may lack the last axis or have one axis of size 1"
                )
    return call(rules.GaussianNLLLoss, input, target, var, full, eps, reduction_of(reduction, None, None))


def poisson_nll_loss(
    input: Tensor,
    target: Tensor,
    log_input: bool = True,
    full: bool = False,
    size_average: bool | None = None,
    eps: float = 1e-8,
    reduce: bool | None = None,
    reduction: str = "mean",
) -> Tensor:
    """e^x - y x, as torch.nn.functional.poisson_nll_loss; rule: `mb.rules.PoissonNLLLoss`.

    ValueError for an unknown reduction, RuntimeError where the sizes cannot be broadcast.
    """
    reduction = reduction_of(reduction, size_average, reduce)
    return call(rules.PoissonNLLLoss, input, target, log_input, full, eps, reduction)[0]
