"""Functions that rearrange elements, with torch's signatures."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor

from .. import rules
from ._call import call
from ._overloads import stands_for


@stands_for("block_diag")
def _block_diag(tensors: Sequence[Tensor]) -> Tensor:
    return call(rules.BlockDiag, *tensors)


def block_diag(*tensors: Tensor) -> Tensor:
    """One matrix with the given ones along its diagonal, as torch.block_diag; rule: `mb.rules.BlockDiag`."""
    return call(rules.BlockDiag, *tensors)
