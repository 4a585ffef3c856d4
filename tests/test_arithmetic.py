"""What the suite cannot say of arithmetic: complex operands, one tensor twice, mixed dtypes, empty matrices."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor

import manual_backprop as mb

ELEMENTWISE = ["add", "sub", "mul", "div"]


def values(*shape: int, seed: int = 0, dtype: torch.dtype = torch.float64) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    made = torch.randn(shape, generator=generator, dtype=torch.complex128 if dtype.is_complex else torch.float64)
    return made.to(dtype)


def results(function: Callable[..., Tensor], *operands: Tensor) -> tuple[Tensor, ...]:
    """The output and the gradients by the operands that can have one."""
    leaves = [v.clone().requires_grad_(v.is_floating_point() or v.is_complex()) for v in operands]
    output = function(*leaves)
    delta = values(*output.shape, seed=9, dtype=output.dtype)
    return output.detach(), *torch.autograd.grad(output, [v for v in leaves if v.requires_grad], delta)


def agree(ours: Callable[..., Tensor], theirs: Callable[..., Tensor], *operands: Tensor) -> None:
    for a, b in zip(results(ours, *operands), results(theirs, *operands), strict=True):
        assert a.dtype == b.dtype
        # a few roundings: products and sums of at most 20 numbers in another order
        torch.testing.assert_close(a, b, rtol=32 * torch.finfo(b.dtype).eps, atol=32 * torch.finfo(b.dtype).eps)


@pytest.mark.parametrize("name", ELEMENTWISE)
@pytest.mark.parametrize("dtypes", [("complex128", "complex128"), ("float64", "complex128"), ("complex128", "float64")])
def test_complex_operands(name: str, dtypes: tuple[str, str]) -> None:
    operands = [values(3, 4, seed=i, dtype=getattr(torch, dtype)) for i, dtype in enumerate(dtypes)]
    agree(getattr(mb.functional, name), getattr(torch, name), *operands)
    agree(getattr(mb.functional, name), getattr(torch, name), operands[0], operands[1][:1])


@pytest.mark.parametrize("name", ELEMENTWISE)
@pytest.mark.parametrize("dtype", [torch.float64, torch.complex128])
def test_complex_numbers(name: str, dtype: torch.dtype) -> None:
    ours, theirs = getattr(mb.functional, name), getattr(torch, name)
    agree(lambda x: ours(x, 2.0 - 1.0j), lambda x: theirs(x, 2.0 - 1.0j), values(3, 4, dtype=dtype))


@pytest.mark.parametrize("name", ["add", "sub"])
def test_complex_alpha(name: str) -> None:
    ours, theirs = getattr(mb.functional, name), getattr(torch, name)
    operands = [values(3, seed=i, dtype=torch.complex128) for i in range(2)]
    agree(lambda a, b: ours(a, b, alpha=1j), lambda a, b: theirs(a, b, alpha=1j), *operands)


@pytest.mark.parametrize(
    ("left", "right"),
    [
        ((2, 3, 4), (4, 5)), ((3, 4), (2, 4, 5)), ((4,), (2, 4, 5)), ((2, 3, 4), (4,)), ((2, 1, 3, 4), (5, 4, 2)),
        ((0, 4), (4, 2)), ((3, 0), (0, 2)), ((2, 3, 0), (0, 2)), ((2, 0, 3, 4), (4, 5)), ((3, 4), (2, 0, 4, 5)),
        ((3, 4), (2, 4, 0)),
    ],
)  # fmt: skip
@pytest.mark.parametrize("dtype", [torch.float64, torch.complex128])
def test_matmul(left: tuple[int, ...], right: tuple[int, ...], dtype: torch.dtype) -> None:
    agree(mb.functional.matmul, torch.matmul, values(*left, dtype=dtype), values(*right, seed=1, dtype=dtype))


@pytest.mark.parametrize("name", [*ELEMENTWISE, "matmul"])
@pytest.mark.parametrize("compiled", [False, True])
def test_one_tensor_twice(name: str, compiled: bool) -> None:
    ours, theirs = getattr(mb.functional, name), getattr(torch, name)

    def twice(x: Tensor) -> Tensor:
        y = x * 2
        return mb.functional.add(ours(y, y), ours(x, y))

    torch._dynamo.reset()
    run = torch.compile(twice, fullgraph=True, backend="aot_eager") if compiled else twice
    agree(run, lambda x: theirs(x * 2, x * 2) + theirs(x, x * 2), values(3, 3))


@pytest.mark.parametrize("of", ["one", "two", "three", "itself"])
@pytest.mark.parametrize("asked", [True, False])
@pytest.mark.parametrize("recorded", [True, False])
def test_compiled_cat_where_no_derivative_is_asked(of: str, asked: bool, recorded: bool) -> None:
    def joined(x: Tensor) -> Tensor:
        return mb.functional.cat({"one": [x], "two": (x, x * 2), "three": [x, x + 1, x], "itself": [x, x]}[of], 1)

    torch._dynamo.reset()
    x = torch.arange(6.0).reshape(2, 3).requires_grad_(asked)
    with torch.set_grad_enabled(recorded):
        found = torch.compile(joined, fullgraph=True, backend="aot_eager")(x)
        assert torch.equal(found, joined(x))
        assert found.requires_grad == (asked and recorded)


@pytest.mark.parametrize("compiled", [False, True])
def test_cat_of_one_tensor_twice(compiled: bool) -> None:
    torch._dynamo.reset()
    ours: Callable = lambda x: mb.functional.cat([x, x], 1)  # noqa: E731
    run = torch.compile(ours, fullgraph=True, backend="aot_eager") if compiled else ours
    agree(run, lambda x: torch.cat([x, x], 1), values(2, 3))


@pytest.mark.parametrize("name", ELEMENTWISE)
@pytest.mark.parametrize(
    "other",
    [
        torch.arange(1, 5), torch.tensor([True] * 4), values(4).to(torch.float16), values(dtype=torch.float64),
        torch.tensor(3),
    ],
    ids=lambda t: f"{t.dtype}-{t.dim()}d",
)  # fmt: skip
def test_promotion(name: str, other: Tensor) -> None:
    if name == "sub" and other.dtype == torch.bool:
        for functions in (torch, mb.functional):
            with pytest.raises(RuntimeError, match="bool"):
                functions.sub(values(3, 4), other)
        return
    agree(getattr(mb.functional, name), getattr(torch, name), values(3, 4, dtype=torch.float32), other)
    agree(getattr(mb.functional, name), getattr(torch, name), other, values(3, 4, dtype=torch.float32))


@pytest.mark.parametrize("name", ELEMENTWISE)
def test_integers_have_torch_s_result_and_no_gradient(name: str) -> None:
    ours, theirs = (getattr(f, name)(torch.arange(1, 5), 3) for f in (mb.functional, torch))
    assert torch.equal(ours, theirs)
    assert ours.dtype == theirs.dtype
    assert not ours.requires_grad


def test_cat_promotes() -> None:
    parts = [values(2, 3, dtype=torch.float32), values(1, 3), values(4, 3, dtype=torch.complex128)]
    agree(lambda *t: mb.functional.cat(t), lambda *t: torch.cat(t), *parts)


@pytest.mark.parametrize("name", ["sum", "mean"])
@pytest.mark.parametrize("options", [{}, {"dim": ()}, {"dim": (0, -1)}, {"dim": 1, "keepdim": True}], ids=str)
@pytest.mark.parametrize("dtype", [torch.float64, torch.complex128])
def test_reductions(name: str, options: dict, dtype: torch.dtype) -> None:
    ours, theirs = getattr(mb.functional, name), getattr(torch, name)
    agree(lambda x: ours(x, **options), lambda x: theirs(x, **options), values(2, 3, 4, dtype=dtype))


def test_a_reduction_of_a_single_number() -> None:
    agree(mb.functional.sum, torch.sum, values())
    agree(lambda x: mb.functional.mean(x, 0), lambda x: torch.mean(x, 0), values())


@pytest.mark.parametrize("mode", ["floor", "trunc"])
def test_rounded_division_has_gradients_of_zeros(mode: str) -> None:
    numbers = values(5).requires_grad_()
    rounded = mb.functional.div(numbers, 0.3, rounding_mode=mode)
    assert torch.equal(rounded, torch.div(numbers, 0.3, rounding_mode=mode))
    (gradient,) = torch.autograd.grad(rounded.sum(), numbers)
    assert torch.equal(gradient, torch.zeros(5, dtype=numbers.dtype))


def test_deltas_of_several_paths_add_up() -> None:
    x = values(3, 3).requires_grad_()
    y = mb.functional.add(mb.functional.matmul(x, x), mb.functional.mul(x, 3.0))
    (gradient,) = torch.autograd.grad(mb.functional.sum(y), x)
    ones = torch.ones(3, 3, dtype=torch.float64)
    expected = ones @ x.detach().T + x.detach().T @ ones + 3
    # float64 rounding
    torch.testing.assert_close(gradient, expected, rtol=1e-14, atol=1e-14)


@pytest.mark.parametrize("shapes", [((3, 4), (3, 4)), ((3, 4), ()), ((), (3, 4))])
def test_matmul_of_wrong_shapes_is_explained(shapes: tuple) -> None:
    operands = [values(*shape) for shape in shapes]
    with pytest.raises(RuntimeError) as theirs:
        torch.matmul(*operands)
    with pytest.raises(RuntimeError, match="expected: input") as ours:
        mb.functional.matmul(*operands)
    assert str(theirs.value) in str(ours.value)
