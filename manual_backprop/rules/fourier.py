"""Discrete Fourier transforms over several axes, of real and complex numbers.

A transform is a product with a symmetric matrix F. The conjugate of F is the transform in the other direction, so the
delta of the input is that transform of delta, with the same factor. `normalization` is torch's code for the factor:
0 for 1, 1 for 1 / sqrt(n), 2 for 1 / n, for a transform of n elements.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from ..engine.rule import Rule

FORTH = "backward", "ortho", "forward"
"""Code of the factor -> its name in torch.fft, for forward transforms."""

BACK = "forward", "ortho", "backward"
"""Code of the factor -> its name in torch.fft, for inverse transforms."""


def transformed(input: Tensor, dim: list, normalization: int, forward: bool) -> Tensor:
    """The complex transform, forward or inverse."""
    if forward:
        return torch.fft.fftn(input, dim=dim, norm=FORTH[normalization])
    return torch.fft.ifftn(input, dim=dim, norm=BACK[normalization])


class FFT(Rule):
    """Y_k = c sum of x_n e^(-2 pi i n k / N) over the axes, or with + where not `forward`

    input, output, delta (*, N, *), complex   dim: axes   normalization: which c

    delta_input = the transform of delta in the other direction, with the same c

    Source: Cooley, Tukey 1965, for the transform; it is linear, its adjoint is the conjugate transform.
    """

    operator = "_fft_c2c"
    linear = ("input",)

    def forward(input: Tensor, dim: list, normalization: int, forward: bool) -> Tensor:
        return transformed(input, dim, normalization, forward)

    def delta_input(delta: Tensor, dim: list, normalization: int, forward: bool) -> Tensor:
        return transformed(delta, dim, normalization, not forward)


class FFTOfReal(Rule):
    """Y_k = c sum of x_n e^(-2 pi i n k / N) over the axes; with `onesided` k <= N / 2 alone on the last one

    input (*, N, *), real   dim: axes   normalization: which c   output, delta (*, N or N // 2 + 1, *), complex

    delta_input = the real part of the transform of delta in the other direction, with zeros for frequencies left out

    Source: Cooley, Tukey 1965, for the transform; it is linear, its adjoint is the conjugate transform.
    """

    operator = "_fft_r2c"
    linear = ("input",)

    def forward(input: Tensor, dim: list, normalization: int, onesided: bool) -> Tensor:
        if len(dim) == 1:
            transform: Any = torch.fft.rfft if onesided else torch.fft.fft
            return transform(input, dim=dim[0], norm=FORTH[normalization])
        several: Any = torch.fft.rfftn if onesided else torch.fft.fftn
        return several(input, dim=dim, norm=FORTH[normalization])

    def delta_input(delta: Tensor, dim: list, normalization: int, onesided: bool, input_shape: torch.Size) -> Tensor:
        last = dim[-1]
        if onesided:
            left_out = input_shape[last] - delta.shape[last]
            zeros = delta.new_zeros([left_out if a == last % delta.dim() else n for a, n in enumerate(delta.shape)])
            delta = torch.cat([delta, zeros], last)
        return transformed(delta, dim, normalization, forward=False).real


class FFTToReal(Rule):
    """y_n = c sum of X_k e^(2 pi i n k / N) over the axes, where X_(N-k) = conj(X_k) is left out on the last one

    input (*, N // 2 + 1, *), complex   dim: axes   normalization: which c   last_dim_size N
    output, delta (*, N, *), real

    delta_input = the transform of delta, twice that of frequencies that stand for two

    Source: Cooley, Tukey 1965, for the transform; it is linear, its adjoint is the conjugate transform.
    """

    operator = "_fft_c2r"
    linear = ("input",)

    def forward(input: Tensor, dim: list, normalization: int, last_dim_size: int) -> Tensor:
        sizes = [input.shape[axis] for axis in dim[:-1]]
        return torch.fft.irfftn(input, [*sizes, last_dim_size], dim, BACK[normalization])

    def delta_input(delta: Tensor, dim: list, normalization: int, last_dim_size: int) -> Tensor:
        delta = torch.fft.rfftn(delta, dim=dim, norm=FORTH[normalization])
        last = dim[-1]
        k = torch.arange(delta.shape[last], device=delta.device)
        times = 1 + ((k > 0) & (2 * k < last_dim_size)).to(delta.real.dtype)
        return delta * times.reshape([-1 if a == last % delta.dim() else 1 for a in range(delta.dim())])
