"""The checker on a torch.autograd.Function that is no rule, judged by what it promises; the layout of inputs."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor
from torch.autograd import Function
from torch.autograd.function import once_differentiable

import manual_backprop as mb
from manual_backprop.testing import CHECKS, check
from manual_backprop.testing.layouts import copied, laid_out


class Old(Function):
    """y = x^3, in the old style"""

    @staticmethod
    def forward(ctx: Any, input: Tensor) -> Tensor:
        ctx.save_for_backward(input)
        return input**3

    @staticmethod
    def backward(ctx: Any, delta: Tensor) -> Tensor:
        return 3 * ctx.saved_tensors[0] ** 2 * delta


class Split(Function):
    """y = x^3, in the split style"""

    @staticmethod
    def forward(input: Tensor) -> Tensor:
        return input**3

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple, output: Tensor) -> None:
        ctx.save_for_backward(*inputs)
        ctx.save_for_forward(*inputs)

    @staticmethod
    def backward(ctx: Any, delta: Tensor) -> Tensor:
        return 3 * ctx.saved_tensors[0] ** 2 * delta


class Whole(Split):
    """y = x^3, with all that torch.func asks for"""

    generate_vmap_rule = True

    @staticmethod
    def jvp(ctx: Any, tangent: Tensor) -> Tensor:
        return 3 * ctx.saved_tensors[0] ** 2 * tangent


class Once(Old):
    @staticmethod
    @once_differentiable
    def backward(ctx: Any, delta: Tensor) -> Tensor:
        return 3 * ctx.saved_tensors[0] ** 2 * delta


class ThroughNumpy(Old):
    @staticmethod
    @once_differentiable
    def backward(ctx: Any, delta: Tensor) -> Tensor:
        return 3 * ctx.saved_tensors[0] ** 2 * torch.from_numpy(delta.numpy())


class Greedy(Function):
    """y = a b, whose backward computes both gradients whatever is asked for"""

    @staticmethod
    def forward(ctx: Any, input: Tensor, other: Tensor) -> Tensor:
        ctx.save_for_backward(input, other)
        return input * other

    @staticmethod
    def backward(ctx: Any, delta: Tensor) -> Any:
        input, other = ctx.saved_tensors
        return delta * other, delta * input


class NoTangent(mb.rules.Rule):
    """y = x^3"""

    @staticmethod
    def forward(input: Tensor) -> Tensor:
        return input**3

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple, output: Tensor) -> None:
        ctx.save_for_backward(*inputs)

    @staticmethod
    def backward(ctx: Any, delta: Tensor) -> Tensor:
        return 3 * ctx.saved_tensors[0] ** 2 * delta


X = torch.linspace(0.5, 2, 6).reshape(2, 3)
OLD = {"forward_mode": "has no jvp", "transforms": "has no setup_context"}

# the function, and the checks that cannot apply to it, each with words of the reason
FAIR: list[tuple[Any, tuple, dict[str, str]]] = [
    (Old, (X,), OLD),
    (Split, (X,), {"forward_mode": "Split has no jvp"}),
    (Whole, (X,), {"compiled": "torch.compile cannot put Whole into a graph"}),
    (Once, (X,), {**OLD, "gradgradcheck": "double backward is missing"}),
    (Greedy, (X, X + 1), OLD),
    (NoTangent, (X,), {"forward_mode": "NoTangent has no tangent"}),
]  # fmt: skip


@pytest.mark.parametrize(("function", "inputs", "lacking"), FAIR, ids=[row[0].__name__ for row in FAIR])
def test_a_right_function_passes_and_what_it_lacks_is_said(function: Any, inputs: tuple, lacking: dict) -> None:
    twin = torch.mul if len(inputs) == 2 else (lambda x: x**3)
    report = check(function, *inputs, twin=twin)
    found = {result.check: result for result in report.results}
    assert set(found) == set(CHECKS)
    always = {"module"} | ({"frozen"} if len(inputs) == 1 else set())
    assert {name for name, result in found.items() if result.outcome == "n/a"} == always | set(lacking)
    for name, words in lacking.items():
        assert words in found[name].detail
    assert all(result.outcome == "pass" for name, result in found.items() if name not in always | set(lacking))


def test_a_transform_that_does_not_apply_is_named_beside_those_that_do() -> None:
    (result,) = check(Split, X, checks=["transforms"]).results
    assert result.outcome == "pass"
    assert result.detail.startswith("jacrev; vmap(grad) not applicable: Split has neither vmap nor generate_vmap_rule")
    (result,) = check(Whole, X, checks=["transforms"]).results
    assert result.detail == "vmap(grad), jacrev, hessian"


def test_waste_is_said_and_no_failure() -> None:
    (result,) = check(Greedy, X, X + 1, checks=["frozen"]).results
    assert (result.outcome, result.detail) == (
        "pass", "2 arguments frozen in turn; GreedyBackward computes gradients that are not needed",
    )  # fmt: skip


def test_a_backward_through_numpy_takes_no_batch_of_deltas() -> None:
    results = check(ThroughNumpy, X, checks=["float32", "batched_grad", "explicit"]).results
    assert [result.outcome for result in results] == ["pass", "n/a", "pass"]
    assert "vmap does not support the backward of ThroughNumpy" in results[1].detail


def test_a_wrong_rule_for_vmap_is_caught_without_a_twin() -> None:
    class Wrong(Whole):
        generate_vmap_rule = False

        @staticmethod
        def vmap(info: Any, dims: tuple, input: Tensor) -> Any:
            return Wrong.apply(2 * input), dims[0]

    with pytest.raises(AssertionError, match=r"transforms +fail .*vmap\(grad\), entry 0"):
        check(Wrong, X, checks=["transforms"])


def test_inputs_stay_as_they_lie_in_memory() -> None:
    seen = []

    class Looking(Old):
        @staticmethod
        def forward(ctx: Any, input: Tensor) -> Tensor:
            seen.append((input.stride(), input.storage_offset()))
            return Old.forward(ctx, input)

    whole = torch.linspace(0.1, 2, 40).reshape(5, 8)
    images = torch.ones(2, 3, 4, 4).to(memory_format=torch.channels_last)
    for given in (whole[1:3, 1::2], whole.t(), whole[:1].expand(3, 8), images):
        seen.clear()
        assert check(Looking, given, checks=["gradcheck", "deltas", "twice", "checkpoint", "float32"]).ok
        assert (given.stride(), given.storage_offset()) in seen
        seen.clear()
        check(Looking, given, checks=["twice"])
        assert set(seen) == {(given.stride(), given.storage_offset())}


@pytest.mark.parametrize("shape", [(), (4,), (1, 3), (2, 3), (2, 3, 4), (2, 3, 2, 2), (2, 3, 2, 2, 2)])
@pytest.mark.parametrize("dtype", [torch.float64, torch.int64, torch.bool, torch.complex128])
def test_layouts_hold_the_same_numbers(shape: tuple, dtype: torch.dtype) -> None:
    tensor = torch.arange(1, 1 + torch.Size(shape).numel()).reshape(shape).to(dtype)
    found = dict(laid_out(tensor))
    assert "sliced" in found
    assert ("transposed" in found) == (len(shape) >= 2)
    assert ("channels_last" in found) == (len(shape) >= 4)
    for how, odd in found.items():
        expected = tensor[:1].expand(shape) if how.startswith("expanded") else tensor
        assert torch.equal(odd, expected), how
        again = copied(odd)
        assert torch.equal(again, odd)
        assert again.data_ptr() != odd.data_ptr()
        assert (again.stride(), again.storage_offset()) == (odd.stride(), odd.storage_offset())
    assert found["sliced"].storage_offset() > 0
    assert copied(tensor, torch.complex64).dtype == torch.complex64
