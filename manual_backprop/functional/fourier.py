"""The Fourier transforms that torch's functions of torch.fft are made of.

Each of them pads or cuts its input, names the axes and calls one of these: `mb.explicit` sees it.
"""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor

from .. import rules
from ._call import call
from ._overloads import stands_for


@stands_for("_fft_c2c")
def _fft(input: Tensor, dim: Sequence[int], normalization: int, forward: bool) -> Tensor:
    return call(rules.FFT, input, list(dim), normalization, forward)


@stands_for("_fft_r2c")
def _fft_of_real(input: Tensor, dim: Sequence[int], normalization: int, onesided: bool) -> Tensor:
    return call(rules.FFTOfReal, input, list(dim), normalization, onesided)


@stands_for("_fft_c2r")
def _fft_to_real(input: Tensor, dim: Sequence[int], normalization: int, last_dim_size: int) -> Tensor:
    return call(rules.FFTToReal, input, list(dim), normalization, last_dim_size)
