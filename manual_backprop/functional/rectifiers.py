"""Activations that pass what is positive and bend what is not."""

from __future__ import annotations

from torch import Tensor

from .. import rules
from ._call import call, call_in_place


def relu(input: Tensor, inplace: bool = False) -> Tensor:
    """y = max(0, x), as torch.nn.functional.relu; rule: `mb.rules.ReLU`."""
    return (call_in_place if inplace else call)(rules.ReLU, input)


def relu_(input: Tensor) -> Tensor:
    """`relu`, written over the input, as torch.nn.functional.relu_."""
    return relu(input, inplace=True)


def threshold(input: Tensor, threshold: float, value: float, inplace: bool = False) -> Tensor:
    """y = x where x > threshold, else value, as torch.nn.functional.threshold; rule: `mb.rules.Threshold`."""
    return (call_in_place if inplace else call)(rules.Threshold, input, threshold, value)


def threshold_(input: Tensor, threshold: float, value: float) -> Tensor:
    """`threshold`, written over the input, as torch.nn.functional.threshold_."""
    return call_in_place(rules.Threshold, input, threshold, value)


def leaky_relu(input: Tensor, negative_slope: float = 0.01, inplace: bool = False) -> Tensor:
    """y = max(0, x) + negative_slope min(0, x), as torch.nn.functional.leaky_relu; rule: `mb.rules.LeakyReLU`.

    After an in-place call with a negative slope, backward raises RuntimeError, as torch's does.
    """
    return (call_in_place if inplace else call)(rules.LeakyReLU, input, negative_slope)


def leaky_relu_(input: Tensor, negative_slope: float = 0.01) -> Tensor:
    """`leaky_relu`, written over the input, as torch.nn.functional.leaky_relu_."""
    return leaky_relu(input, negative_slope, inplace=True)


def prelu(input: Tensor, weight: Tensor) -> Tensor:
    """y = max(0, x) + weight min(0, x), as torch.nn.functional.prelu; rule: `mb.rules.PReLU`."""
    return call(rules.PReLU, input, weight)


def rrelu(
    input: Tensor, lower: float = 1.0 / 8, upper: float = 1.0 / 3, training: bool = False, inplace: bool = False
) -> Tensor:
    """y = x where x > 0, else a x, as torch.nn.functional.rrelu; rules: `mb.rules.RReLU`, in evaluation `LeakyReLU`.

    In training a is drawn from [lower, upper], as torch draws it under the same seed; in evaluation it is the mean.
    Raises RuntimeError when lower > upper, and in training under torch.func.vmap, as torch does.
    """
    if lower > upper:
        raise RuntimeError(f"Lower bound should be less than or equal to the upper bound, got {lower} and {upper}")
    run = call_in_place if inplace else call
    return run(rules.RReLU, input, lower, upper)[0] if training else run(rules.LeakyReLU, input, (lower + upper) / 2)


def rrelu_(input: Tensor, lower: float = 1.0 / 8, upper: float = 1.0 / 3, training: bool = False) -> Tensor:
    """`rrelu`, written over the input, as torch.nn.functional.rrelu_."""
    return rrelu(input, lower, upper, training, inplace=True)
