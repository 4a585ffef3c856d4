"""Bessel functions, elementwise.

torch has derivatives of I0 and I1 only, plain and scaled. The derivatives of J0, Y0 and K0 contain J1, Y1 and K1, and
the reverse. So a second derivative of one calls the rule of the other.
"""

from __future__ import annotations

import torch
from torch import Tensor, special

from ..engine.forward_mode import differentiable
from ..engine.operators import elemental

SOURCE = "Abramowitz, Stegun 1964, 9.1.27 to 9.1.30, 9.6.26 to 9.6.28, 10.1.21: derivatives of Bessel functions."


def tiny(input: Tensor) -> Tensor:
    """True where x is so near to 0 that I1(x) / x rounds to 1 / 2, and where x is NaN, as in torch."""
    return ~(input.abs() > torch.finfo(input.dtype).eps)


def apart(input: Tensor) -> Tensor:
    """x, moved away from 0: dividing by it gives no NaN in the branch that `where` does not select."""
    return torch.where(tiny(input), torch.finfo(input.dtype).eps, input)


I0 = elemental(
    "i0", "I0(x), a modified Bessel function", "I1(x) delta", lambda delta, input: delta * special.i1(input),
)  # fmt: skip
I0e = elemental(
    "special_i0e", "e^-|x| I0(x)", "(e^-|x| I1(x) - sgn(x) y) delta",
    lambda delta, input, output: delta * (special.i1e(input) - input.sgn() * output),
)  # fmt: skip
I1 = elemental(
    "special_i1", "I1(x), a modified Bessel function", "(I0(x) - y / x) delta, and delta / 2 at 0",
    lambda delta, input, output: delta
    * torch.where(tiny(input), 0.5, torch.i0(apart(input)) - output / apart(input)),
)  # fmt: skip
I1e = elemental(
    "special_i1e", "e^-|x| I1(x)", "(e^-|x| I0(x) - (sgn(x) + 1 / x) y) delta, and delta / 2 at 0",
    lambda delta, input, output: delta
    * torch.where(
        tiny(input), 0.5,
        special.i0e(apart(input)) - output * (apart(input).sgn() + 1 / apart(input)),
    ),
)  # fmt: skip
BesselJ0 = elemental(
    "special_bessel_j0", "J0(x)", "-J1(x) delta", lambda delta, input: -delta * differentiable(BesselJ1)(input),
)  # fmt: skip
BesselJ1 = elemental(
    "special_bessel_j1", "J1(x)", "(J0(x) - y / x) delta, and delta / 2 at 0",
    lambda delta, input, output: delta
    * torch.where(tiny(input), 0.5, differentiable(BesselJ0)(input) - output / apart(input)),
)  # fmt: skip
BesselY0 = elemental(
    "special_bessel_y0", "Y0(x)", "-Y1(x) delta", lambda delta, input: -delta * differentiable(BesselY1)(input),
)  # fmt: skip
BesselY1 = elemental(
    "special_bessel_y1", "Y1(x)", "(Y0(x) - y / x) delta",
    lambda delta, input, output: delta * (differentiable(BesselY0)(input) - output / input),
)  # fmt: skip
ModifiedBesselI0 = elemental(
    "special_modified_bessel_i0", "I0(x)", "I1(x) delta", lambda delta, input: delta * special.i1(input),
)  # fmt: skip
ModifiedBesselI1 = elemental(
    "special_modified_bessel_i1", "I1(x)", "(I0(x) - y / x) delta, and delta / 2 at 0",
    lambda delta, input, output: delta * torch.where(tiny(input), 0.5, torch.i0(input) - output / apart(input)),
)  # fmt: skip
ModifiedBesselK0 = elemental(
    "special_modified_bessel_k0", "K0(x)", "-K1(x) delta",
    lambda delta, input: -delta * differentiable(ModifiedBesselK1)(input),
)  # fmt: skip
ModifiedBesselK1 = elemental(
    "special_modified_bessel_k1", "K1(x)", "-(K0(x) + y / x) delta",
    lambda delta, input, output: -delta * (differentiable(ModifiedBesselK0)(input) + output / input),
)  # fmt: skip
ScaledModifiedBesselK0 = elemental(
    "special_scaled_modified_bessel_k0", "e^x K0(x)", "(y - e^x K1(x)) delta",
    lambda delta, input, output: delta * (output - differentiable(ScaledModifiedBesselK1)(input)),
)  # fmt: skip
ScaledModifiedBesselK1 = elemental(
    "special_scaled_modified_bessel_k1", "e^x K1(x)", "(y - e^x K0(x) - y / x) delta",
    lambda delta, input, output: delta * (output - differentiable(ScaledModifiedBesselK0)(input) - output / input),
)  # fmt: skip
SphericalBesselJ0 = elemental(
    "special_spherical_bessel_j0", "sin(x) / x, and 1 at 0", "(cos(x) - y) / x delta, and 0 at 0",
    lambda delta, input, output: torch.where(input == 0, 0.0, delta * (input.cos() - output) / input),
)  # fmt: skip
