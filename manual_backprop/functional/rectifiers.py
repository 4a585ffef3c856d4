"""RReLU, which draws its slopes at random; the functions of other rectifiers are generated from their rules."""

from __future__ import annotations

from torch import Tensor

from .. import rules
from ._call import call, call_in_place


def rrelu(
    input: Tensor, lower: float = 1.0 / 8, upper: float = 1.0 / 3, training: bool = False, inplace: bool = False
) -> Tensor:
    """y = x where x > 0, else a x, as torch.nn.functional.rrelu; rules: `mb.rules.RReLU`, in evaluation `LeakyReLU`.

    In training, a is drawn from [lower, upper], as torch draws it under the same seed. In evaluation it is the mean of
    lower and upper.
    Raises RuntimeError when lower > upper, and in training under torch.func.vmap, as torch does.
    """
    if lower > upper:
        raise RuntimeError(f"Lower bound should be less than or equal to the upper bound, got {lower} and {upper}")
    run = call_in_place if inplace else call
    return run(rules.RReLU, input, lower, upper)[0] if training else run(rules.LeakyReLU, input, (lower + upper) / 2)


def rrelu_(input: Tensor, lower: float = 1.0 / 8, upper: float = 1.0 / 3, training: bool = False) -> Tensor:
    """`rrelu`, written over the input, as torch.nn.functional.rrelu_."""
    return rrelu(input, lower, upper, training, inplace=True)
