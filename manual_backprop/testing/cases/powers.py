"""Rows of powers, exponentials and logarithms."""

from ..case import complex_normal, normal, uniform
from ._make import COMPLEX, function

positive = uniform(3, 4, low=0.5, high=2.0, specials=(0.0, 1.0, 1e-30, 1000.0))

CASES = [
    function("exp", (normal(3, 4),)),
    function("exp", (complex_normal(3, 4),), tag="complex", row=COMPLEX),
    function("log", (positive,)),
    function("rsqrt", (positive,)),
]
