"""Rows of the discrete Fourier transforms: `normalization` is 0 for a factor of 1, 1 for 1 / sqrt(n), 2 for 1 / n."""

from manual_backprop.rules import FFT, FFTOfReal, FFTToReal

from ..case import complex_normal, normal
from ._make import COMPLEX, function

FORTH_OR_BACK, OF_REAL, TO_REAL = FFT.operator, FFTOfReal.operator, FFTToReal.operator

CASES = [
    function(FORTH_OR_BACK, (complex_normal(3, 4),), dim=[1], normalization=0, forward=True, row=COMPLEX),
    function(FORTH_OR_BACK, (complex_normal(3, 4),), dim=[0, 1], normalization=1, forward=False, row=COMPLEX),
    function(FORTH_OR_BACK, (complex_normal(2, 3, 4),), dim=[0, 2], normalization=2, forward=False, row=COMPLEX),
    function(OF_REAL, (normal(3, 5),), dim=[1], normalization=0, onesided=True, row=COMPLEX),
    function(OF_REAL, (normal(4, 3, 2),), dim=[1, 0], normalization=1, onesided=True, row=COMPLEX),
    function(OF_REAL, (normal(3, 4),), dim=[1], normalization=2, onesided=False, row=COMPLEX),
    function(TO_REAL, (complex_normal(3, 3),), dim=[1], normalization=0, last_dim_size=4, row=COMPLEX),
    function(TO_REAL, (complex_normal(3, 3),), dim=[0, 1], normalization=1, last_dim_size=5, row=COMPLEX),
    function(TO_REAL, (complex_normal(3, 2, 2),), dim=[2, 0], normalization=2, last_dim_size=5, row=COMPLEX),
]
