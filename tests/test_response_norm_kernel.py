"""The kernel of local response normalization: the formula's numbers, for tiles of every kind."""

from __future__ import annotations

import pytest
import torch

from manual_backprop.kernels.response_norm import local_response_norm_delta_input
from manual_backprop.rules import LocalResponseNorm


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("shape", [(3, 4), (2, 5, 3), (2, 7, 300), (1, 3, 16, 16), (5, 1, 2, 3, 4), (2, 2, 700)])
def test_sums_over_channels(shape: tuple[int, ...], dtype: torch.dtype) -> None:
    torch.manual_seed(0)
    x, delta = torch.randn(shape, dtype=dtype), torch.randn(shape, dtype=dtype)
    for size in (1, 2, 3, 8):  # also more channels than there are
        s = LocalResponseNorm.s(x, size, 0.5, 1.0)
        found = local_response_norm_delta_input(delta, x, s, size, 0.5, 0.75)
        expected = LocalResponseNorm.delta_input(delta, x, s, size, 0.5, 0.75)
        rtol = 1e-12 if dtype == torch.float64 else 1e-5  # float32 sums in another order
        torch.testing.assert_close(found, expected, rtol=rtol, atol=rtol * float(expected.abs().max()))
    assert local_response_norm_delta_input(delta.mT, x.mT, s.mT, 2, 0.5, 0.75) is NotImplemented
