"""Signs, rounding and remainders. Step functions have derivative zero, also at the steps."""

from __future__ import annotations

import torch

from ..engine.operators import elemental, pairwise

SOURCE = "the derivatives of a step function, of a line, and of a - b times a step function."

Sign = elemental("sign", "-1, 0 or 1, as x is", "0", lambda delta: torch.zeros_like(delta))
Floor = elemental("floor", "the next integer below x", "0", lambda delta: torch.zeros_like(delta))
Ceil = elemental("ceil", "the next integer above x", "0", lambda delta: torch.zeros_like(delta))
Trunc = elemental("trunc", "the next integer towards 0", "0", lambda delta: torch.zeros_like(delta))
Round = elemental(
    "round.decimals", "x rounded to that many decimals, of two numbers to the even one", "0",
    lambda delta: torch.zeros_like(delta),
    takes="input, *, decimals: int", shapes="input, output, delta (*)   decimals number",
)  # fmt: skip
Frac = elemental("frac", "x - trunc(x)", "delta", lambda delta: delta)
Neg = elemental("neg", "-x", "-delta", lambda delta: -delta)
NanToNum = elemental(
    "nan_to_num", "x, with numbers in place of NaN and infinities", "delta where x is finite, else 0",
    lambda delta, input: delta * input.isfinite(),
    takes="input, nan: float | None = None, posinf: float | None = None, neginf: float | None = None",
    shapes="input, output, delta (*)   nan, posinf, neginf numbers",
)  # fmt: skip
Frexp = elemental(
    "frexp", "m with x = m 2^e and |m| in [1/2, 1)", "delta / 2^e",
    lambda delta, exponent: delta * torch.exp2(-exponent.to(delta.dtype)),
    results=("output", "exponent"), shapes="input, output, exponent, delta (*)",
)  # fmt: skip
DivRounded = pairwise(
    "div.Tensor_mode div.Scalar_mode", "a / b, rounded", "delta_input = 0     delta_other = 0",
    lambda delta: torch.zeros_like(delta), lambda delta: torch.zeros_like(delta),
    name="DivRounded", takes="input: Any, other: Any, *, rounding_mode: str",
)  # fmt: skip
Fmod = pairwise(
    "fmod", "a - b trunc(a / b)", "delta_input = delta     delta_other = -trunc(a / b) delta",
    lambda delta: delta,
    lambda delta, input, other: -delta * torch.div(input, other, rounding_mode="trunc"),
)  # fmt: skip
Remainder = pairwise(
    "remainder", "a - b floor(a / b)", "delta_input = delta     delta_other = -floor(a / b) delta",
    lambda delta: delta,
    lambda delta, input, other: -delta * torch.div(input, other, rounding_mode="floor"),
)  # fmt: skip
Copysign = pairwise(
    "copysign", "|a| with the sign of b", "delta_input = y / a delta, 0 where a is 0     delta_other = 0",
    lambda delta, input, output: delta * torch.where(input == 0, 0.0, output / input),
    lambda delta: torch.zeros_like(delta),
)  # fmt: skip
Nextafter = pairwise(
    "nextafter", "the number next to a on the way to b", "delta_input = delta where a is not b     delta_other = 0",
    lambda delta, input, other: torch.where(input != other, delta, 0.0),
    lambda delta: torch.zeros_like(delta),
    takes="input, other",
)  # fmt: skip
Heaviside = pairwise(
    "heaviside", "0 where a < 0, 1 where a > 0, b where a = 0", "delta_input = 0     delta_other = delta where a = 0",
    lambda delta: torch.zeros_like(delta),
    lambda delta, input: torch.where(input == 0, delta, 0.0),
    takes="input, other",
)  # fmt: skip
