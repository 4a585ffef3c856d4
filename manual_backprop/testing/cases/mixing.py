"""Rows of lerp, addcmul and addcdiv."""

from ..case import complex_normal, constant, normal, uniform
from ._make import COMPLEX, function

divisor = uniform(3, 4, low=0.5, high=2.0)

CASES = [
    function("lerp", (normal(3, 4), normal(3, 4), normal(3, 4))),
    function("lerp", (normal(3, 4), normal(3, 4), constant(0.3)), tag="number"),
    function("lerp", (normal(3, 1), normal(2, 1, 4), normal(4)), tag="broadcast"),
    function("addcmul", (normal(3, 4), normal(3, 4), normal(3, 4))),
    function("addcmul", (normal(3, 1), normal(4), normal(2, 1, 4)), value=-1.5, tag="broadcast"),
    function("addcdiv", (normal(3, 4), normal(3, 4), divisor)),
    function("addcdiv", (normal(3, 1), normal(4), uniform(2, 1, 4, low=0.5)), value=-1.5, tag="broadcast"),
    *(
        function(name, (complex_normal(3, 4), complex_normal(4), complex_normal(3, 1)), tag="complex", row=COMPLEX)
        for name in ("lerp", "addcmul", "addcdiv")
    ),
    *(
        function(name, (complex_normal(3, 4), complex_normal(4), complex_normal(3, 1)), value=2 - 1j, row=COMPLEX)
        for name in ("addcmul", "addcdiv")
    ),
    function("lerp", (complex_normal(3, 4), complex_normal(4), constant(2 - 1j)), tag="complex-number", row=COMPLEX),
]
