"""Complex numbers: absolute value, sign, angle, conjugate, and numbers built from two real parts.

The gradient of a real loss by x = u + i v is its derivative by u plus i times that by v. Most functions here have no
complex derivative, so the tangent of each is written out: the formula of its delta, transposed over the real numbers.
"""

from __future__ import annotations

import torch
from torch import Tensor

from ..engine.operators import linear
from ..engine.rule import Rule
from ..engine.terms import total

SOURCE = 'Kreutz-Delgado 2009, "The Complex Gradient Operator and the CR-Calculus".'

FLOAT32 = {"cpu": "float32"}

Conj = linear(
    "conj_physical _conj_physical", "the conjugate of x", "the conjugate of delta", lambda delta: delta.conj(),
    name="Conj",
)  # fmt: skip


def along(direction: Tensor, value: Tensor) -> Tensor:
    """Re(conj(d) v): the component of v in the direction of d."""
    return (direction.conj() * value).real.clone() if value.is_complex() else direction * value


class Abs(Rule):
    """y = |x|

    input (*)   output, delta (*), real

    delta_input = sgn(x) delta,   with sgn(x) = x / |x|, and 0 at 0

    Source: Kreutz-Delgado 2009, "The Complex Gradient Operator and the CR-Calculus".
    """

    operator = "abs"
    elementwise = True
    tangent_reads = ()

    def forward(input: Tensor) -> Tensor:
        return torch.abs(input)

    def delta_input(delta: Tensor, input: Tensor) -> Tensor:
        return delta * input.sgn()

    def tangent(inputs: tuple, tangents: tuple, output: Tensor) -> Tensor:
        return along(inputs[0].sgn(), tangents[0])


class Sgn(Rule):
    """y = x / |x|, and 0 at 0

    input, output, delta (*)

    delta_input = (delta - y Re(conj(y) delta)) / |x|, and 0 at 0: what of delta turns x, and for real numbers 0

    Source: Kreutz-Delgado 2009, "The Complex Gradient Operator and the CR-Calculus".
    """

    operator = "sgn"
    elementwise = True

    def forward(input: Tensor) -> Tensor:
        return torch.sgn(input)

    def delta_input(delta: Tensor, input: Tensor, output: Tensor) -> Tensor:
        if not input.is_complex():
            return torch.zeros_like(delta)
        return torch.where(input == 0, 0.0, (delta - output * along(output, delta)) / input.abs())

    def tangent(inputs: tuple, tangents: tuple, output: Tensor) -> Tensor:
        return Sgn.delta_input(tangents[0], inputs[0], output)


class Angle(Rule):
    """y = the angle of x to the positive real numbers

    input (*)   output, delta (*), real

    delta_input = i x delta / |x|^2, and 0 at 0: across x; for real numbers 0

    Source: Kreutz-Delgado 2009, "The Complex Gradient Operator and the CR-Calculus".
    """

    operator = "angle"
    elementwise = True
    tangent_reads = ()

    def forward(input: Tensor) -> Tensor:
        return torch.angle(input)

    def slope(input: Tensor) -> Tensor:
        if not input.is_complex():
            return torch.zeros_like(input)
        return torch.where(input == 0, 0.0, 1j * input / input.abs() ** 2)

    def delta_input(delta: Tensor, slope: Tensor) -> Tensor:
        return delta * slope

    def tangent(inputs: tuple, tangents: tuple, output: Tensor) -> Tensor:
        return along(Angle.slope(inputs[0]), tangents[0])


class Complex(Rule):
    """y = a + i b

    real a, imag b (*, broadcast)   output, delta (*), complex

    delta_real = Re(delta)     delta_imag = Im(delta)

    Source: Kreutz-Delgado 2009, "The Complex Gradient Operator and the CR-Calculus".
    """

    operator = "complex"
    broadcasts = True
    linear = ("real", "imag")

    def forward(real: Tensor, imag: Tensor) -> Tensor:
        return torch.complex(real, imag)

    def delta_real(delta: Tensor) -> Tensor:
        return delta.real.clone()

    def delta_imag(delta: Tensor) -> Tensor:
        return delta.imag.clone()


class Polar(Rule):
    """y = r e^(i w)

    abs r, angle w (*, broadcast)   output, delta (*), complex

    delta_abs = Re(conj(e^(i w)) delta)     delta_angle = Re(conj(i r e^(i w)) delta)

    Source: Kreutz-Delgado 2009, "The Complex Gradient Operator and the CR-Calculus".
    """

    operator = "polar"
    broadcasts = True
    autocast = FLOAT32

    def forward(abs: Tensor, angle: Tensor) -> Tensor:
        return torch.polar(abs, angle)

    def turn(angle: Tensor) -> Tensor:
        """e^(i w)"""
        return torch.complex(angle.cos(), angle.sin())

    def delta_abs(delta: Tensor, turn: Tensor) -> Tensor:
        return along(turn, delta)

    def delta_angle(delta: Tensor, abs: Tensor, turn: Tensor) -> Tensor:
        return along(1j * abs * turn, delta)

    def tangent(inputs: tuple, tangents: tuple, output: Tensor) -> Tensor | None:
        t_abs, t_angle = tangents
        return total(
            None if t_abs is None else t_abs * Polar.turn(inputs[1]), None if t_angle is None else t_angle * 1j * output
        )
