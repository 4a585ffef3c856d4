"""Rows of functions that split, join or conjugate complex numbers."""

from ..case import Spec, complex_normal, normal, uniform
from ._make import COMPLEX, function

NEGATIVE = {
    "without": {
        check: "torch's gradient by a negative radius has the wrong sign: gradcheck fails for it"
        for check in ("float32", "bfloat16", "specials", "autocast", "transforms")
    }
}

CASES = [
    *(function(name, (normal(3, 4),)) for name in ("abs", "sgn", "angle")),
    *(
        function(name, (Spec(complex_normal(3, 4).make, specials=(0.0, 1.0, -1.0)),), tag="complex", row=COMPLEX)
        for name in ("abs", "sgn", "angle", "conj_physical")
    ),
    function("complex", (normal(3, 4), normal(3, 4))),
    function("complex", (normal(3, 1), normal(2, 1, 4)), tag="broadcast"),
    function("polar", (uniform(3, 4, low=0.5, high=2.0), normal(3, 4))),
    function("polar", (uniform(3, 1, low=0.5, high=2.0), normal(2, 1, 4)), tag="broadcast"),
    function("polar", (uniform(3, 4, low=-2.0, high=-0.5), normal(3, 4)), tag="negative", row=NEGATIVE),
]
