"""Rows of special functions."""

from ..case import INFINITE, constant, normal, uniform
from ._make import function

positive = uniform(3, 4, low=0.5, high=3.0, specials=(0.0, 1.0, -1.0, -1.5, 1e-30, 100.0, *INFINITE))
within = uniform(3, 4, low=-0.9, high=0.9, specials=(0.0, 1.0, -1.0, 2.0, *INFINITE))
probability = uniform(3, 4, low=0.1, high=0.9, specials=(0.0, 0.5, 1.0, 2.0, *INFINITE))
ZETA = {"without": {"forward_mode": "the formula calls torch's zeta, which has no forward mode"}}

CASES = [
    *(
        function(name, (normal(3, 4),))
        for name in (
            "erf", "erfc", "special_erfcx", "special_log_ndtr",
        )
    ),
    function("erfinv", (within,)),
    function("special_ndtri", (probability,)),
    function("lgamma", (positive,)),
    function("digamma", (positive,)),
    *(function("polygamma", (constant(n), positive), tag=str(n)) for n in (0, 1, 3)),
    *(function("mvlgamma", (uniform(3, 4, low=2.5, high=4.0),), p=p) for p in (1, 3, 5)),
    function("igamma", (uniform(3, 4, low=0.5, high=3.0, grad=False), positive)),
    function("igamma", (uniform(3, 1, low=0.5, high=3.0, grad=False), uniform(2, 1, 4, low=0.5)), tag="broadcast"),
    function("igammac", (uniform(3, 4, low=0.5, high=3.0, grad=False), positive)),
    function("special_zeta", (uniform(3, 4, low=1.5, high=3.0, grad=False), positive), row=ZETA),
    function("special_zeta", (constant(2.5), positive), tag="number-first", row=ZETA),
]  # fmt: skip
