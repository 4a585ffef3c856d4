"""Rows of conversions from dense to sparse tensors and back."""

from torch import Tensor

from manual_backprop import rules
from manual_backprop.functional import call

from ..case import Case
from ._matrices import matrices, without

SPARSE = without(
    "torch has no sparse tensors under vmap, torch.compile, and in forward mode through a Function",
    "batched_grad", "compiled", "forward_mode", "autocast",
)  # fmt: skip


def ours(input: Tensor) -> Tensor:
    """To sparse and back, by the rules."""
    return call(rules.ToDense, call(rules.ToSparse, input, None, None, None, None))


def twin(input: Tensor) -> Tensor:
    """To sparse and back, by torch."""
    return input.to_sparse().to_dense()


CASES = [Case("to_sparse", lambda: ours, lambda: twin, (matrices(3, 4),), **SPARSE)]
