"""Rows of powers, exponentials and logarithms."""

import torch

from ..case import INFINITE, Spec, complex_normal, constant, normal, uniform
from ._make import COMPLEX, function

EDGES = (0.0, -0.0, 1.0, -1.0, -1.5, 1e-30, 1000.0, -1000.0, *INFINITE)

positive = uniform(3, 4, low=0.5, high=2.0, specials=EDGES)
# no -0: torch's formula and its kernel disagree on its sign
inside = uniform(3, 4, low=0.1, high=0.9, specials=(0.0, 1.0, -1.0, 1e-30, 0.2, 0.8, *INFINITE))
zeros = Spec(lambda generator, dtype: torch.zeros(3, 4, dtype=dtype))
real_as_complex = Spec(
    lambda generator, dtype: torch.rand(3, 4, generator=generator).to(torch.complex128), specials=(0.0, 1.0, -1.0)
)
ZERO = {
    "without": {
        **COMPLEX["without"],
        **dict.fromkeys(
            ("gradgradcheck", "forward_mode"), "powers of 0 are undefined for complex exponents near a real"
        ),
    }
}

CASES = [
    *(function(name, (normal(3, 4),)) for name in ("exp", "exp2", "expm1")),
    *(
        function(name, (positive,))
        for name in ("log", "log2", "log10", "log1p", "sqrt", "rsqrt", "reciprocal", "special_entr")
    ),
    *(
        function(name, (complex_normal(3, 4),), tag="complex", row=COMPLEX)
        for name in ("exp", "exp2", "expm1", "log", "log2", "log10", "log1p", "sqrt", "rsqrt", "reciprocal")
    ),
    function("pow", (positive, normal(3, 4))),
    function("pow", (uniform(3, 4, low=-2.0, high=2.0, specials=EDGES), constant(2)), tag="number"),
    function("pow", (uniform(3, 4, low=-2.0, high=2.0, specials=EDGES), constant(0)), tag="zero"),
    function("pow", (positive, constant(-1.5)), tag="negative"),
    function("pow", (uniform(3, 1, low=0.5, high=2.0), normal(2, 1, 4)), tag="broadcast"),
    function("pow", (constant(2.0), normal(3, 4)), tag="number-first"),
    function("pow", (constant(0), uniform(3, 4, low=0.5, specials=EDGES)), tag="zero-first"),
    function("pow", (constant(torch.tensor([1, 2, 3, 0])), uniform(3, 4, low=0.5)), tag="integers"),
    function("pow", (uniform(3, 4, low=0.5), constant(torch.tensor([1, 2, -3, 0]))), tag="integer-exponents"),
    function("pow", (complex_normal(3, 4), complex_normal(3, 1)), tag="complex", row=COMPLEX),
    function("pow", (complex_normal(3, 4), constant(2 - 1j)), tag="complex-number", row=COMPLEX),
    function("pow", (constant(0.0), real_as_complex), tag="zero-first-complex", row=ZERO),
    function("pow", (constant(2 - 1j), normal(3, 4)), tag="complex-number-first", row=COMPLEX),
    function("ldexp", (normal(3, 4), uniform(3, 4, low=-3.0, high=3.0, specials=(0.0, 1.0, -20.0, *INFINITE)))),
    function("ldexp", (normal(3, 4), constant(torch.tensor([1, -2, 0, 5]))), tag="integers"),
    function("ldexp", (normal(2, 1, 4), uniform(3, 1)), tag="broadcast"),
    function("ldexp", (complex_normal(3, 4), complex_normal(4)), tag="complex", row=COMPLEX),
    *(
        function(name, operands, tag=tag)
        for name in ("logaddexp", "logaddexp2")
        for tag, operands in (
            ("", (normal(3, 4), normal(3, 4))),
            ("broadcast", (normal(3, 1), normal(2, 1, 4))),
        )
    ),
    function("logaddexp", (complex_normal(3, 4), complex_normal(4)), tag="complex", row=COMPLEX),
    *(
        function(name, operands, tag=tag)
        for name in ("xlogy", "special_xlog1py")
        for tag, operands in (
            ("", (normal(3, 4), positive)),
            ("broadcast", (normal(3, 1), uniform(2, 1, 4, low=0.5))),
            ("number", (normal(3, 4), constant(2.0))),
            ("one", (normal(3, 4), constant(1.0))),
            ("number-first", (constant(2.0), positive)),
            ("zeros", (zeros, positive)),
        )
    ),
    function("logit", (inside,)),
    function("logit", (inside,), eps=0.2),
]
