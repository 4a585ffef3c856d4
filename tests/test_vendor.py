"""Kernels that stand in for the formulas of convolution and pooling compute what the formulas compute."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

import manual_backprop as mb
from manual_backprop.engine.rule import KERNELS
from manual_backprop.kernels import layout, vendor
from manual_backprop.kernels.registry import REGISTERED
from manual_backprop.rules import AdaptiveAvgPool, AvgPool, Conv, ConvTranspose, MaxPool

# float64, the same sums in another order: a few roundings of 1e-16 each
RTOL = 1e-12

# (axes, stride, padding, dilation, groups, output_padding of the transposed convolution)
CONVOLUTIONS = [
    (1, (1,), (0,), (1,), 1, (0,)),
    (1, (3,), (2,), (2,), 2, (2,)),
    (2, (1, 1), (1, 1), (1, 1), 1, (0, 0)),
    (2, (2, 3), (1, 2), (2, 1), 2, (1, 2)),
    (2, (1, 2), (0, 1), (3, 1), 1, (2, 1)),
    (3, (2, 1, 2), (1, 0, 1), (1, 2, 1), 2, (1, 0, 0)),
]
SIZES = (9, 8, 6)


def tensors(*shapes: tuple[int, ...]) -> list[Tensor]:
    generator = torch.Generator().manual_seed(0)
    return [torch.randn(shape, generator=generator, dtype=torch.float64) for shape in shapes]


def equal(found: Tensor, expected: Tensor) -> None:
    torch.testing.assert_close(found, expected, rtol=RTOL, atol=RTOL * float(expected.abs().max()))


@pytest.mark.parametrize("unbatched", [False, True])
@pytest.mark.parametrize(("n", "stride", "padding", "dilation", "groups", "output_padding"), CONVOLUTIONS)
def test_grad_weight(
    n: int, stride: Any, padding: Any, dilation: Any, groups: int, output_padding: Any, unbatched: bool
) -> None:
    batch = () if unbatched else (3,)
    input, weight = tensors((*batch, 4, *SIZES[:n]), (6, 4 // groups, *(3, 2, 3)[:n]))
    delta = torch.randn_like(getattr(F, f"conv{n}d")(input, weight, None, stride, padding, dilation, groups))
    arguments = delta, input, weight.shape, stride, padding, dilation, groups
    equal(KERNELS[Conv.grad_weight](*arguments), Conv.grad_weight(*arguments))
    options, needs = (stride, padding, dilation, groups), (True, True, True)
    arguments = delta, weight, input.shape, *options, input, weight.shape, (6,), needs
    with Called() as called:
        every = KERNELS[Conv.derivatives](*arguments)
    assert "aten::convolution_backward" in called.names
    for found, expected in zip(every, Conv.derivatives(*arguments), strict=True):
        equal(found, expected)

    (weight,) = tensors((4, 6 // groups, *(3, 2, 3)[:n]))
    options = stride, padding, output_padding, groups, dilation
    delta = torch.randn_like(getattr(F, f"conv_transpose{n}d")(input, weight, None, *options))
    arguments = delta, input, weight.shape, stride, padding, dilation, groups
    equal(KERNELS[ConvTranspose.grad_weight](*arguments), ConvTranspose.grad_weight(*arguments))
    arguments = delta, weight, input.shape, stride, padding, dilation, groups, input, weight.shape, (6,), needs
    with Called() as called:
        every = KERNELS[ConvTranspose.derivatives](*arguments)
    assert "aten::convolution_backward" in called.names
    assert f"aten::conv{n}d" not in called.names
    for found, expected in zip(every, ConvTranspose.derivatives(*arguments), strict=True):
        equal(found, expected)


def test_complex_numbers_are_left_to_the_formula() -> None:
    input, weight = (torch.complex(a, a.flip(0)) for a in tensors((2, 3, 5, 4), (4, 3, 2, 2)))
    delta = torch.randn_like(F.conv2d(input, weight))
    arguments = delta, input, weight.shape, (1, 1), (0, 0), (1, 1), 1
    equal(KERNELS[Conv.grad_weight](*arguments), Conv.grad_weight(*arguments))
    everything = delta, weight, input.shape, *arguments[3:], input, weight.shape, (4,), (True, True, True)
    for found, expected in zip(KERNELS[Conv.derivatives](*everything), Conv.derivatives(*everything), strict=True):
        equal(found, expected)


class Called(TorchDispatchMode):
    """The names of all operators that run inside."""

    def __init__(self) -> None:
        super().__init__()
        self.names: set[str] = set()

    def __torch_dispatch__(self, func: Any, types: Any, args: tuple = (), kwargs: dict | None = None) -> Any:
        self.names.add(func.name())
        return func(*args, **(kwargs or {}))


@pytest.mark.parametrize(("name", "used"), [("auto", True), ("formula", False)])
def test_they_are_in_use_once_the_package_is_imported_and_off_in_formula_mode(name: str, used: bool) -> None:
    layer = mb.nn.Conv2d(3, 4, 3)
    with mb.backend(name), Called() as called:
        layer(torch.randn(2, 3, 6, 6)).sum().backward()
    assert ("aten::convolution_backward" in called.names) == used


def test_with_create_graph_the_formula_runs() -> None:
    layer = mb.nn.Conv2d(3, 4, 3)
    loss = layer(torch.randn(2, 3, 6, 6)).square().sum()
    with Called() as called:
        torch.autograd.grad(loss, layer.weight, create_graph=True)
    assert "aten::convolution_backward" not in called.names


def test_vendor_uses_stand_in_one_file_alone() -> None:
    files = Path(mb.__file__).parent.rglob("*.py")
    with_backward = [file for file in files if re.search(r"\baten\.\w+_backward\b", file.read_text())]
    assert with_backward == [Path(vendor.__file__)]
    kernels = [kernel for by_device in REGISTERED.values() for kernel in by_device.values()]
    formulas = {kernel.formula for kernel in kernels if kernel.name.startswith("vendor.")}
    assert formulas == {
        "Conv.derivatives",
        "Conv.grad_weight",
        "ConvTranspose.derivatives",
        "ConvTranspose.grad_weight",
    }


MAX_POOLS = [  # kernel_size, stride, padding, dilation, ceil_mode
    ((2, 2), (2, 2), (0, 0), (1, 1), False),
    ((3, 3), (2, 2), (1, 1), (1, 1), True),
    ((3, 2), (1, 3), (1, 0), (2, 1), False),
]


@pytest.mark.parametrize("channels", [3, layout.VECTOR + 1])
@pytest.mark.parametrize("options", MAX_POOLS)
def test_max_pool_in_either_layout(options: tuple, channels: int) -> None:
    (input,) = tensors((2, channels, 9, 8))
    input[0, 0, :3, :3] = 1.0  # ties
    input[1, 1, 4, 4] = torch.nan
    output, indices = MaxPool.windows(input, *options)
    for x in (input, input.to(memory_format=torch.channels_last)):
        found = KERNELS[MaxPool.windows](x, *options)
        torch.testing.assert_close(found[0], output, rtol=0, atol=0, equal_nan=True)
        assert torch.equal(found[1], indices)
        assert found[0].stride() == found[1].stride() == MaxPool.windows(x, *options)[0].stride()
        largest = KERNELS[MaxPool.largest](x, *options)
        torch.testing.assert_close(largest, output, rtol=0, atol=0, equal_nan=True)
        assert largest.stride() == found[0].stride()
        value, winner = MaxPool.forward(x, *options, "winner")
        delta = torch.randn_like(value)
        arguments = delta, winner, input.shape, *options[:4]
        equal(KERNELS[MaxPool.delta_input](*arguments), MaxPool.delta_input(*arguments))


@pytest.mark.parametrize("memory_format", [torch.contiguous_format, torch.channels_last])
@pytest.mark.parametrize(
    ("size", "kernel", "stride", "padding", "override"),
    [
        ((6, 4), (3, 2), (3, 2), (0, 0), None),
        ((6, 4), (3, 2), (3, 2), (0, 0), -4),
        ((7, 4), (3, 2), (3, 2), (0, 0), None),
        ((6, 4), (3, 2), (2, 2), (1, 0), None),
        ((4, 4), (2, 2), (2, 2), (1, 1), None),
    ],
)
def test_avg_pool(size: Any, kernel: Any, stride: Any, padding: Any, override: Any, memory_format: Any) -> None:
    (input,) = tensors((2, 3, *size))
    output = F.avg_pool2d(input, kernel, stride, padding)
    delta = torch.randn_like(output).to(memory_format=memory_format)
    arguments = delta, input.shape, kernel, stride, padding, True, override
    equal(KERNELS[AvgPool.delta_input](*arguments), AvgPool.delta_input(*arguments))


@pytest.mark.parametrize("memory_format", [torch.contiguous_format, torch.channels_last])
@pytest.mark.parametrize("output_size", [(1, 1), (3, 2), (2, 4), (4, 3), (7, 9), (1, 3)])
def test_adaptive_avg_pool(output_size: Any, memory_format: Any) -> None:
    (delta,) = tensors((2, 3, *output_size))
    arguments = delta.to(memory_format=memory_format), (2, 3, 6, 4), output_size
    equal(KERNELS[AdaptiveAvgPool.delta_input](*arguments), AdaptiveAvgPool.delta_input(*arguments))


@pytest.mark.parametrize(
    "layer",
    [
        lambda nn: nn.Conv2d(16, 18, 3, padding=1),
        lambda nn: nn.MaxPool2d(2),
        lambda nn: nn.MaxPool2d(3, 2, 1),
        lambda nn: nn.AvgPool2d(2),
        lambda nn: nn.AvgPool2d(3, 2, 1),
        lambda nn: nn.AdaptiveAvgPool2d(3),
        lambda nn: nn.Conv2d(16, 16, 3, padding=1, padding_mode="reflect"),
        lambda nn: nn.ConvTranspose2d(16, 18, 2, 2),
    ],
)
@pytest.mark.parametrize("memory_format", [torch.contiguous_format, torch.channels_last])
def test_outputs_and_deltas_lie_in_memory_as_the_twins(layer: Callable[[Any], Any], memory_format: Any) -> None:
    strides = []
    for nn in (mb.nn, torch.nn):
        module = layer(nn).to(memory_format=memory_format)
        x = torch.randn(2, 16, 6, 6).to(memory_format=memory_format).requires_grad_()
        output = module(x)
        (delta_input,) = torch.autograd.grad(output, x, torch.randn_like(output), retain_graph=True)
        parameters = list(module.parameters())
        gradients = torch.autograd.grad(output, parameters, torch.randn_like(output)) if parameters else ()
        strides.append((output.stride(), delta_input.stride(), [g.stride() for g in gradients]))
    assert strides[0] == strides[1]
