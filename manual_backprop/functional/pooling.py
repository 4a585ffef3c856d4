"""Pooling in one, two and three dimensions."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from .. import rules
from ..engine.torch_private import in_forward_mode, transforms_active
from ._autocast import float32_on_cpu
from ._axes import Axes, axes
from ._call import call
from ._overloads import stands_for

Size = int | tuple[int, ...]


def max_pool1d_with_indices(
    input: Tensor,
    kernel_size: Size,
    stride: Size | None = None,
    padding: Size = 0,
    dilation: Size = 1,
    ceil_mode: bool = False,
    return_indices: bool = False,
) -> tuple[Tensor, Tensor]:
    """The largest value of each window of (N, C, L) and its index; rule: `mb.rules.MaxPool`."""
    return _max_pool(1, input, kernel_size, stride, padding, dilation, ceil_mode, True)


@stands_for("max_pool2d_with_indices")
def max_pool2d_with_indices(
    input: Tensor,
    kernel_size: Size,
    stride: Size | None = None,
    padding: Size = 0,
    dilation: Size = 1,
    ceil_mode: bool = False,
    return_indices: bool = False,
) -> tuple[Tensor, Tensor]:
    """The largest value of each window of (N, C, H, W) and its index in the plane; rule: `mb.rules.MaxPool`."""
    return _max_pool(2, input, kernel_size, stride, padding, dilation, ceil_mode, True)


@stands_for("max_pool3d_with_indices")
def max_pool3d_with_indices(
    input: Tensor,
    kernel_size: Size,
    stride: Size | None = None,
    padding: Size = 0,
    dilation: Size = 1,
    ceil_mode: bool = False,
    return_indices: bool = False,
) -> tuple[Tensor, Tensor]:
    """The largest value of each window of (N, C, D, H, W) and its index in the volume; rule: `mb.rules.MaxPool`."""
    return _max_pool(3, input, kernel_size, stride, padding, dilation, ceil_mode, True)


def max_pool1d(
    input: Tensor,
    kernel_size: Size,
    stride: Size | None = None,
    padding: Size = 0,
    dilation: Size = 1,
    ceil_mode: bool = False,
    return_indices: bool = False,
) -> Any:
    """The largest value of each window of (N, C, L), as torch's max_pool1d; rule: `mb.rules.MaxPool`."""
    return _max_pool(1, input, kernel_size, stride, padding, dilation, ceil_mode, return_indices)


def max_pool2d(
    input: Tensor,
    kernel_size: Size,
    stride: Size | None = None,
    padding: Size = 0,
    dilation: Size = 1,
    ceil_mode: bool = False,
    return_indices: bool = False,
) -> Any:
    """The largest value of each window of (N, C, H, W), as torch's max_pool2d; rule: `mb.rules.MaxPool`."""
    return _max_pool(2, input, kernel_size, stride, padding, dilation, ceil_mode, return_indices)


def max_pool3d(
    input: Tensor,
    kernel_size: Size,
    stride: Size | None = None,
    padding: Size = 0,
    dilation: Size = 1,
    ceil_mode: bool = False,
    return_indices: bool = False,
) -> Any:
    """The largest value of each window of (N, C, D, H, W), as torch's max_pool3d; rule: `mb.rules.MaxPool`."""
    if not return_indices:
        input = float32_on_cpu(input)
    return _max_pool(3, input, kernel_size, stride, padding, dilation, ceil_mode, return_indices)


def avg_pool1d(
    input: Tensor,
    kernel_size: Size,
    stride: Size | None = None,
    padding: Size = 0,
    ceil_mode: bool = False,
    count_include_pad: bool = True,
) -> Tensor:
    """The mean of each window of (N, C, L), as torch.nn.functional.avg_pool1d; rule: `mb.rules.AvgPool`."""
    return _avg_pool(1, input, kernel_size, stride, padding, ceil_mode, count_include_pad, None)


@stands_for("avg_pool2d")
def avg_pool2d(
    input: Tensor,
    kernel_size: Size,
    stride: Size | None = None,
    padding: Size = 0,
    ceil_mode: bool = False,
    count_include_pad: bool = True,
    divisor_override: int | None = None,
) -> Tensor:
    """The mean of each window of (N, C, H, W), as torch.nn.functional.avg_pool2d; rule: `mb.rules.AvgPool`."""
    return _avg_pool(2, input, kernel_size, stride, padding, ceil_mode, count_include_pad, divisor_override)


@stands_for("avg_pool3d")
def avg_pool3d(
    input: Tensor,
    kernel_size: Size,
    stride: Size | None = None,
    padding: Size = 0,
    ceil_mode: bool = False,
    count_include_pad: bool = True,
    divisor_override: int | None = None,
) -> Tensor:
    """The mean of each window of (N, C, D, H, W), as torch.nn.functional.avg_pool3d; rule: `mb.rules.AvgPool`."""
    input = float32_on_cpu(input)
    return _avg_pool(3, input, kernel_size, stride, padding, ceil_mode, count_include_pad, divisor_override)


def adaptive_avg_pool1d(input: Tensor, output_size: Size) -> Tensor:
    """The means of `output_size` windows over (N, C, L), as torch.nn.functional.adaptive_avg_pool1d; rule:
    `mb.rules.AdaptiveAvgPool`."""
    if output_size is None or None in axes(output_size, 1, ""):
        raise TypeError(f"adaptive_avg_pool1d(): output_size must be an int or a tuple of one int, not {output_size}")
    return _adaptive_avg_pool(1, input, output_size)


@stands_for("_adaptive_avg_pool2d.default")
def adaptive_avg_pool2d(input: Tensor, output_size: Any) -> Tensor:
    """The means of `output_size` windows over (N, C, H, W), where None keeps the size of an axis, as
    torch.nn.functional.adaptive_avg_pool2d; rule: `mb.rules.AdaptiveAvgPool`."""
    return _adaptive_avg_pool(2, input, output_size)


@stands_for("_adaptive_avg_pool3d.default")
def adaptive_avg_pool3d(input: Tensor, output_size: Any) -> Tensor:
    """The means of `output_size` windows over (N, C, D, H, W), where None keeps the size of an axis, as
    torch.nn.functional.adaptive_avg_pool3d; rule: `mb.rules.AdaptiveAvgPool`."""
    return _adaptive_avg_pool(3, float32_on_cpu(input), output_size)


def _max_pool(
    n: int,
    input: Tensor,
    kernel_size: Any,
    stride: Any,
    padding: Any,
    dilation: Any,
    ceil_mode: bool,
    return_indices: bool,
) -> Any:
    sizes = _per_axis("max_pool", n, kernel_size, stride, padding)
    dilation = _sizes("max_pool", "dilation", n, dilation)
    keep = "indices" if return_indices else "winner" if _recorded(input) else "nothing"
    output = call(rules.MaxPool, input, *sizes, dilation, ceil_mode, keep)
    return output if return_indices else output[0]


def _recorded(input: Tensor) -> bool:
    """Whether a derivative by the input may be needed."""
    return (torch.is_grad_enabled() and input.requires_grad) or transforms_active() or in_forward_mode()


def _avg_pool(
    n: int, input: Tensor, kernel_size: Any, stride: Any, padding: Any, ceil_mode: bool, include: bool, divisor: Any
) -> Tensor:
    sizes = _per_axis("avg_pool", n, kernel_size, stride, padding)
    return call(rules.AvgPool, input, *sizes, ceil_mode, include, divisor)


def _adaptive_avg_pool(n: int, input: Tensor, output_size: Any) -> Tensor:
    if output_size is None:
        raise TypeError(
            f"adaptive_avg_pool{n}d: output_size must not be None. got: None. expected: an int or a tuple of {n}, in "
            "which None keeps the size of an axis"
        )
    if isinstance(output_size, (tuple, list)):
        if input.dim() <= len(output_size):
            raise ValueError(f"Input dimension should be at least {len(output_size) + 1}, but got {input.dim()}")
        kept = input.shape[-len(output_size) :]
        output_size = [size if wanted is None else wanted for wanted, size in zip(output_size, kept, strict=True)]
    elif output_size == 1 and input.dim() == n > 1:  # for one window, torch accepts an input without channels, too
        return call(rules.Mean, input, None, True, None)
    elif input.dim() <= n:
        raise RuntimeError(
            f"adaptive_avg_pool{n}d(): Expected {n + 1}D or {n + 2}D tensor, but got {list(input.shape)}"
        )
    message = f"adaptive_avg_pool{n}d: output_size must be {n} numbers, but got {output_size}"
    return call(rules.AdaptiveAvgPool, input, axes(output_size, n, message))


def _per_axis(function: str, n: int, kernel_size: Any, stride: Any, padding: Any) -> tuple[Axes, Axes, Axes]:
    if type(kernel_size) is type(stride) is type(padding) is int:
        return (kernel_size,) * n, (stride,) * n, (padding,) * n
    kernel_size = _sizes(function, "kernel_size", n, kernel_size)
    stride = kernel_size if stride in (None, (), []) else _sizes(function, "stride", n, stride)
    return kernel_size, stride, _sizes(function, "padding", n, padding)


def _sizes(function: str, name: str, n: int, value: Any) -> Axes:
    if type(value) is int:
        return (value,) * n
    if type(value) is tuple and len(value) == n:  # skips building the message, the slowest part of this function
        return value
    return axes(value, n, f"{function}{n}d: {name} must either be a single int, or a tuple of {n} ints. got: {value}")
