"""Rows of Bessel functions. Where torch has no derivative, the formulas are checked by finite differences only."""

from functools import partial

import torch

import manual_backprop as mb

from ..case import Case, Spec, normal, uniform
from ._make import function

SHORT = {"bfloat16": "torch has none of these functions in 16 bits"}
AT_ZERO = {
    **SHORT,
    **dict.fromkeys(
        ("gradgradcheck", "forward_mode", "transforms: hessian"),
        "the slope at 0 is a constant, so it has no second derivative",
    ),
}
zeros = Spec(lambda generator, dtype: torch.zeros(3, 4, dtype=dtype))
positive = uniform(3, 4, low=0.5, high=3.0)

CASES = [
    *(function(name, (normal(3, 4),)) for name in ("i0", "special_i0e")),
    *(
        function(name, (normal(3, 4),), row={"without": {"autocast": "torch has no derivative in bfloat16"}})
        for name in ("special_i1", "special_i1e")
    ),
    *(
        Case(name, partial(getattr, mb.functional, name), None, (spec,), without=SHORT)
        for name, spec in (
            ("special_bessel_j0", normal(3, 4)),
            ("special_bessel_j1", normal(3, 4)),
            ("special_bessel_y0", positive),
            ("special_bessel_y1", positive),
            ("special_modified_bessel_k0", positive),
            ("special_modified_bessel_k1", positive),
            ("special_scaled_modified_bessel_k0", positive),
            ("special_scaled_modified_bessel_k1", positive),
        )
    ),
    *(
        Case(name, partial(getattr, mb.functional, name), None, (normal(3, 4),), without=SHORT)
        for name in ("special_modified_bessel_i0", "special_modified_bessel_i1", "special_spherical_bessel_j0")
    ),
    *(
        Case(f"{name}-zero", partial(getattr, mb.functional, name), None, (zeros,), without=AT_ZERO)
        for name in ("special_bessel_j1", "special_modified_bessel_i1", "special_spherical_bessel_j0")
    ),
]
