"""Products of matrices by oneDNN are the formulas' to rounding, and left to ATen where they would gain nothing."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor

import manual_backprop as mb
from manual_backprop.engine.rule import KERNELS
from manual_backprop.kernels import matmul
from manual_backprop.rules import Linear

from .test_vendor import Called

ONEDNN = "mkldnn::_linear_pointwise"
# float32 sums of n terms in any order: n roundings of the sum of their sizes at most, and far fewer at random
EPS = torch.finfo(torch.float32).eps


@pytest.fixture(autouse=True)
def at_any_size(monkeypatch: pytest.MonkeyPatch) -> None:
    if not torch.backends.mkldnn.is_available():
        pytest.skip("this torch was built without oneDNN")
    monkeypatch.setattr(matmul, "WORTHWHILE", 1)
    monkeypatch.setattr(matmul, "NARROW", 1)
    monkeypatch.setattr(matmul, "faster", lambda: True)
    monkeypatch.setattr(matmul, "_wide_vectors", lambda: True)


def near(found: Tensor, left: Tensor, right: Tensor, bias: Tensor | None = None) -> bool:
    """Whether `found` is left right + bias as float32 has it."""
    exact, sizes = left.double() @ right.double(), left.double().abs() @ right.double().abs()
    if bias is not None:
        exact, sizes = exact + bias.double(), sizes + bias.double().abs()
    return bool(((found.double() - exact).abs() <= left.shape[-1] * EPS * sizes).all())


@pytest.mark.parametrize("shape", [(5, 7), (2, 3, 7), (0, 7), (1, 7)])
@pytest.mark.parametrize("bias", [True, False])
def test_forward_and_delta(shape: tuple[int, ...], bias: bool) -> None:
    x, weight = torch.randn(shape), torch.randn(11, 7)
    b = torch.randn(11) if bias else None
    output = KERNELS[Linear.output](x, weight, b)
    assert output.shape == (*shape[:-1], 11)
    assert output.is_contiguous()
    assert near(output, x, weight.T, b)
    delta = torch.randn(*shape[:-1], 11)
    delta_input = KERNELS[Linear.delta_input](delta, weight)
    assert delta_input.shape == shape
    assert near(delta_input, delta, weight)
    assert x.numel() == 0 or not near(delta_input * (1 + 1e-3), delta, weight), "the bound would let errors pass"


@pytest.mark.parametrize("shape", [(5,), (2, 3), (), (40,), (1,)])
@pytest.mark.parametrize("columns", [(7, 11), (11, 7), (3, 64)])
def test_grad_weight(shape: tuple[int, ...], columns: tuple[int, int]) -> None:
    """Of all layouts of oneDNN's product: with many rows the transpose is computed."""
    inputs, outputs = columns
    delta, x = torch.randn(*shape, outputs), torch.randn(*shape, inputs)
    with Called() as called:
        grad = KERNELS[Linear.grad_weight](delta, x)
    assert ONEDNN in called.names
    assert grad.shape == (outputs, inputs)
    assert grad.is_contiguous()
    assert near(grad, delta.reshape(-1, outputs).T, x.reshape(-1, inputs))
    assert not near(grad * (1 + 1e-3), delta.reshape(-1, outputs).T, x.reshape(-1, inputs))


def test_grad_weight_without_wide_vectors_is_atens(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(matmul, "_wide_vectors", lambda: False)
    delta, x = torch.randn(5, 11), torch.randn(5, 7)
    with Called() as called:
        grad = KERNELS[Linear.grad_weight](delta, x)
    assert ONEDNN not in called.names
    assert torch.equal(grad, delta.T @ x)


@pytest.mark.parametrize(
    "make",
    [
        lambda: (torch.randn(11, 5).T, torch.randn(5, 7)),
        lambda: (torch.randn(5, 11), torch.randn(7, 5).T),
        lambda: (torch.randn(5, 11).double(), torch.randn(5, 7).double()),
        lambda: (torch.randn(5), torch.randn(5, 7)),
    ],
    ids=["delta-transposed", "input-transposed", "float64", "weight-of-one-axis"],
)
def test_weight_gradients_that_are_left_to_aten(make: Any) -> None:
    delta, x = make()
    with Called() as called:
        grad = KERNELS[Linear.grad_weight](delta, x)
    assert ONEDNN not in called.names
    assert torch.equal(grad, Linear.grad_weight(delta, x))


def test_sizes_from_which_onednn_serves(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(matmul, "WORTHWHILE", 2**26)
    assert matmul.least() == matmul.WIDE
    monkeypatch.setattr(matmul, "_wide_vectors", lambda: False)
    assert matmul.least() == 2**26


@pytest.mark.parametrize("dim", [2, 3])
def test_a_layer_runs_on_it_and_trains(dim: int) -> None:
    layer, x = mb.nn.Linear(7, 11), torch.randn(*(3, 5, 7)[3 - dim :], requires_grad=True)
    with Called() as forward:
        y = layer(x)
    assert ONEDNN in forward.names
    delta = torch.randn_like(y)
    with Called() as backward:
        y.backward(delta)
    assert ONEDNN in backward.names
    assert x.grad is not None
    assert near(x.grad, delta, layer.weight.detach())
    assert layer.weight.grad is not None
    assert near(layer.weight.grad, delta.reshape(-1, 11).T, x.detach().reshape(-1, 7))
    y = layer(x)
    y.relu_()  # no view, which could not be written over
    with mb.backend("formula"), Called() as formula:
        layer(x).sum().backward()
    assert ONEDNN not in formula.names


def test_a_second_derivative_takes_the_formulas() -> None:
    layer, x = mb.nn.Linear(3, 4), torch.randn(2, 3, requires_grad=True)
    (delta_input,) = torch.autograd.grad(layer(x).square().sum(), x, create_graph=True)
    delta_input.sum().backward()
    expected = 2 * layer.weight.detach().T @ layer.weight.detach()
    torch.testing.assert_close(x.grad, expected.sum(0).expand(2, 3))


@pytest.mark.parametrize(
    "make",
    [
        lambda: (torch.randn(5, 7).double(), torch.randn(11, 7).double()),
        lambda: (torch.randn(7, 5).T, torch.randn(11, 7)),
        lambda: (torch.randn(5, 7), torch.randn(7, 11).T),
        lambda: (torch.randn(5, 7), torch.randn(7)),
        lambda: (torch.randn(5, 7, device="meta"), torch.randn(11, 7, device="meta")),
    ],
    ids=["float64", "input-transposed", "weight-transposed", "vector", "meta"],
)
def test_what_is_left_to_aten(make: Any) -> None:
    x, weight = make()
    with Called() as called:
        output = KERNELS[Linear.output](x, weight, None)
    assert ONEDNN not in called.names
    assert output.shape == Linear.output(x, weight, None).shape


def test_only_where_it_was_measured_to_be_faster(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.undo()
    monkeypatch.setattr(matmul, "_maker", lambda: "vendor_id : GenuineIntel")
    matmul.faster.cache_clear()
    try:
        assert not matmul.faster()
        layer, x = mb.nn.Linear(256, 256), torch.randn(256, 256)
        assert torch.equal(layer(x), torch.nn.functional.linear(x, layer.weight, layer.bias))
    finally:
        matmul.faster.cache_clear()


@pytest.mark.parametrize("shape", [(4, 7), (2, 3, 7), (2, 3, 4, 7)])
def test_an_output_of_any_number_of_axes_may_be_written_over(shape: tuple[int, ...]) -> None:
    layer, x = mb.nn.Linear(7, 5), torch.randn(shape)
    with mb.explicit():
        output = layer(x)
        output += 1.0
    output.square().sum().backward()
    expected = torch.nn.functional.linear(x, layer.weight, layer.bias) + 1
    torch.testing.assert_close(output, expected)
    torch.testing.assert_close(layer.bias.grad, 2 * expected.reshape(-1, 5).sum(0).detach())
