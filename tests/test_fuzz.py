"""Random programs give the same numbers, and the same errors, as with torch; and defects planted here are found."""

from __future__ import annotations

import logging
import os
import random
import subprocess
import sys
from collections.abc import Callable
from typing import Any

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from torch import Tensor

import manual_backprop as mb

from .fuzz.generate import generate
from .fuzz.hunt import drawn, hunt
from .fuzz.judge import judge
from .fuzz.modes import Modes
from .fuzz.program import Input, Program, Step
from .fuzz.shrink import shrink


@pytest.fixture(autouse=True)
def quiet() -> Any:
    """`convert` says what it leaves to torch."""
    logging.disable(logging.WARNING)
    yield
    logging.disable(logging.NOTSET)


def agree(program: Program) -> None:
    failure = judge(program)
    assert failure is None, f"{failure.detail}\n{program.code()}"


@settings(max_examples=200, derandomize=True, database=None, deadline=None, suppress_health_check=list(HealthCheck))
@given(st.randoms(use_true_random=False))
def test_random_programs(rng: random.Random) -> None:
    """The first programs of Hypothesis's; it shrinks one that fails."""
    agree(generate(rng))


@pytest.mark.slow
def test_many_random_programs() -> None:
    """`python -m tests.fuzz --seed ... --program ...` runs one of them again."""
    found = hunt(seed=0, seconds=300, processes=os.cpu_count() or 1, compiled=True)
    assert found.programs > 100
    told = "\n\n".join(f"{number}: {failure.detail}\n{p.code()}" for number, p, failure in found.found.values())
    assert not found.found, told


def test_one_seed_is_one_program() -> None:
    assert [drawn(3, n) for n in range(30)] == [drawn(3, n) for n in range(30)]
    assert len({drawn(3, n).script() for n in range(30)}) == 30


def test_the_script_of_a_program_runs_alone() -> None:
    steps = (Step("{m}({0})", ("x0",), ("v0",), 0), Step("F.mul({0}, 2.0)", ("v0",), ("v1",)))
    program = Program((Input("x0", (3, 4), grad=True),), ("nn.Linear(4, 2)",), steps, ("v1",), Modes())
    done = subprocess.run([sys.executable, "-c", program.code()], capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "")
    told = dict(line.split(" | ") for line in done.stdout.splitlines())
    assert told["output 0"] == "differs by tensor(0., dtype=torch.float64)"
    assert {"gradient of x0", "gradient of 0.weight", "gradient of 0.bias"} < told.keys()


# Defects, each as a function in place of one of ours.


def wrong_formula(right: Callable[..., Tensor]) -> Callable[..., Tensor]:
    """The delta is 1 % too large."""

    class Tanh(torch.autograd.Function):
        @staticmethod
        def forward(ctx: Any, input: Tensor) -> Tensor:
            output = torch.tanh(input)
            ctx.save_for_backward(output)
            return output

        @staticmethod
        def backward(ctx: Any, delta: Tensor) -> Tensor:
            (output,) = ctx.saved_tensors
            return 1.01 * delta * (1 - output.square())

    return Tanh.apply  # type: ignore[no-any-return]


def wrong_where_large(right: Callable[..., Tensor]) -> Callable[..., Tensor]:
    """A kernel that mixes up places, in large float32 tensors alone."""

    class Turn(torch.autograd.Function):
        @staticmethod
        def forward(ctx: Any, input: Tensor) -> Tensor:
            return input.clone()

        @staticmethod
        def backward(ctx: Any, delta: Tensor) -> Tensor:
            return delta.flatten().roll(1).view(delta.shape)

    def run(input: Tensor, *args: Any, **kwargs: Any) -> Tensor:
        large = input.dtype == torch.float32 and input.numel() >= 16384
        return right(Turn.apply(input) if large else input, *args, **kwargs)

    return run


def uncounted_version(right: Callable[..., Tensor]) -> Callable[..., Tensor]:
    """Writes in place and does not tell torch: nodes that have saved the input do not see it."""

    def run(input: Tensor) -> Tensor:
        positive = (input > 0).to(input.dtype)
        output = mb.functional.mul(input, positive)
        input.detach().data.copy_(output.detach())
        return output

    return run


def returned_view(right: Callable[..., Tensor]) -> Callable[..., Tensor]:
    """A rule that returns a view of its input, which torch forbids to write into."""

    class Reshape(torch.autograd.Function):
        @staticmethod
        def forward(ctx: Any, input: Tensor, shape: Any) -> Tensor:
            ctx.shape = input.shape
            return input.view(shape)

        @staticmethod
        def backward(ctx: Any, delta: Tensor) -> tuple:
            return delta.reshape(ctx.shape), None

    return Reshape.apply  # type: ignore[no-any-return]


def overwritten_source(right: Callable[..., Tensor]) -> Callable[..., Tensor]:
    """Makes a tensor again from its output, which it has not saved, whatever that holds by then."""

    class Sigmoid(torch.autograd.Function):
        @staticmethod
        def forward(ctx: Any, input: Tensor) -> Tensor:
            output = torch.sigmoid(input)
            ctx.kept = output.detach()
            return output

        @staticmethod
        def backward(ctx: Any, delta: Tensor) -> Tensor:
            return delta * ctx.kept * (1 - ctx.kept)

    return Sigmoid.apply  # type: ignore[no-any-return]


def lost_second_derivative(right: Callable[..., Tensor]) -> Callable[..., Tensor]:
    """A backward whose result depends on the delta alone."""

    class Softplus(torch.autograd.Function):
        @staticmethod
        def forward(ctx: Any, input: Tensor, *args: Any) -> Tensor:
            ctx.save_for_backward(input.detach())
            return torch.nn.functional.softplus(input)

        @staticmethod
        def backward(ctx: Any, delta: Tensor) -> tuple:
            return delta * torch.sigmoid(ctx.saved_tensors[0].detach()), None, None

    def run(input: Tensor, *args: Any, **kwargs: Any) -> Tensor:
        return right(input, *args, **kwargs) if kwargs else Softplus.apply(input)

    return run


def other_random_numbers(right: Callable[..., Tensor]) -> Callable[..., Tensor]:
    def run(*args: Any, **kwargs: Any) -> Tensor:
        torch.rand(1)
        return right(*args, **kwargs)

    return run


PLANTED: list[tuple[str, Callable[..., Any], set[str]]] = [
    ("tanh", wrong_formula, {"differs"}),
    ("mul", wrong_where_large, {"differs"}),
    ("relu_", uncounted_version, {"silent", "differs"}),
    ("reshape", returned_view, {"raises"}),
    ("sigmoid", overwritten_source, {"silent", "differs"}),
    ("softplus", lost_second_derivative, {"differs"}),
    ("dropout", other_random_numbers, {"differs"}),
]


@pytest.mark.parametrize(("name", "defect", "kinds"), PLANTED, ids=[defect.__name__ for _, defect, _ in PLANTED])
def test_a_planted_defect_is_found(
    name: str, defect: Callable[..., Any], kinds: set[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """By one of the first programs in which the function occurs, which is right without the defect."""
    right = getattr(mb.functional, name)
    for number in range(100):
        program = drawn(1, number, focus=f"F.{name}(").with_modes(route="functional")
        with monkeypatch.context() as planted:
            planted.setattr(mb.functional, name, defect(right))
            failure = judge(program)
            if failure is None or failure.kind not in kinds:
                continue
        if judge(program) is None:
            return
    pytest.fail(f"{defect.__name__} in {name} was not found by 100 programs")


def test_a_failing_program_shrinks_to_what_fails(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(mb.functional, "tanh", wrong_formula(mb.functional.tanh))
    steps = (
        Step("F.add({0}, {1})", ("x0", "x1"), ("v0",)),
        Step("{m}({0})", ("v0",), ("v1",), 0),
        Step("F.tanh({0})", ("v1",), ("v2",)),
        Step("{0}.mul_(2.0)", ("v2",)),
        Step("F.transpose({0}, 0, 1)", ("v2",), ("v3",)),
    )
    inputs = Input("x0", (3, 4), "kinks", "transposed", grad=True), Input("x1", (4,))
    modes = Modes(loss="square", saving="off", hooks="copy")
    program = Program(inputs, ("nn.Linear(4, 2)",), steps, ("v3", "v1"), modes)
    failure = judge(program)
    assert failure is not None
    small, again = shrink(program, failure, 30)
    assert again.key() == failure.key()
    assert [step.code for step in small.steps] == ["F.tanh({0})"]
    assert (small.inputs, small.modules, small.modes) == ((Input("x0", small.inputs[0].shape, grad=True),), (), Modes())
