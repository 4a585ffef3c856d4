"""How exact the printed kernels are: elementary functions and activations, in ulps of the true value."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from mpmath import mp
from torch import Tensor

from benchmarks.accuracy import LAYERS, exact, ulps
from manual_backprop import rules
from manual_backprop.engine.rule import KERNELS
from manual_backprop.kernels import c, pointwise, printer

TRUTH: dict[str, Callable[[Any], Any]] = {
    "abs": abs, "sqrt": mp.sqrt, "exp": mp.exp, "expm1": mp.expm1, "log": mp.log, "log1p": mp.log1p, "tanh": mp.tanh,
    "sigmoid": lambda x: 1 / (1 + mp.exp(-x)), "erf": mp.erf, "erfc": mp.erfc,
}  # fmt: skip
# the largest distances seen, in float32 over 3e6 values, with a few hundredths for another choice of them. Half an ulp
# is the last rounding; what comes before adds a tenth where it is summed apart, and more in products and quotients of
# rounded numbers (sigmoid, erf, erfc). expm1: from 17 on (double: 37) the 1 in 2^n - 1 is rounded away
REACHED = {"abs": 0.0, "sqrt": 0.5, "exp": 0.65, "expm1": 0.87, "log": 0.64, "log1p": 0.65, "tanh": 0.66,
           "sigmoid": 2.45, "erf": 1.45, "erfc": 6.7}  # fmt: skip
SINGLE = REACHED | {"expm1": 0.61, "tanh": 0.56}
SPECIAL = [0.0, -0.0, 1.0, -1.0, 90.0, -90.0, 110.0, -110.0, 750.0, -750.0, torch.inf, -torch.inf, torch.nan]


pytestmark = pytest.mark.usefixtures("loops_at_any_size")


def elementary(name: str) -> Callable[[Tensor], Tensor]:
    def formula(input: Tensor) -> Tensor:
        return getattr(torch, name)(input)

    formula.__qualname__ = f"elementary.{name}"
    return formula


def inputs(name: str, count: int) -> Tensor:
    x = torch.cat([torch.randn(count, dtype=torch.float64) * s for s in (0.1, 1, 5, 30)])
    return x.abs() if name in ("log", "sqrt", "log1p") else x


def test_every_function_has_its_truth() -> None:
    assert set(TRUTH) == set(c.FUNCTIONS) == set(REACHED)


@pytest.mark.parametrize("name", c.FUNCTIONS)
def test_functions_in_float32(name: str) -> None:
    x = inputs(name, 100_000).float()
    x = x[x.abs() < 16] if name == "expm1" else x
    found, truth = pointwise.kernel(elementary(name))(x), getattr(torch, name)(x.double())
    fits = truth.abs() <= torch.finfo(torch.float32).max
    assert torch.equal(found.isinf(), ~fits)
    off = ulps(found[fits], truth[fits])
    assert off[~off.isnan()].max() <= SINGLE[name]


@pytest.mark.parametrize("name", c.FUNCTIONS)
def test_functions_in_float64(name: str) -> None:
    """Nothing is wider: 40 digits of mpmath."""
    x = inputs(name, 1000)
    found = pointwise.kernel(elementary(name))(x)
    with mp.workdps(40):
        worst = 0.0
        for given, value in zip(x.tolist(), found.tolist(), strict=True):
            truth = TRUTH[name](mp.mpf(given))
            exponent = mp.frexp(truth)[1]
            if exponent > -1022:
                worst = max(worst, float(abs(value - truth) / mp.ldexp(1, exponent - 53)))
    assert worst <= REACHED[name]


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("name", c.FUNCTIONS)
def test_functions_at_the_ends(name: str, dtype: torch.dtype) -> None:
    """Infinities, NaN, zeros with their signs, and subnormal numbers as given and as results."""
    tiny, huge = torch.finfo(dtype).smallest_normal, torch.finfo(dtype).max
    near = [tiny, tiny / 3, torch.finfo(dtype).smallest_normal * torch.finfo(dtype).eps, huge, 1e-30, 1e-20, 1e20]
    x = torch.tensor(SPECIAL + near + [-v for v in near], dtype=dtype)
    found, expected = pointwise.kernel(elementary(name))(x), getattr(torch, name)(x.double()).to(dtype)
    smallest = tiny * torch.finfo(dtype).eps
    torch.testing.assert_close(found, expected, rtol=8 * torch.finfo(dtype).eps, atol=2 * smallest, equal_nan=True)
    zeros = (found == 0) & (expected == 0)
    assert torch.equal(found[zeros].signbit(), expected[zeros].signbit())
    if name in ("expm1", "log1p", "tanh"):  # x, its square beside it is nothing
        small = x[x.abs() < 1e-30]
        assert torch.equal(pointwise.kernel(elementary(name))(small), small)


def test_subnormal_exponentials_are_rounded_once_more() -> None:
    x = torch.linspace(-104, -87, 20_000)
    found, truth = pointwise.kernel(elementary("exp"))(x), x.double().exp()
    assert ((found.double() - truth).abs() <= 0.5 * 2.0**-149 + SINGLE["exp"] * 2.0**-23 * truth).all()


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_the_logarithm_of_1_and_an_exponential_at_the_ends(dtype: torch.dtype) -> None:
    def soft(input: Tensor) -> Tensor:
        return torch.log1p(torch.exp(input))

    small = torch.tensor([-87.5, -95.0, -103.0] if dtype == torch.float32 else [-709.0, -720.0, -744.0], dtype=dtype)
    x = torch.cat([torch.tensor([*SPECIAL, 40.0, 60.0, 85.0], dtype=dtype), small])
    # wider, with the exponential rounded to the dtype where it overflows or is subnormal
    found, expected = pointwise.kernel(soft)(x), x.double().exp().to(dtype).double().log1p().to(dtype)
    smallest = torch.finfo(dtype).smallest_normal * torch.finfo(dtype).eps
    torch.testing.assert_close(found, expected, rtol=4 * torch.finfo(dtype).eps, atol=smallest, equal_nan=True)


def test_the_exponential_of_minus_a_square() -> None:
    """What erfc has inside, for x <= 0 alone; inputs of 12 bits have squares without rounding."""

    def decayed(input: Tensor) -> Tensor:
        return torch.exp(-(input * input))

    x = (torch.rand(50_000) * 9.3 * 2**8).round() / 2**8
    off = ulps(pointwise.kernel(decayed)(x), (-(x.double() ** 2)).exp())
    assert off[~off.isnan()].max() <= 0.95


# of forwards: largest and mean distance, as seen over 4e6 values with deviation 3. Half an ulp is the last rounding;
# LogSigmoid rounds again where x < 0, SELU multiplies by a rounded number, Mish rounds four times. ATen's, on the same
# inputs: ELU 0.511, SELU 1.59, Tanh 0.513, Softplus 1.47, LogSigmoid 1.46, Mish 2.95
FORWARDS = {
    rules.ELU.output: (0.55, 0.126), rules.CELU.output: (0.55, 0.126), rules.SELU.output: (1.62, 0.387),
    rules.Tanh.output: (0.55, 0.252), rules.Softplus.output: (0.66, 0.252), rules.LogSigmoid.output: (1.07, 0.26),
    rules.Mish.output: (2.95, 0.381), rules.Softsign.output: (1.5, 0.313),
}  # fmt: skip
DELTAS = {  # the product with delta besides; ATen's means are 0.427, 0.445 and 1.35
    rules.LogSigmoid.delta_input: (3.3, 0.43), rules.Softplus.delta_input: (3.3, 0.43),
    rules.Softsign.delta_input: (200.0, 1.3),
}  # fmt: skip


@pytest.mark.parametrize("formula", [*FORWARDS, *DELTAS], ids=lambda f: f.__qualname__)
def test_activations_in_float32(formula: Callable[..., Tensor]) -> None:
    names, numbers = printer.parameters(formula)
    x, delta = torch.randn(200_000) * 3, torch.randn(200_000)
    given = [{"alpha": 1.0, "beta": 1.0, "threshold": 20.0}[name] for name in numbers]
    args = (delta, x) if len(names) == 2 else (x,)
    off = ulps(KERNELS[formula](*args, *given), formula(*(v.double() for v in args), *given))
    worst, mean = (FORWARDS | DELTAS)[formula]
    assert off[~off.isnan()].max() <= worst
    assert off.nanmean() <= mean


@pytest.mark.parametrize("formula", [*FORWARDS, *DELTAS], ids=lambda f: f.__qualname__)
def test_formulas_have_the_values_of_the_definition(formula: Callable[..., Tensor]) -> None:
    """The formula in float64, by which the kernels are measured, beside the benchmark's definition in 50 digits."""
    names, numbers = printer.parameters(formula)
    given = [{"alpha": 1.0, "beta": 1.0, "threshold": 20.0}[name] for name in numbers]
    x = torch.randn(300, dtype=torch.float64) * 3
    values, slopes = LAYERS[formula.__qualname__.split(".")[0]]
    if len(names) == 2:
        expected, found = exact(slopes, x), formula(torch.ones_like(x), x, *given)
    else:
        expected, found = exact(values, x), formula(x, *given)
    torch.testing.assert_close(found, expected, rtol=1e-12, atol=0)


def test_what_is_taken_together() -> None:
    """Of products and sums which, and that a share is one only where nothing in it can be negative."""

    def operations(formula: Callable[..., Tensor]) -> list[str]:
        formula.__qualname__ = "formula"
        return [step.operation for step in printer.contracted(printer.read(formula)).steps]

    def sums(input: Tensor, delta: Tensor) -> Tensor:
        return (input * delta + 1) - delta * delta

    def less(input: Tensor, delta: Tensor) -> Tensor:
        return input * delta - 2 * input

    def both(input: Tensor) -> Tensor:
        return 2 * input + input * input

    def share(input: Tensor) -> Tensor:
        e = torch.exp(input)
        return e / (e + 2)

    def quotient(input: Tensor) -> Tensor:
        return input / (input + 2)

    def soft(input: Tensor) -> Tensor:
        return torch.log1p(torch.exp(input))

    def below(input: Tensor) -> Tensor:
        e = torch.exp(input)
        return e / (e + -2.0)

    assert operations(sums) == ["mul", "mul_add", "mul", "sub_mul"]
    assert operations(less) == ["mul", "mul", "mul_sub"]
    assert operations(both) == ["mul", "mul", "mul_add"]
    assert operations(share) == ["exp", "add", "share"]
    assert operations(soft) == ["exp", "log1p_exp"]
    assert operations(quotient) == ["add", "div"]
    assert operations(below) == ["exp", "add", "div"]
    x, delta = torch.randn(2, 1000).double()
    for formula in (sums, less):
        torch.testing.assert_close(pointwise.kernel(formula)(x, delta), formula(x, delta))
    for formula in (both, share, soft, quotient, below):
        torch.testing.assert_close(pointwise.kernel(formula)(x), formula(x))
