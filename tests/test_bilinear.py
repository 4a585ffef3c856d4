"""Bilinear under autocast on a CPU, where the twin's products are rounded to bfloat16 and ours are not."""

from __future__ import annotations

import torch
from torch import Tensor

import manual_backprop as mb


def test_under_autocast_the_dtype_is_the_twins_and_the_error_no_larger() -> None:
    torch.manual_seed(0)
    twin = torch.nn.Bilinear(8, 6, 5)
    ours = mb.nn.Bilinear(8, 6, 5)
    ours.load_state_dict(twin.state_dict())
    inputs = torch.randn(32, 8), torch.randn(32, 6)
    exact = twin.double()(*(x.double() for x in inputs))
    twin.float()

    def result(layer: torch.nn.Module) -> tuple[Tensor, float]:
        with torch.autocast("cpu", dtype=torch.bfloat16):
            output = layer(*inputs)
        return output, float((output - exact).detach().abs().max())

    (our_output, our_error), (their_output, their_error) = result(ours), result(twin)
    assert our_output.dtype == their_output.dtype == torch.float32
    # float32 products of 48 terms: some 48 roundings of 2^-24, on values of size 1
    assert our_error <= min(their_error, 48 * 2.0**-24)
