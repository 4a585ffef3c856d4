"""Numbers put in other places: the delta goes back to where each came from."""

from __future__ import annotations

from ..engine.operators import linear

SOURCE = 'Griewank, Walther 2008, "Evaluating Derivatives": the adjoint of a permutation is its inverse.'

Roll = linear(
    "roll", "x moved along axes, around their ends", "delta, moved back",
    lambda delta, shifts, dims: delta.roll([-shift for shift in shifts], dims),
    takes="input, shifts: list, dims: list",
)  # fmt: skip
Flip = linear(
    "flip", "x with axes reversed", "delta with the same axes reversed",
    lambda delta, dims: delta.flip(dims), takes="input, dims: list",
)  # fmt: skip
