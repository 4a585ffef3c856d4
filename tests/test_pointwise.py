"""Pointwise operators inside `mb.explicit()`: Python's operators, numbers on either side, in place; and what no row of
the suite compares with torch."""

from __future__ import annotations

import operator
from collections.abc import Callable

import pytest
import torch
from torch import Tensor

import manual_backprop as mb
from manual_backprop._nodes import is_view, rule_of
from manual_backprop._observe import graph

Function = Callable[[Tensor, Tensor], Tensor]


def numbers(dtype: torch.dtype = torch.float64) -> list[Tensor]:
    generator = torch.Generator().manual_seed(0)
    return [(torch.rand(3, 4, dtype=dtype, generator=generator) + 0.5).requires_grad_() for _ in range(2)]


def on_rules(function: Function, *tensors: Tensor) -> None:
    """Inside the context: torch's numbers and gradients, and no node of autograd's own."""
    deltas = None
    found = []
    for explicit in (True, False):
        torch.manual_seed(0)
        if explicit:
            with mb.explicit(strict=True):
                output = function(*tensors)
            assert [node.name() for node in graph([output]) if rule_of(node) is None and not is_view(node)] == []
        else:
            output = function(*tensors)
        deltas = torch.randn_like(output) if deltas is None else deltas
        found.append((output, torch.autograd.grad(output, tensors, deltas, allow_unused=True, materialize_grads=True)))
    (ours, gradients), (theirs, expected) = found
    assert torch.equal(ours, theirs)
    for one, other in zip(gradients, expected, strict=True):
        # float64: a few roundings in another order
        torch.testing.assert_close(one, other, rtol=1e-12, atol=1e-12, equal_nan=True)


@pytest.mark.parametrize(
    "function",
    [
        lambda x, y: x**2 + y**0.5 + x**y + 2**x + 1.5**y + x**-1,
        lambda x, y: (x**0) * y + 0 ** (y + 1),
        lambda x, y: abs(x - y) + -x + +y,
        lambda x, y: x % y + x % 0.3,
        lambda x, y: 1 + x + y + 1.5 + (2 - x) + (y - 2) + (x - y),
        lambda x, y: 2 * x * y * 0.5 + 1 / x + y / 3 + x / y,
        lambda x, y: torch.pow(2, x) + torch.pow(y, 3) + x.pow(2.5).pow(exponent=2) + torch.float_power(x, y),
        lambda x, y: x.square() + y.reciprocal() + torch.rsub(x, y, alpha=2) + torch.rsub(y, 1.5),
        lambda x, y: torch.where(x > y, x, y) + torch.where(x > 1, 0.0, y) + x.where(y > 1, y + 2),
        lambda x, y: x.clamp(0.7) + y.clamp(max=1.0) + torch.clip(x, 0.7, 1.2) + x.clamp(min=y) + y.clamp(0.6 * x, x),
        lambda x, y: torch.maximum(x, y) + torch.min(x, y) + x.fmax(y) + x.clamp_min(1.0) + y.clamp_max(x),
        lambda x, y: x.masked_fill(y > 1, 2.0) + y.masked_fill(x > 1, x.sum()),
        lambda x, y: torch.addcmul(x, y, x, value=2) + x.addcdiv(y, x) + x.lerp(y, 0.3) + torch.lerp(x, y, x * y),
        lambda x, y: torch.polygamma(1, x) + y.polygamma(2) + torch.special.polygamma(0, y) + x.mvlgamma(1),
        lambda x, y: torch.special.expit(x) + torch.special.ndtr(y) + x.erf() + torch.special.gammaln(y),
        lambda x, y: x.floor() * y + y.ceil() * x + x.round() * y + x.round(decimals=1) * y + x.trunc() * y + y.sign(),
        lambda x, y: x.frexp()[0] + torch.ldexp(y, torch.tensor([1, 2, -1, 0])) + x.fmod(0.3) + y.remainder(x),
        lambda x, y: torch.xlogy(2.0, x) + torch.xlogy(y, 2.0) + x.logit(0.1) + torch.special.xlog1py(x, 3.0),
        lambda x, y: torch.fill(x, y.sum()) * x + torch.zeros_like(x) * y + torch.full_like(x, 2) * x,
        lambda x, y: (torch.normal(x, y) + torch.bernoulli(x / 2) + torch.normal(0.0, y) + torch.poisson(x)) * y,
        lambda x, y: torch.polar(x, y).abs() + torch.complex(x, y).angle() + (x + 1j * y).sgn().real,
        lambda x, y: torch.conj_physical(torch.complex(x, y)).imag + torch.conj_physical(x),
        lambda x, y: torch.native_dropout(x, 0.3, True)[0] + y,
    ],
)  # fmt: skip
def test_operators_and_numbers_on_either_side(function: Function) -> None:
    on_rules(function, *numbers())


@pytest.mark.parametrize(
    "write",
    [
        lambda z, y: z.clamp_(0.7, 1.2),
        lambda z, y: z.clamp_(y),
        lambda z, y: z.clamp_(y * 0.9, y * 1.1),
        lambda z, y: z.clamp_min_(1.0).clamp_max_(y),
        lambda z, y: z.addcmul_(y, y, value=2).addcdiv_(y, y + 1),
        lambda z, y: z.lerp_(y, 0.3).lerp_(y, y / 2),
        lambda z, y: z.pow_(2).pow_(y),
        lambda z, y: z.mul_(2).add_(y, alpha=3).sub_(1).div_(y),
        lambda z, y: z.div_(y, rounding_mode="floor"),
        lambda z, y: z.fmod_(0.3).remainder_(y),
        lambda z, y: z.floor_().add_(y).round_().add_(y).round_(decimals=1),
        lambda z, y: z.masked_fill_(y > 1, 2.0).masked_fill_(y < 0.7, y.sum()),
        lambda z, y: z.fill_(2.0).add_(y),
        lambda z, y: z.fill_(y.sum()),
        lambda z, y: z.zero_().add_(y),
        lambda z, y: z.normal_().add_(y),
        lambda z, y: z.uniform_(-1, 1).mul_(y),
        lambda z, y: z.bernoulli_(0.3).mul_(y),
        lambda z, y: z.exponential_(2.0).mul_(y),
        lambda z, y: z.random_(5).mul_(y),
        lambda z, y: z.polygamma_(1).digamma_(),
        lambda z, y: z.xlogy_(y).atan2_(y).hypot_(y),
        lambda z, y: z.copysign_(-y),
        lambda z, y: z.nan_to_num_(0.0).ldexp_(y),
        lambda z, y: operator.ipow(operator.imul(z, 2), 3),
        lambda z, y: operator.imod(operator.iadd(z, y), 0.3),
        lambda z, y: operator.itruediv(operator.isub(z, 1), y),
    ],
)
def test_in_place(write: Function) -> None:
    def run(x: Tensor, y: Tensor) -> Tensor:
        z = x * 1
        write(z, y)
        return z * y

    on_rules(run, *numbers())


@pytest.mark.parametrize(
    "name",
    [
        "abs", "acos", "asin", "atan", "ceil", "cos", "cosh", "deg2rad", "digamma", "erf", "erfc",
        "erfinv", "exp", "exp2", "expm1", "floor", "frac", "i0", "lgamma", "log", "log10", "log1p", "log2", "logit",
        "nan_to_num", "neg", "rad2deg", "reciprocal", "round", "rsqrt", "sgn", "sigmoid", "sign", "sin", "sinc", "sinh",
        "sqrt", "square", "tan", "tanh", "trunc",
    ],
)  # fmt: skip
def test_one_number_in_place(name: str) -> None:
    def run(x: Tensor) -> Tensor:
        z = x / 2
        written = getattr(z, f"{name}_")()
        assert written is z
        return z + x

    on_rules(run, numbers()[0])


@pytest.mark.parametrize("write", [lambda z: z[1:].pow_(2), lambda z: z.mT.clamp_(0.8), lambda z: z[:, 0].normal_()])
def test_over_a_view(write: Callable[[Tensor], Tensor]) -> None:
    """torch puts a node of its own, CopySlices, around that of the write: only numbers are compared."""
    (x, _), found = numbers(), []
    for context in (mb.explicit, torch.enable_grad):
        torch.manual_seed(0)
        with context():
            z = x * 1
            write(z)
        found.append((z, *torch.autograd.grad((z * z).sum(), x)))
    torch.testing.assert_close(*found, rtol=1e-12, atol=1e-12)  # float64 rounding


@pytest.mark.parametrize(
    "write",
    [
        lambda z, y: z.conj_physical_(),
        lambda z, y: z.mul_(2 - 1j).add_(y),
        lambda z, y: z.pow_(2).exp_(),
        lambda z, y: z.mul_(2).sgn_(),
    ],
)
def test_complex_numbers_in_place(write: Function) -> None:
    def run(x: Tensor, y: Tensor) -> Tensor:
        z = torch.complex(x, y)
        write(z, y)
        return z

    on_rules(run, *numbers())


@pytest.mark.parametrize(
    ("write", "message"),
    [
        (lambda z: z.mul_(torch.ones(2, 3, 4)), "output with shape"),
        (lambda z: z.mul_(1j), "can't be cast"),
        (lambda z: z.pow_(torch.ones(4, dtype=torch.complex128)), "can't be cast"),
        (lambda z: z.clamp_(torch.ones(4, dtype=torch.complex128)), "can't be cast"),
        (lambda z: torch.ones(3, 4, dtype=torch.int64).clamp_(z), "can't be cast"),
        (lambda z: z.clamp_(torch.ones(2, 3, 4)), "output with shape"),
        (lambda z: torch.complex(z, z).abs_(), "In-place abs is not supported"),
    ],
)
def test_what_torch_refuses_in_place_is_refused(write: Callable[[Tensor], Tensor], message: str) -> None:
    z = numbers()[0] * 1
    with pytest.raises(RuntimeError, match=message), mb.explicit():
        write(z)


def test_a_write_over_a_leaf_is_refused() -> None:
    x, y = numbers()
    for write in (lambda: x.normal_(), lambda: x.clamp_(0.3), lambda: x.addcmul_(y, y), lambda: x.zero_()):
        with pytest.raises(RuntimeError, match="a leaf Variable that requires grad"), mb.explicit():
            write()


def test_a_radius_below_zero_turns_the_gradient_with_it() -> None:
    """torch takes the sign of y for e^(i w), which is its opposite there."""
    radius = torch.tensor(-2.0, dtype=torch.float64, requires_grad=True)
    angle = torch.tensor(0.0, dtype=torch.float64)
    mb.functional.polar(radius, angle).real.backward()
    assert torch.equal(radius.grad, torch.ones_like(radius))


@pytest.mark.parametrize("name", ["igamma", "igammac", "special_zeta"])
def test_no_derivative_is_said_and_not_taken_for_zero(name: str) -> None:
    x, y = numbers()
    output = getattr(mb.functional, name)(x + 1, y)
    with pytest.raises(NotImplementedError, match="no closed form"):
        output.sum().backward()


def test_a_step_has_gradients() -> None:
    x = torch.tensor([-1.0, 0.0, 2.0], requires_grad=True)
    values = torch.tensor([3.0, 4.0, 5.0], requires_grad=True)
    with mb.explicit():
        output = torch.heaviside(x, values) + x // 2
    output.sum().backward()
    assert torch.equal(x.grad, torch.zeros(3))
    assert torch.equal(values.grad, torch.tensor([0.0, 1.0, 0.0]))


def test_large_exponents_of_frexp() -> None:
    """2^e in float32, where torch takes it, is infinite from 128 on."""
    x = torch.tensor([2.0**200, 2.0**-200], dtype=torch.float64, requires_grad=True)
    mb.functional.frexp(x).mantissa.sum().backward()
    assert torch.equal(x.grad, torch.tensor([2.0**-201, 2.0**199], dtype=x.dtype))


@pytest.mark.parametrize(
    ("low", "high", "expected"),
    [
        (0.0, 2.0, [[0, 1, 0], [0.5, 0.5, 0], [1, 0, 0], [0.5, 0, 0.5], [0, 0, 1]]),
        (1.0, 1.0, [[0, 1, 0], [0, 1, 0], [1, 0, 0], [0, 0, 1], [0, 0, 1]]),
        (2.0, 0.0, [[0, 0, 1]] * 5),
        (float("nan"), 1.0, [[1, 0, 0], [1, 0, 0], [1, 0, 0], [0, 0, 0], [0, 0, 0]]),
        (1.0, float("nan"), [[0, 0, 0], [0, 0, 0], [1, 0, 0], [1, 0, 0], [1, 0, 0]]),
    ],
)
def test_who_gets_the_delta_of_a_clamp_between_tensors(low: float, high: float, expected: list[list[float]]) -> None:
    x = torch.tensor([-1.0, 0.0, 1.0, 2.0, 3.0], requires_grad=True)
    bounds = [torch.full((5,), bound, requires_grad=True) for bound in (low, high)]
    mb.functional.clamp(x, *bounds).sum().backward()
    assert torch.stack([t.grad for t in (x, *bounds) if t.grad is not None], 1).tolist() == expected
