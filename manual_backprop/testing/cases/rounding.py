"""Rows of signs, rounding and remainders."""

from functools import partial

import torch
from torch import Tensor

from ..case import INFINITE, Spec, constant, normal, uniform
from ._make import function

EDGES = (0.0, -0.0, 1.0, -1.0, 0.5, 1000.0, 1e-30, *INFINITE)

divisor = uniform(3, 4, low=0.4, high=0.9, specials=EDGES)
dividend = uniform(3, 4, low=1.9, high=2.1, specials=EDGES)
zeros = Spec(lambda generator, dtype: torch.zeros(3, 1, dtype=dtype), differentiable=False)


def step(input: Tensor, values: Tensor) -> Tensor:
    """torch.heaviside, which has no derivative."""
    return torch.where(input == 0, values, (input > 0).to(values.dtype))


CASES = [
    *(
        function(name, (normal(3, 4, kinks=(0.5, 1.5, -0.5)),))
        for name in ("sign", "floor", "ceil", "trunc", "round", "frac", "neg", "nan_to_num", "frexp")
    ),
    function("round", (normal(3, 4),), decimals=1),
    function("nan_to_num", (normal(3, 4),), nan=1.0, posinf=2.0, neginf=-2.0),
    *(
        function(name, operands, tag=tag)
        for name in ("fmod", "remainder")
        for tag, operands in (
            ("", (dividend, divisor)),
            ("negative", (uniform(3, 4, low=-2.1, high=-1.9), uniform(3, 4, low=0.4, high=0.6))),
            ("broadcast", (uniform(3, 1, low=1.9, high=2.1), uniform(2, 1, 4, low=0.85, high=0.95))),
            ("number", (dividend, constant(0.8))),
        )
    ),
    # torch's overload for a number has no derivative
    function(
        "remainder", (constant(2.0), divisor), lambda a, b: torch.remainder(b.new_full((), a), b), tag="number-first"
    ),
    function("floor_divide", (dividend, divisor), partial(torch.div, rounding_mode="floor")),
    *(function("div", (dividend, divisor), rounding_mode=mode) for mode in ("floor", "trunc")),
    function("div", (normal(3, 1), normal(2, 1, 4)), rounding_mode="floor", tag="broadcast"),
    function("div", (normal(3, 4), constant(0.3)), rounding_mode="trunc", tag="number"),
    function("copysign", (normal(3, 4), normal(3, 4))),
    function("copysign", (normal(3, 1), normal(2, 1, 4)), tag="broadcast"),
    function("copysign", (normal(3, 4), constant(-2.0)), tag="number"),
    function("nextafter", (normal(3, 4), normal(3, 4))),
    function("nextafter", (normal(3, 4, kinks=(0.5,)), constant(torch.full((3, 4), 0.5))), tag="ties"),
    function("nextafter", (normal(3, 1), normal(2, 1, 4)), tag="broadcast"),
    function("heaviside", (normal(3, 4, grad=False), normal(3, 4)), step),
    function("heaviside", (zeros, normal(2, 1, 4)), step, tag="broadcast"),
]
