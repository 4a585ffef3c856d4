"""ReLU's delta as a bit mask: three vectorized passes where ATen's `where` on the CPU goes through elements one by one.

Masking bits, unlike multiplying by 0 or 1, leaves infinite and NaN deltas as the formula does.
"""

from __future__ import annotations

import torch
from torch import Tensor

from ..rules import ReLU
from ..rules._rule import KERNELS

BITS = {torch.float64: torch.int64, torch.float32: torch.int32, torch.bfloat16: torch.int16, torch.float16: torch.int16}


def relu_delta_input(delta: Tensor, output: Tensor) -> Tensor:
    """`ReLU.delta_input`."""
    if (
        torch.compiler.is_compiling()
        # neither vmap has a rule for out= and view(dtype): that of torch.func, that of autograd.grad(is_grads_batched)
        or torch._C._are_functorch_transforms_active()
        or torch._C._functorch.is_legacy_batchedtensor(delta)
        or delta.device.type != "cpu"
        or delta.dtype not in BITS
        or delta.dtype != output.dtype
    ):
        return ReLU.delta_input(delta, output)
    passing = torch.empty_like(output, dtype=BITS[delta.dtype])
    torch.le(output, 0, out=passing).sub_(1)  # all bits 0 where the unit is dead, 1 elsewhere
    return passing.bitwise_and_(delta.view(BITS[delta.dtype])).view(delta.dtype)


KERNELS[ReLU.delta_input] = relu_delta_input
