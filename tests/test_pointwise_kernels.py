"""Kernels printed from formulas: their values against float64, what they do not take, and the printer itself."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

import manual_backprop as mb
from manual_backprop import rules
from manual_backprop.engine.rule import KERNELS
from manual_backprop.engine.terms import in_opmath
from manual_backprop.kernels import c, memory, native, pointwise, printer

FORMULAS = [*pointwise.FORWARD, *pointwise.HUGE, *pointwise.BACKWARD, rules.LogSigmoid.output,
            rules.LogSigmoid.delta_input, rules.RReLU.delta_input]  # fmt: skip
NUMBERS = {"alpha": 0.7, "beta": 1.5, "threshold": 3.0, "negative_slope": 0.1, "lambd": 0.5, "limit": 0.5,
           "min_val": -1.0, "max_val": 2.0, "value": -7.0}  # fmt: skip
ROUNDED = (
    rules.LeakyReLU.output,
    rules.Hardswish.output,
    rules.Hardsigmoid.output,
)
"""Forwards that round; the others of pointwise.HUGE choose, and so equal ATen's to the last bit."""
SPECIAL = [0.0, -0.0, 1.0, -1.0, 0.5, -0.5, 3.0, -3.0, 88.5, -88.5, 120.0, -120.0, torch.inf, -torch.inf, torch.nan]
BESIDE = {torch.float32: [1e-40, -1e-40, 3e38, -3e38], torch.float64: [1e-310, -1e-310, 1e308, -1e308],
          torch.bfloat16: [1e-40, -1e-40, 3e38, -3e38]}  # fmt: skip
# in eps of the dtype: a step of a formula rounds by half of one, the longest has 13; where terms cancel, what is lost
# is as large beside them; bfloat16 rounds once
ROUNDINGS = {torch.float32: 12, torch.float64: 12, torch.bfloat16: 0.51}


pytestmark = pytest.mark.usefixtures("loops_at_any_size")


@pytest.fixture
def loops(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The formulas that are compiled from now on, each dtype of them."""
    names: list[str] = []
    compiled = pointwise.compiled

    def noted(formula: Any, dtype: torch.dtype, rows: bool = False) -> Any:
        names.append(f"{formula.__qualname__} {dtype}")
        return compiled(formula, dtype, rows)

    monkeypatch.setattr(pointwise, "compiled", noted)
    return names


def arguments(formula: Any, *tensors: Tensor) -> tuple:
    names, numbers = printer.parameters(formula)
    return (*tensors[: len(names)], *[NUMBERS[name] for name in numbers])


def close(found: Tensor, formula: Any, args: tuple, rounded: float) -> None:
    """Within so many eps of the formula in float64, of its largest term where terms cancel."""
    dtype = found.dtype
    wide = tuple(v.double() if isinstance(v, Tensor) and v.dtype != torch.bool else v for v in args)
    if dtype == torch.float64:  # nothing is wider: torch's own functions, an ulp from the truth
        rounded += 4
    expected = formula(*wide)
    assert found.shape == expected.shape
    eps = torch.finfo(dtype).eps
    size = torch.stack([v.abs().expand_as(expected) for v in wide if isinstance(v, Tensor)]).amax(0)
    terms = size.clamp(max=8)  # no function here is larger where it cancels
    if dtype == torch.bfloat16:  # computed in float32
        bound = rounded * eps * expected.abs() + ROUNDINGS[torch.float32] * torch.finfo(torch.float32).eps * terms
    else:
        bound = rounded * eps * (expected.abs() + terms)
    bound += 4 * torch.finfo(dtype).smallest_normal * eps
    wide_found = found.double()
    overflow = expected.abs() > torch.finfo(dtype).max
    same = (wide_found == expected) | (wide_found.isnan() & expected.isnan()) | (overflow & wide_found.isinf())
    bad = ~(same | ((wide_found - expected).abs() <= bound))
    assert not bad.any(), [(float(v), float(e)) for v, e in zip(wide_found[bad], expected[bad], strict=True)][:5]


@pytest.mark.parametrize("threads", [1, 2])
@pytest.mark.parametrize("dtype", c.TYPES)
@pytest.mark.parametrize("formula", FORMULAS, ids=lambda f: f.__qualname__)
def test_values(formula: Any, dtype: torch.dtype, threads: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Normal values, in sizes that are no multiple of a vector, below and above what one thread does alone."""
    monkeypatch.setattr(torch, "get_num_threads", lambda: threads)
    run = KERNELS[formula]
    for size in (1, 7, 33, 40_001):
        args = arguments(formula, *(torch.randn(2, size).to(dtype) * torch.tensor([[1.0], [3.0]], dtype=dtype)))
        kept = [v.clone() if isinstance(v, Tensor) else v for v in args]
        found = run(*args)
        assert found.dtype == dtype
        close(found, formula, args, ROUNDINGS[dtype])
        assert all(torch.equal(v, k) for v, k in zip(args, kept, strict=True) if isinstance(v, Tensor))


@pytest.mark.parametrize("dtype", c.TYPES)
@pytest.mark.parametrize("formula", FORMULAS, ids=lambda f: f.__qualname__)
def test_around_the_caches_and_through_them_is_the_same(
    formula: Any, dtype: torch.dtype, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Sizes that are whole parts, one less and one more; results that begin within a part go through the caches."""
    for size in (64, 127, 65, 40_001):
        args = arguments(formula, *torch.randn(2, size).to(dtype))
        around = KERNELS[formula](*args)
        with monkeypatch.context() as patch:
            patch.setattr(memory, "around", lambda *_: False)
            if formula in pointwise.HUGE:  # ATen's own
                close(around, lambda *v: KERNELS[formula](*v), args, ROUNDINGS[dtype])
                assert torch.equal(around, KERNELS[formula](*args)) or formula in ROUNDED
            else:
                assert torch.equal(around, KERNELS[formula](*args))
        with monkeypatch.context() as patch:
            patch.setattr(memory, "empty_like", lambda v: torch.empty(v.numel() + 1, dtype=v.dtype)[1:].view(v.shape))
            assert torch.equal(around, KERNELS[formula](*args))


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("formula", FORMULAS, ids=lambda f: f.__qualname__)
def test_specials(formula: Any, dtype: torch.dtype) -> None:
    """NaN, infinities, zeros, subnormal and huge numbers, as the formula in the same dtype has them."""
    every = torch.tensor(SPECIAL + BESIDE[dtype], dtype=dtype)
    count = len(printer.parameters(formula)[0])
    tensors = torch.cartesian_prod(torch.tensor([1.0, -2.0, 0.0, torch.nan, torch.inf], dtype=dtype), every).T
    args = arguments(formula, *(t.contiguous() for t in (tensors if count == 2 else tensors[1:])))
    found, expected = KERNELS[formula](*args), formula(*args)
    torch.testing.assert_close(found, expected, rtol=16 * torch.finfo(dtype).eps, atol=1e-37, equal_nan=True)
    zeros = (found == 0) & (expected == 0)
    assert torch.equal(found[zeros].signbit(), expected[zeros].signbit())


@pytest.mark.parametrize("layout", ["channels_last", "transposed", "sliced", "expanded"])
def test_layouts(layout: str) -> None:
    x = {
        "channels_last": torch.randn(2, 4, 6, 8).to(memory_format=torch.channels_last),
        "transposed": torch.randn(2, 4, 8, 6).transpose(2, 3),
        "sliced": torch.randn(2, 4, 6, 9)[..., 1:],
        "expanded": torch.randn(2, 4, 6, 1).expand(2, 4, 6, 8),
    }[layout]
    for formula in (rules.Tanh.output, rules.Mish.output):
        found, expected = KERNELS[formula](x), formula(x)
        assert found.stride() == expected.stride()
        assert torch.allclose(found, expected, rtol=1e-5, atol=1e-6)
    for delta in (torch.tensor(2.0).expand(2, 4, 6, 8), torch.randn(6, 8, 2, 4).permute(2, 3, 0, 1)):
        found, expected = KERNELS[rules.SiLU.delta_input](delta, x), rules.SiLU.delta_input(delta, x)
        assert found.stride() == torch.empty_like(x).stride()
        assert torch.allclose(found, expected, rtol=1e-5, atol=1e-6)  # some roundings of float32


@pytest.mark.parametrize("dtype", c.TYPES)
@pytest.mark.parametrize("dim", [0, 1, -1])
def test_glu(dim: int, dtype: torch.dtype) -> None:
    input = torch.randn(6, 10, 34).to(dtype)
    half = input.shape[dim] // 2
    delta = torch.randn(input.narrow(dim, 0, half).shape).to(dtype)
    for given in (delta, delta.transpose(0, 1).contiguous().transpose(0, 1)):
        found = KERNELS[rules.GLU.delta_input](given, input, dim)
        assert found.dtype == dtype
        expected = rules.GLU.delta_input(given.double(), input.double(), dim)
        eps = torch.finfo(dtype).eps
        assert torch.allclose(found.double(), expected, rtol=8 * eps, atol=8 * eps)  # five steps of half an eps


def test_one_weight_of_prelu_and_many(loops: list[str]) -> None:
    x, delta = torch.randn(2, 3, 40)
    for weight in (torch.tensor([0.3]), torch.tensor(0.3), torch.rand(40)):
        found = KERNELS[rules.PReLU.delta_input](delta, x, weight)
        assert torch.equal(found, rules.PReLU.delta_input(delta, x, weight))


@pytest.mark.parametrize("name", ["ELU", "CELU", "SELU"])
def test_in_place_is_the_same_to_the_last_bit(name: str) -> None:
    """A note makes the tensor again with the forward that does not write over its input."""
    rule = getattr(rules, name)
    numbers = () if name == "SELU" else (0.7,)
    for x in (torch.randn(1001), torch.randn(30, 40).T, torch.randn(30, 40)[:, ::2]):
        with torch.no_grad():
            expected, written = rule.forward(x, *numbers), x.clone() if x.is_contiguous() else x
            assert rule.forward_(written, *numbers) is written
        assert torch.equal(written, expected)


@pytest.mark.parametrize("layer", [mb.nn.Mish(), mb.nn.Tanh(), mb.nn.Softplus(), mb.nn.GELU("tanh")])
def test_what_is_recomputed_is_the_same_to_the_last_bit(layer: torch.nn.Module) -> None:
    x = torch.randn(300, 129)
    first = layer(x)
    for threads in (1, 2):
        torch.set_num_threads(threads)
        assert torch.equal(layer(x), first)
        assert torch.equal(torch.cat([layer(part) for part in x.split(7)]), first), "no element depends on its place"


def test_small_tensors_have_the_twin_s_value_to_the_last_bit(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.undo()
    x = torch.randn(1000) * 3
    assert x.numel() < pointwise.WORTHWHILE
    for name in ("Mish", "Tanh", "ELU", "Softplus", "LogSigmoid", "Softsign", "Tanhshrink", "SELU", "CELU"):
        assert torch.equal(getattr(mb.nn, name)()(x), getattr(torch.nn, name)()(x))


WORDS = {torch.float32: torch.int32, torch.float64: torch.int64, torch.bfloat16: torch.int16}


@pytest.mark.parametrize("dtype", c.TYPES)
def test_relu_bit_for_bit(dtype: torch.dtype) -> None:
    every = torch.tensor(SPECIAL + BESIDE[dtype], dtype=dtype)
    delta, output = torch.cartesian_prod(every, every.relu()).T.contiguous()
    found = KERNELS[rules.ReLU.delta_input](delta, output)
    assert torch.equal(found.view(WORDS[dtype]), rules.ReLU.delta_input(delta, output).view(WORDS[dtype]))


def test_the_backend_decides(loops: list[str]) -> None:
    x = torch.randn(4, 4, requires_grad=True)
    with pytest.MonkeyPatch.context() as patch:  # loops that no other test has compiled
        for formula in (rules.ReLU.output, rules.ReLU.delta_input):
            patch.setitem(KERNELS, formula, pointwise.kernel(formula))
        with mb.backend("formula"):
            mb.functional.relu(x).sum().backward()
        assert loops == []
        mb.functional.relu(x).sum().backward()
        assert loops == ["ReLU.output torch.float32", "ReLU.delta_input torch.float32"]


def test_gradients_of_gradients_take_the_formula(loops: list[str]) -> None:
    x = torch.randn(20, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradgradcheck(mb.nn.Mish(), x)
    with mb.backend("formula"):
        formula = rules.Mish.forward(x.detach())
    assert torch.equal(formula, rules.Mish.output(x.detach()))


def test_what_a_kernel_does_not_take(loops: list[str]) -> None:
    x = torch.randn(8)
    for odd in (x.half(), x.to("meta")):
        assert mb.functional.mish(odd).dtype == odd.dtype
    assert torch.equal(torch.func.vmap(mb.functional.tanh)(x), torch.tanh(x))
    with pytest.raises(TypeError):
        mb.functional.mish([1.0])
    with pytest.raises(NotImplementedError):
        mb.functional.elu(torch.arange(4))
    found = KERNELS[rules.SiLU.delta_input](x.half(), x.half())
    assert torch.equal(found, in_opmath(rules.SiLU.delta_input, x.half(), x.half()))
    assert not [name for name in loops if name.endswith(("float32", "bfloat16"))]


def test_a_wrong_step_is_caught(monkeypatch: pytest.MonkeyPatch) -> None:
    """The comparison with float64 can fail: of a printed formula and of a wrong table."""
    monkeypatch.setitem(c.C.templates, "sub_mul", c.C.templates["mul_sub"])
    wrong = pointwise.kernel(rules.Tanh.delta_input)
    args = arguments(rules.Tanh.delta_input, *torch.randn(2, 100))
    with pytest.raises(AssertionError):
        close(wrong(*args), rules.Tanh.delta_input, args, ROUNDINGS[torch.float32])
    monkeypatch.undo()

    def nearly(delta: Tensor, output: Tensor) -> Tensor:
        return delta * (1 - output * output * 1.00001)

    with pytest.raises(AssertionError):
        close(pointwise.kernel(nearly)(*args), rules.Tanh.delta_input, args, ROUNDINGS[torch.float32])


def test_unknown_operations_are_refused_by_name() -> None:
    def cosine(input: Tensor) -> Tensor:
        return torch.cos(input)

    def summed(input: Tensor) -> Tensor:
        return input.sum()

    def counted(input: Tensor, shape: tuple) -> Tensor:
        return input

    for formula, message in (
        (cosine, r"operation cos\. expected: only"), (summed, "operation sum"), (counted, "shape: 'tuple'"),
        (rules.GLU.delta_input, "operation chunk"),
    ):  # fmt: skip
        with pytest.raises(TypeError, match=rf"cannot be printed\. got: .*{message}"):
            printer.read(formula)


def test_every_operation_has_its_template() -> None:
    assert set(c.C.templates) == printer.OPERATIONS | printer.CONTRACTED


PROGRAM = """
import logging, sys, torch
logging.basicConfig(format="%(message)s", stream=sys.stdout)
import manual_backprop as mb
from manual_backprop.kernels import pointwise
pointwise.WORTHWHILE = 0
x = torch.tensor([-1.0, 2.0], requires_grad=True)
for layer in (mb.nn.Mish(), mb.nn.Tanh(), torch.nn.Mish(), torch.nn.Tanh()):
    print([f"{v:.5f}" for v in torch.autograd.grad(layer(x).sum(), x)[0]])
"""


def lines(environment: dict[str, str]) -> list[str]:
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", PROGRAM], env={**os.environ, **environment},
        capture_output=True, text=True,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return done.stdout.splitlines()


def test_without_a_compiler_formulas_run_which_is_said_once(tmp_path: Path) -> None:
    said, *gradients = lines({"CC": "no-such-compiler", "XDG_CACHE_HOME": str(tmp_path)})
    assert "no C kernels, formulas run in their place" in said
    assert gradients[:2] == gradients[2:]
    assert len(gradients) == 4


def test_many_processes_compile_at_the_same_time(tmp_path: Path) -> None:
    command = [sys.executable, "-W", "ignore", "-c", PROGRAM]
    environment = {"XDG_CACHE_HOME": str(tmp_path), "TMPDIR": str(tmp_path)}
    together = [
        subprocess.Popen(command, env={**os.environ, **environment}, stdout=subprocess.PIPE, text=True)
        for _ in range(3)
    ]
    printed = {p.communicate()[0] for p in together}
    assert len(printed) == 1
    gradients = printed.pop().splitlines()
    assert gradients[:2] == gradients[2:]
    kept = sorted(path.name.rsplit("-", 1)[0] for path in (tmp_path / "manual_backprop").glob("*.so"))
    assert kept == [f"{n}-float" for n in ("Mish_delta_input", "Mish_output", "Tanh_delta_input", "Tanh_output")]
    assert native.plain(torch.ones(1))
