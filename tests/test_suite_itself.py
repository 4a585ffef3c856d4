"""The suite can fail: deliberately wrong rules are caught, by the check made for it, and through every transform."""

from __future__ import annotations

import re
import subprocess
import sys
from typing import Any

import pytest
import torch
from torch import Tensor

import manual_backprop as mb
from manual_backprop.cli import main as command
from manual_backprop.rules import Linear, Mul, Rule
from manual_backprop.testing import CHECKS, check
from manual_backprop.testing.case import Case, complex_normal, normal
from manual_backprop.testing.cases import CASES
from manual_backprop.testing.report import run_case


class Cube(Rule):
    """y = x^3

    input, output, delta (*)

    delta_input = 3 x^2 delta
    """

    @staticmethod
    def forward(input: Tensor) -> Tensor:
        return input**3

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple, output: Tensor) -> None:
        ctx.save_for_backward(*inputs)

    @staticmethod
    def backward(ctx: Any, delta: Tensor) -> Tensor:
        (input,) = ctx.saved_tensors
        return Cube.delta_input(delta, input)

    @staticmethod
    def delta_input(delta: Tensor, input: Tensor) -> Tensor:
        return 3 * input**2 * delta

    @staticmethod
    def tangent(inputs: tuple, tangents: tuple, output: Tensor) -> Tensor:
        return 3 * inputs[0] ** 2 * tangents[0]


def failures(monkeypatch: pytest.MonkeyPatch, name: str, wrong: Any) -> set[str]:
    """The checks that catch a wrong method of Cube."""
    monkeypatch.setattr(Cube, name, staticmethod(wrong))
    with pytest.raises(AssertionError, match=r"delta_input = 3 x\^2 delta") as caught:
        check(Cube, torch.randn(3, 4), twin=lambda x: x**3)
    return {line.split()[0] for line in str(caught.value).splitlines() if line[2:3].isalpha() and " fail " in line}


def test_a_right_rule_of_a_user_passes() -> None:
    report = check(Cube, torch.randn(3, 4), twin=lambda x: x**3)
    assert report.ok
    assert {r.check for r in report.results} == set(CHECKS)
    assert check(Cube, torch.randn(3, 4)).ok, "without a twin"


def test_a_wrong_formula_shows_in_every_check_of_values(monkeypatch: pytest.MonkeyPatch) -> None:
    caught = failures(monkeypatch, "delta_input", lambda delta, input: 2 * input**2 * delta)
    assert {"float32", "bfloat16", "specials", "gradcheck", "transforms"} <= caught


def test_a_summed_gradient_is_caught_though_the_engine_mends_it(monkeypatch: pytest.MonkeyPatch) -> None:
    def backward(ctx: Any, delta: Tensor) -> Tensor:
        return Cube.delta_input(delta, ctx.saved_tensors[0]).expand(2, 3, 4) / 2

    assert failures(monkeypatch, "backward", backward) >= {"deltas"}


def test_a_wrong_dtype_is_caught_though_the_engine_mends_it(monkeypatch: pytest.MonkeyPatch) -> None:
    def backward(ctx: Any, delta: Tensor) -> Tensor:
        return Cube.delta_input(delta, ctx.saved_tensors[0]).double()

    assert failures(monkeypatch, "backward", backward) == {"deltas"}


def test_autograd_inside_a_backward_is_caught(monkeypatch: pytest.MonkeyPatch) -> None:
    def delta_input(delta: Tensor, input: Tensor) -> Tensor:
        with torch.enable_grad():
            x = input.detach().requires_grad_()
            return torch.autograd.grad(x**3, x, delta)[0]

    assert "explicit" in failures(monkeypatch, "delta_input", delta_input)


def test_an_aten_backward_inside_a_backward_is_caught(monkeypatch: pytest.MonkeyPatch) -> None:
    def delta_input(delta: Tensor, input: Tensor) -> Tensor:
        ones = torch.ops.aten.threshold_backward(torch.ones_like(delta), torch.ones_like(delta), 0)
        return 3 * input**2 * delta * ones

    assert "explicit" in failures(monkeypatch, "delta_input", delta_input)


def test_writing_into_the_delta_is_caught(monkeypatch: pytest.MonkeyPatch) -> None:
    def delta_input(delta: Tensor, input: Tensor) -> Tensor:
        return delta.mul_(3 * input**2)

    assert "deltas" in failures(monkeypatch, "delta_input", delta_input)


def test_a_wrong_tangent_is_caught(monkeypatch: pytest.MonkeyPatch) -> None:
    wrong = failures(monkeypatch, "tangent", lambda inputs, tangents, output: inputs[0] * tangents[0])
    assert "forward_mode" in wrong


def test_a_gradient_wrong_in_large_tensors_only_is_caught(monkeypatch: pytest.MonkeyPatch) -> None:
    def delta_input(delta: Tensor, input: Tensor) -> Tensor:
        right = 3 * input**2 * delta
        return right if input.numel() < 1000 else right.roll(1)

    monkeypatch.setattr(Cube, "delta_input", staticmethod(delta_input))
    with pytest.raises(AssertionError, match="Jacobian mismatch"):
        check(Cube, torch.randn(3, 4), checks=["gradcheck"], larger=(normal(80, 50),))


def test_a_missing_conjugate_is_caught(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Mul, "delta_input", staticmethod(lambda delta, other, shape, dtype: delta * other))
    case = Case("mul", lambda: mb.functional.mul, lambda: torch.mul, (complex_normal(3, 4), complex_normal(3, 4)))
    assert not run_case(case, ["gradcheck"]).ok


def test_a_gradient_that_is_not_needed_is_caught(monkeypatch: pytest.MonkeyPatch) -> None:
    def backward(ctx: Any, delta: Tensor) -> tuple:
        input, weight = ctx.saved_tensors
        return delta @ weight, delta.T @ input, delta.sum(0)

    def setup_context(ctx: Any, inputs: tuple, output: Tensor) -> None:
        ctx.save_for_backward(*inputs[:2])

    monkeypatch.setattr(Linear, "backward", staticmethod(backward))
    monkeypatch.setattr(Linear, "setup_context", staticmethod(setup_context))
    case = Case("Linear", lambda: mb.nn.Linear(4, 3), lambda: torch.nn.Linear(4, 3), (normal(5, 4),))
    (result,) = run_case(case, ["frozen"]).results
    assert result.outcome == "fail"
    assert "computed a gradient that is not needed" in result.detail


@pytest.mark.parametrize("through", ["compile", "vmap", "jacrev", "checkpoint"])
def test_our_backward_runs_through_the_transform(monkeypatch: pytest.MonkeyPatch, through: str) -> None:
    """A deliberately wrong rule must show: seven times the right delta comes out where ours runs."""
    layer = mb.nn.Linear(4, 3).double()
    x = torch.randn(5, 4, dtype=torch.float64, requires_grad=True)

    def gradient() -> Tensor:
        if through == "compile":
            torch._dynamo.reset()
            run = torch.compile(layer, fullgraph=True, backend="aot_eager")
            return torch.autograd.grad(run(x).sum(), x)[0]
        if through == "checkpoint":
            output = torch.utils.checkpoint.checkpoint(layer, x, use_reentrant=False)
            return torch.autograd.grad(output.sum(), x)[0]
        if through == "vmap":
            return torch.func.vmap(torch.func.grad(lambda row: layer(row).sum()))(x)
        return torch.func.jacrev(lambda y: layer(y).sum())(x)

    right = gradient()
    formula = Linear.delta_input
    monkeypatch.setattr(Linear, "delta_input", staticmethod(lambda delta, weight: 7 * formula(delta, weight)))
    assert torch.allclose(gradient().detach(), 7 * right.detach())


def test_the_command_prints_a_clean_table() -> None:
    """In a process of its own, with torch's own warnings, on the layer whose twin warns."""
    words = ["check", "--layer", "Conv2d", "--checks", "forward", "gradcheck", "transforms"]
    done = subprocess.run([sys.executable, "-m", "manual_backprop.cli", *words], capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "")
    rows = sum(case.covers == "Conv2d" for case in CASES)
    assert len(re.findall(r"^Conv2d\S* +✓  ✓  ✓$", done.stdout, re.MULTILINE)) == rows
    assert done.stdout.splitlines()[-1] == f"{rows} rows: {3 * rows} checks passed, 0 failed"


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--layer", "Conv2"], "Unknown layer or function 'Conv2'. Did you mean 'Conv2d'? Of "),
        (["--layer", "Linear", "--device", "cuda"], "torch sees no CUDA device here; run without --device"),
    ],
)
def test_the_command_refuses_what_is_not_there(
    options: list[str], message: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert command(["check", *options]) == 2
    assert message in capsys.readouterr().err


def test_unknown_checks_and_uncallable_layers_are_refused() -> None:
    with pytest.raises(ValueError, match="unknown checks"):
        check(Cube, torch.randn(2), checks=["gradchek"])
    with pytest.raises(TypeError, match="takes a layer or a function"):
        check(3, torch.randn(2))  # type: ignore[arg-type]
