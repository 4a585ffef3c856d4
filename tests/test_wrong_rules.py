"""The checker against wrong rules of every kind: each is caught, by the check made for it, in words that say what."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.autograd import Function
from torch.nn.functional import linear, relu

from manual_backprop.testing import CHECKS, check
from manual_backprop.testing.report import Report

QUICK = [name for name in CHECKS if name not in ("compiled", "transforms", "forward_mode")]


class Product(Function):
    """y = x W^T + b, right"""

    @staticmethod
    def forward(ctx: Any, input: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
        ctx.save_for_backward(input, weight)
        return linear(input, weight, bias)

    @staticmethod
    def backward(ctx: Any, delta: Tensor) -> Any:
        input, weight = ctx.saved_tensors
        return delta @ weight, delta.t() @ input, delta.sum(0)


class BiasOverTheWrongAxis(Product):
    @staticmethod
    def backward(ctx: Any, delta: Tensor) -> Any:
        input, weight = ctx.saved_tensors
        return delta @ weight, delta.t() @ input, delta.sum(1)


class MeanForASum(Product):
    @staticmethod
    def backward(ctx: Any, delta: Tensor) -> Any:
        input, weight = ctx.saved_tensors
        return delta @ weight, delta.t() @ input, delta.mean(0)


class NoGradientOfTheBias(Product):
    @staticmethod
    def backward(ctx: Any, delta: Tensor) -> Any:
        return *Product.backward(ctx, delta)[:2], None


class InFloat32(Product):
    """Under autocast, too."""

    @staticmethod
    def forward(ctx: Any, input: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
        with torch.autocast("cpu", enabled=False):
            input, weight, bias = (t.float() if t.dtype == torch.bfloat16 else t for t in (input, weight, bias))
            ctx.save_for_backward(input, weight)
            return linear(input, weight, bias)


class WrongForAnEmptyBatch(Product):
    @staticmethod
    def backward(ctx: Any, delta: Tensor) -> Any:
        right = Product.backward(ctx, delta)
        return right if len(delta) else (right[0], right[1], torch.ones_like(right[2]))


class Square(Function):
    """y = x^2, right"""

    @staticmethod
    def forward(ctx: Any, input: Tensor) -> Tensor:
        ctx.save_for_backward(input)
        return input * input

    @staticmethod
    def backward(ctx: Any, delta: Tensor) -> Any:
        return 2 * ctx.saved_tensors[0] * delta


class WrongWhereNotContiguous(Square):
    @staticmethod
    def backward(ctx: Any, delta: Tensor) -> Any:
        (input,) = ctx.saved_tensors
        return (2 if input.is_contiguous() else 3) * input * delta


class ReadsAsStrided(Square):
    @staticmethod
    def backward(ctx: Any, delta: Tensor) -> Any:
        (input,) = ctx.saved_tensors
        packed = torch.empty(input.shape, device="meta").stride()
        return 2 * input.as_strided(input.shape, packed) * delta


class ForwardReadsAsStrided(Square):
    @staticmethod
    def forward(ctx: Any, input: Tensor) -> Tensor:
        ctx.save_for_backward(input)
        packed = torch.empty(input.shape, device="meta").stride()
        return input.as_strided(input.shape, packed, input.storage_offset()) ** 2


class FailsWhereNotContiguous(Square):
    @staticmethod
    def forward(ctx: Any, input: Tensor) -> Tensor:
        ctx.save_for_backward(input)
        return input.view(-1).square().view(input.shape)


class WritesIntoItsInput(Square):
    @staticmethod
    def forward(ctx: Any, input: Tensor) -> Tensor:
        ctx.save_for_backward(input.clone())
        return input.mul_(input).clone()


class BackwardWritesIntoItsInput(Square):
    @staticmethod
    def backward(ctx: Any, delta: Tensor) -> Any:
        (input,) = ctx.saved_tensors
        result = 2 * input * delta
        input.detach().mul_(2)
        return result


class KeepsItsInputOnCtx(Square):
    @staticmethod
    def forward(ctx: Any, input: Tensor) -> Tensor:
        ctx.input = input
        return input * input

    @staticmethod
    def backward(ctx: Any, delta: Tensor) -> Any:
        return 2 * ctx.input * delta


class KeepsItsInputInAList(KeepsItsInputOnCtx):
    @staticmethod
    def forward(ctx: Any, input: Tensor) -> Tensor:
        ctx.hidden = [input.detach()]
        return input * input

    @staticmethod
    def backward(ctx: Any, delta: Tensor) -> Any:
        return 2 * ctx.hidden[0] * delta


class KeepsItsOutput(Function):
    """y = e^x"""

    @staticmethod
    def forward(ctx: Any, input: Tensor) -> Tensor:
        output = input.exp()
        ctx.hidden = [output]
        return output

    @staticmethod
    def backward(ctx: Any, delta: Tensor) -> Any:
        return ctx.hidden[0] * delta


class SecondBackwardDiffers(Square):
    @staticmethod
    def backward(ctx: Any, delta: Tensor) -> Any:
        ctx.calls = getattr(ctx, "calls", 0) + 1
        return 2 * ctx.calls * ctx.saved_tensors[0] * delta


class Detached(Square):
    @staticmethod
    def backward(ctx: Any, delta: Tensor) -> Any:
        return 2 * ctx.saved_tensors[0].detach() * delta


class NoGrad(Square):
    @staticmethod
    def backward(ctx: Any, delta: Tensor) -> Any:
        with torch.no_grad():
            return 2 * ctx.saved_tensors[0] * delta


class AtenBackward(Function):
    """y = max(x, 0)"""

    @staticmethod
    def forward(ctx: Any, input: Tensor) -> Tensor:
        ctx.save_for_backward(input)
        return input.clamp(min=0)

    @staticmethod
    def backward(ctx: Any, delta: Tensor) -> Any:
        return torch.ops.aten.threshold_backward(delta, ctx.saved_tensors[0], 0)


class WrongAtZero(AtenBackward):
    @staticmethod
    def backward(ctx: Any, delta: Tensor) -> Any:
        return delta * (ctx.saved_tensors[0] >= 0)


class Sum(Function):
    """y = a + b"""

    @staticmethod
    def forward(ctx: Any, input: Tensor, other: Tensor) -> Tensor:
        return input + other

    @staticmethod
    def backward(ctx: Any, delta: Tensor) -> Any:
        return delta.view_as(delta), delta.view_as(delta)


class Halves(Function):
    """Two outputs, whose deltas are mixed up in backward."""

    @staticmethod
    def forward(ctx: Any, input: Tensor) -> Any:
        return input[:1] * 2, input[1:] * 3

    @staticmethod
    def backward(ctx: Any, first: Tensor, second: Tensor) -> Any:
        return torch.cat([2 * second, 3 * first])


X, W, B = torch.linspace(0.5, 2.6, 15).reshape(5, 3), torch.linspace(-1, 0.7, 6).reshape(2, 3), torch.tensor([0.3, 0.4])
S = torch.tensor([[-1.5, -0.4, 0.3], [0.7, 1.1, 2.0]])

# the function, its inputs, its twin, a check that catches it, words of its message
WRONG: list[tuple[Any, tuple, Callable | None, str, str]] = [
    (BiasOverTheWrongAxis, (X, W, B), linear, "gradcheck", r"returned an invalid gradient|invalid gradient"),
    (MeanForASum, (X, W, B), linear, "gradcheck", r"with respect to input 2"),
    (MeanForASum, (X, W, B), linear, "float32", r"gradient by input 2 in torch.float32: error"),
    (NoGradientOfTheBias, (X, W, B), linear, "float32", r"gradient by input 2 .*: ours is None, expected a tensor"),
    (NoGradientOfTheBias, (X, W, B), None, "gradcheck", r"with respect to input 2"),
    (InFloat32, (X, W, B), linear, "autocast", r"autocast output: dtype torch.float32, expected torch.bfloat16"),
    (WrongForAnEmptyBatch, (X, W, B), linear, "empty", r"only input 0 empty: gradient by input 2: 2 of 2 elements"),
    (WrongWhereNotContiguous, (S,), None, "layouts", r"input transposed in memory.*gradient by input"),
    (ReadsAsStrided, (S,), None, "layouts", r"input transposed in memory.*gradient by input"),
    (ForwardReadsAsStrided, (S,), None, "layouts", r"input transposed in memory.*output 0"),
    (FailsWhereNotContiguous, (S,), None, "layouts", r"input transposed in memory: RuntimeError: view size is not"),
    (WritesIntoItsInput, (S,), None, "untouched", r"forward has written into input"),
    (WritesIntoItsInput, (S,), torch.square, "untouched", r"forward has written into input"),
    (BackwardWritesIntoItsInput, (S,), None, "untouched", r"backward has written into input"),
    (KeepsItsInputOnCtx, (S,), None, "untouched", r"keeps a tensor as ctx.input.*save_for_backward"),
    (KeepsItsInputInAList, (S,), None, "untouched", r"input was overwritten between forward and backward without"),
    (KeepsItsOutput, (S,), None, "untouched", r"output 0 was overwritten between forward and backward without"),
    (SecondBackwardDiffers, (S,), None, "twice", r"second backward: gradient by input"),
    (Detached, (S,), None, "gradgradcheck", r"double backward is missing: the gradient by input changes with input"),
    (NoGrad, (S,), None, "gradgradcheck", r"double backward is missing: .*does not require grad"),
    (AtenBackward, (S,), None, "explicit", r"not written out: it calls aten::threshold_backward, an ATen operator"),
    (WrongAtZero, (S,), relu, "specials", r"input 0 with one 0.0: gradient by input"),
    (Sum, (S, S.flip(0)), None, "untouched", r"gradient by input 0 lies in the memory of the gradient by input 1"),
    (Halves, (S,), None, "gradcheck", r"Jacobian mismatch for output 0"),
]  # fmt: skip


def report(function: Any, inputs: tuple, twin: Callable | None, checks: list[str]) -> Report:
    """The report, whether it is good or bad."""
    from manual_backprop.testing import report as module

    found: list[Report] = []
    original = module.run_case
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "run_case", lambda *args: found.append(original(*args)) or found[0])
        try:
            check(function, *inputs, twin=twin, checks=checks)
        except AssertionError:
            assert not found[0].ok
    return found[0]


@pytest.mark.parametrize(
    ("function", "inputs", "twin", "by", "words"), WRONG, ids=[f"{row[0].__name__}-{row[3]}" for row in WRONG]
)
def test_a_wrong_rule_is_caught(function: Any, inputs: tuple, twin: Callable | None, by: str, words: str) -> None:
    with pytest.raises(AssertionError, match=f"(?s){by} +fail .*{words}"):
        check(function, *inputs, twin=twin, checks=[by])


@pytest.mark.parametrize(("function", "inputs", "twin"), [(Product, (X, W, B), linear), (Square, (S,), torch.square)])
def test_the_right_one_passes_every_check(function: Any, inputs: tuple, twin: Callable) -> None:
    for compared in (twin, None):
        assert report(function, inputs, compared, QUICK).ok
