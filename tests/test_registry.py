"""The registry of kernels: one a formula and device, each says when it serves, and the formula runs where none does."""

from __future__ import annotations

import functools
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.utils._pytree import tree_leaves, tree_map

import manual_backprop as mb
from manual_backprop import kernels, rules
from manual_backprop.engine import node
from manual_backprop.engine.rule import KERNELS, choose
from manual_backprop.engine.terms import in_opmath, widened
from manual_backprop.kernels.registry import DEVICES, REGISTERED, SEVERAL, activate, chain, serves, serves_both, table
from manual_backprop.memory.recompute import FUSED
from manual_backprop.testing.cases import CASES
from tests.registered import put_back

FREE = rules.Mul.delta_input
"""A formula that has no kernel."""


@pytest.fixture
def own() -> Iterator[None]:
    """What a test registers ends with it."""
    assert (FREE,) not in REGISTERED
    with put_back():
        yield


def refusing(*args: Any) -> Any:
    return NotImplemented


def test_every_kernel_says_when_it_serves_and_is_for_a_formula_of_a_rule() -> None:
    assert len(REGISTERED) > 90
    for formulas, by_device in REGISTERED.items():
        for formula in formulas:
            rule, _, name = formula.__qualname__.partition(".")
            assert getattr(rules.RULES[rule], name) is formula
        for device, kernel in by_device.items():
            assert kernel.device == device
            assert len(kernel.when.split()) > 1, kernel
            assert kernel.formula.startswith(formulas[0].__qualname__)
        if len(formulas) == 1:
            assert chain(*formulas, DEVICES).__qualname__ == kernel.formula, "also with those for a GPU in use"


def test_what_is_chosen_is_what_is_registered() -> None:
    """There is no second way in: nothing else in the package writes to the table that `choose` reads."""
    used = {f for (f, *others), by_device in REGISTERED.items() if not others and any(map(DEVICES.get, by_device))}
    assert set(KERNELS) == used
    assert set(FUSED) == {formulas for formulas in REGISTERED if len(formulas) == 2}
    written = re.compile(r"\b(KERNELS|FUSED)(\[[^\]]+\] = |\.update\(|\.setdefault\()")
    root = Path(mb.__file__).parent
    found = [
        path.relative_to(root).as_posix() for path in root.rglob("*.py") if written.search(path.read_text("utf-8"))
    ]
    assert found == ["kernels/registry.py"]


@pytest.mark.usefixtures("own")
def test_a_second_kernel_is_refused_and_both_are_named() -> None:
    with pytest.raises(ValueError, match=r"Softmax\.delta_input has a kernel on 'cpu' already") as raised:
        serves(rules.Softmax.delta_input, on="cpu", when="never")(refusing)
    assert "got: tests.test_registry.refusing. expected: softmax.softmax_delta_input alone" in str(raised.value)
    with pytest.raises(ValueError, match=r"ReLU\.forward of BatchNorm\.scaled has a kernel on 'cpu' already"):
        serves_both(rules.ReLU.forward, rules.BatchNorm.scaled, on="cpu", when="never")(refusing)
    assert REGISTERED[rules.Softmax.delta_input,]["cpu"].run is kernels.softmax.softmax_delta_input


@pytest.mark.usefixtures("own")
def test_what_cannot_be_registered_is_refused() -> None:
    with pytest.raises(ValueError, match=r"does not say when it serves Mul\.delta_input\. got: when=' '"):
        serves(FREE, on="cpu", when=" ")(refusing)
    with pytest.raises(ValueError, match=r"unknown device\. got: 'tpu'\. expected: cuda, cpu, any"):
        serves(FREE, on="tpu", when="never")(refusing)
    with pytest.raises(ValueError, match=r"got: refusing\. expected: a function of a rule"):
        serves(refusing, on="cpu", when="never")(refusing)
    assert FREE not in KERNELS
    serves(FREE, on="any", when="never", upcasts=True)(refusing)
    with pytest.raises(ValueError, match="has to read 16 bits as they are"):
        serves(FREE, on="cpu", when="never")(refusing)


@pytest.mark.usefixtures("own")
def test_devices_are_asked_in_order_and_the_formula_at_last() -> None:
    asked: list[str] = []

    def noted(device: str) -> Any:
        def kernel(delta: Tensor, other: Tensor) -> Any:
            asked.append(device)
            return delta if device == serving else NotImplemented

        return kernel

    for device in ("any", "cpu", "cuda"):
        serves(FREE, on=device, when="where it is told to")(noted(device))
    delta, other = torch.randn(3), torch.randn(3)
    serving = "none"
    assert torch.equal(KERNELS[FREE](delta, other), delta * other)
    assert asked == ["cpu", "any"], "CUDA is not initialized"
    activate("cuda")
    asked.clear()
    assert torch.equal(KERNELS[FREE](delta, other), delta * other)
    assert asked == ["cuda", "cpu", "any"]
    for serving in ("cuda", "cpu", "any"):
        asked.clear()
        assert KERNELS[FREE](delta, other) is delta
        assert asked[-1] == serving
    with torch.no_grad():
        assert choose(FREE) is KERNELS[FREE]
        with mb.backend("formula"):
            assert choose(FREE) is FREE
    assert choose(FREE) is FREE, "gradients are recorded"


@pytest.mark.usefixtures("own")
def test_behind_a_kernel_that_reads_16_bits_the_formula_is_upcast() -> None:
    delta, output = torch.randn(2, 50).half().unbind()
    formula = rules.Tanh.delta_input
    seen: list[torch.dtype] = []

    def kernel(delta: Tensor, output: Tensor) -> Any:
        seen.append(delta.dtype)
        return NotImplemented

    del REGISTERED[formula,]
    serves(formula, on="cpu", when="never", upcasts=True)(kernel)
    found = in_opmath(KERNELS[formula], delta, output)
    assert seen == [torch.float16]
    assert torch.equal(found, in_opmath(formula, delta, output))
    assert not torch.equal(found, formula(delta, output)), "rounded at every step"


def calls_of_the_rows() -> dict[Any, tuple]:
    """Formula -> arguments that it was called with, on the rows of the suite."""
    found: dict[Any, tuple] = {}

    def noting(formula: Any, run: Any) -> Any:
        @functools.wraps(run)
        def noted(*args: Any) -> Any:
            found.setdefault(formula, tuple(a.clone() if isinstance(a, Tensor) else a for a in args))
            return run(*args)

        return noted

    with put_back():
        node.enable(False)
        KERNELS.update({formula: noting(formula, run) for formula, run in KERNELS.items()})
        for case in CASES:
            generator = torch.Generator().manual_seed(0)
            given = [(spec.differentiable, spec.make(generator, torch.float32)) for spec in case.inputs]
            inputs = [tree_map(differentiated, value) if wanted else value for wanted, value in given]
            outputs = [v for v in tree_leaves(case.build()(*inputs)) if isinstance(v, Tensor) and v.requires_grad]
            torch.autograd.backward(outputs, [torch.ones_like(v) for v in outputs])
        node.enable(True)
    return found


def differentiated(value: Any) -> Any:
    """Not the leaf itself, so that it can be written over."""
    differentiable = isinstance(value, Tensor) and (value.is_floating_point() or value.is_complex())
    return value.requires_grad_().clone() if differentiable else value


def halved(value: Any) -> Any:
    return value.half() if isinstance(value, Tensor) and value.is_floating_point() else value


def test_what_the_c_does_not_read_goes_to_the_formula() -> None:
    """float16, of which no kernel for the CPU reads a number: the formula's bits, upcast where its rule says so."""
    found = calls_of_the_rows()
    on_cpu = {f for (f, *others), by_device in REGISTERED.items() if not others and "cpu" in by_device}
    assert on_cpu - found.keys() == {rules.BatchNorm.scaled, rules.RMSNorm.invrms}, "run in recomputation alone"
    for formula in on_cpu & found.keys():
        kernel, run = REGISTERED[formula,]["cpu"], chain(formula, ["cpu"])

        def called(function: Any, formula: Any = formula) -> Any:
            return function(*map(halved, found[formula]))  # copies: some write over what they are given

        upcast = functools.partial(widened if formula.__name__ in SEVERAL else in_opmath, formula)
        expected, tolerance = called(upcast if hasattr(run, "rounds_once") else formula), 0.0
        if "; else" in kernel.when:  # by ATen, whose rounding is its own
            tolerance = torch.finfo(torch.float16).eps
        else:
            assert called(kernel.run) is NotImplemented, kernel
        torch.testing.assert_close(called(run), expected, rtol=tolerance, atol=tolerance, equal_nan=True)


def traced_calls() -> dict[Any, tuple]:
    """Formulas with kernels for one device, for any, for both, and their arguments."""
    x, images, shape = torch.randn(3, 2, 4, 6), torch.randn(2, 2, 6, 6), torch.Size([6])
    mean, invstd = x[0].mean(-1, keepdim=True), torch.rand(2, 4, 1)
    kernel = (3, 2, 3, 3), (1, 1), (0, 0), (1, 1), 1
    return {
        rules.Tanh.delta_input: (x[0], x[1]),
        rules.GELU.delta_input: (x[0], x[1], "tanh"),
        rules.Conv.grad_weight: (torch.randn(2, 3, 4, 4), images, *kernel),
        rules.ScaledDotProductAttention.attended: (*x, None, None, 0.0, False, 0.5),
        rules.AvgPool.delta_input: (torch.randn(2, 2, 3, 3), images.shape, (2, 2), (2, 2), (0, 0), True, None),
        rules.LayerNorm.derivatives: (x[0], x[1], None, mean, invstd, shape, (True, True, True)),
    }


@pytest.mark.parametrize("formula", traced_calls(), ids=lambda formula: formula.__qualname__)
def test_torch_compile_traces_what_is_chosen(formula: Any) -> None:
    """Into the formula, where a kernel is C."""

    def run(*args: Any) -> Any:
        return KERNELS.get(formula, formula)(*args)

    args = traced_calls()[formula]
    with torch.no_grad():
        found = torch.compile(run, fullgraph=True, backend="eager")(*args)
        torch.testing.assert_close(found, formula(*args))


def test_the_command_lists_them() -> None:
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-m", "manual_backprop.kernels"], capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.rstrip("\n") == table()
    lines = done.stdout.splitlines()
    assert len(lines) == 2 + sum(map(len, REGISTERED.values()))
    (line,) = (line for line in lines if re.match(r"Softmax\.delta_input +cuda ", line))
    assert re.split(r"  +", line) == [
        "Softmax.delta_input", "cuda", "cuda.rows.softmax_delta_input",
        "float32, bfloat16, float16; output contiguous, along the last axis",
    ]  # fmt: skip
