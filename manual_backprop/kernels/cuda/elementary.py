"""Elementary functions in float32 that Triton lacks. Their errors are a few roundings, also at the ends of the range.

They use Triton's e^x and log x. Near 0, where the result is small beside 1 and would cancel, they use a series.
"""

from __future__ import annotations

import triton
import triton.language as tl


@triton.jit
def expm1(x):
    near = 1 + x / 8 * (1 + x / 9)  # Taylor, to x^9 / 9!
    near = 1 + x / 4 * (1 + x / 5 * (1 + x / 6 * (1 + x / 7 * near)))
    near = x * (1 + x / 2 * (1 + x / 3 * near))
    return tl.where(tl.abs(x) < 0.5, near, tl.exp(x) - 1)


@triton.jit
def log1p(x):
    s = x / (x + 2)  # log(1 + x) = 2 atanh s
    z = s * s
    near = 1.0 / 9 + z * (1.0 / 11 + z * (1.0 / 13 + z * (1.0 / 15 + z * (1.0 / 17))))
    near = 2 * s * (1 + z * (1.0 / 3 + z * (1.0 / 5 + z * (1.0 / 7 + z * near))))
    near = tl.where(x == 0, x, near)  # keeps -0
    return tl.where((x > -0.5) & (x < 1), near, tl.log(1 + x))


@triton.jit
def sigmoid(x):
    e = tl.exp(-tl.abs(x))
    return tl.where(x < 0, e, 1.0) / (1 + e)


@triton.jit
def tanh(x):
    t = expm1(-2 * tl.abs(x))
    size = -t / (t + 2)
    return tl.where(x < 0, -size, tl.where(x == 0, x, size))


@triton.jit
def erfc(x):
    """A Chebyshev fit with a relative error below 1.2e-7: Press et al. 1992, "Numerical Recipes", section 6.2."""
    a = tl.abs(x)
    t = 1.0 / (1 + 0.5 * a)
    series = -0.82215223 + t * 0.17087277
    series = 0.27886807 + t * (-1.13520398 + t * (1.48851587 + t * series))
    series = 1.00002368 + t * (0.37409196 + t * (0.09678418 + t * (-0.18628806 + t * series)))
    high = t * tl.exp(-a * a + (-1.26551223 + t * series))
    high = tl.where(a > 11, 0.0, high)  # underflows there; for infinity the formula would give NaN
    high = tl.where(x != x, x, high)
    return tl.where(x < 0, 2 - high, high)
