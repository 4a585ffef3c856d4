"""Bilinear under autocast on a CPU, where the twin's products are rounded to bfloat16 and ours are not."""

from __future__ import annotations

from typing import Any

import pytest
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


@pytest.mark.parametrize("shapes", [[(4,), (3, 4), (3,)], [(4,), (4,)]])
@pytest.mark.parametrize("strategy", ["reverse-mode", "forward-mode"])
def test_vectorized_hessians_of_linear_on_a_vector(shapes: list[tuple[int, ...]], strategy: str) -> None:
    """torch's older vmap, under forward mode, takes no tangent of a vector that is reshaped to a matrix."""
    tensors = tuple(torch.randn(shape, dtype=torch.double) for shape in shapes)
    found = []
    for functions in (mb.functional, torch.nn.functional):

        def loss(*given: Tensor, functions: Any = functions) -> Tensor:
            return (functions.linear(*given) ** 3).sum()

        options = {"vectorize": True, "outer_jacobian_strategy": strategy}
        found.append(torch.autograd.functional.hessian(loss, tensors, **options))
    torch.testing.assert_close(*found, rtol=1e-12, atol=1e-12)  # float64 rounding
