"""Rows of trigonometric and hyperbolic functions."""

from ..case import INFINITE, complex_normal, normal, uniform
from ._make import COMPLEX, function

EDGES = (0.0, -0.0, 1.0, -1.0, 1e-30, 2.0, -2.0, *INFINITE)

within = uniform(3, 4, low=-0.9, high=0.9, specials=EDGES)
above = uniform(3, 4, low=1.1, high=3.0, specials=EDGES)

CASES = [
    *(
        function(name, (normal(3, 4),))
        for name in ("sin", "cos", "tan", "atan", "sinh", "cosh", "asinh", "sinc", "deg2rad", "rad2deg")
    ),
    *(function(name, (within,)) for name in ("asin", "acos", "atanh")),
    function("acosh", (above,)),
    *(
        function(name, (complex_normal(3, 4),), tag="complex", row=COMPLEX)
        for name in (
            "sin", "cos", "tan", "asin", "acos", "atan", "sinh", "cosh", "asinh", "acosh", "atanh", "sinc",
        )
    ),
    *(
        function(name, operands, tag=tag)
        for name in ("atan2", "hypot")
        for tag, operands in (("", (normal(3, 4), normal(3, 4))), ("broadcast", (normal(3, 1), normal(2, 1, 4))))
    ),
]  # fmt: skip
