"""The formulas of pooling, rearranged for the memory layout of their tensors. Still torch's forward operations.

On the CPU, ATen pools several channels at once with vector instructions where channels are next to each other in memory
("channels last"), else one element at a time.
"""

from __future__ import annotations

import math

from torch import Tensor

from ..rules import AdaptiveAvgPool, AvgPool, MaxPool
from .registry import serves

Axes = tuple[int, ...]

VECTOR = 16
"""Channels from which it pays to convert the tensor to channels last; measured with AVX2 and AVX-512."""


def channels_last(tensor: Tensor, axes: int) -> bool:
    """Whether (N, C, *), where * is `axes` axes, has its channels, not its positions, next to each other in memory."""
    return tensor.dim() == axes + 2 and axes > 1 and tensor.shape[1] > 1 and tensor.stride(1) == 1


def to_channels_last(tensor: Tensor) -> Tensor:
    return tensor.movedim(1, -1).contiguous().movedim(-1, 1)


def _worth_turning(input: Tensor, axes: int) -> bool:
    return (
        input.device.type == "cpu"
        and input.is_floating_point()
        and input.dim() == axes + 2
        and axes > 1
        and input.shape[1] >= VECTOR
        and input.is_contiguous()
    )


TURNED = "on the CPU, real, contiguous (N, C, H, W) or (N, C, D, H, W), 16 channels or more"


@serves(MaxPool.largest, on="any", when=TURNED)
def max_pool_largest(
    input: Tensor, kernel_size: Axes, stride: Axes, padding: Axes, dilation: Axes, ceil_mode: bool
) -> Tensor:
    if not _worth_turning(input, len(stride)):
        return NotImplemented
    turned = to_channels_last(input)
    return MaxPool.largest(turned, kernel_size, stride, padding, dilation, ceil_mode).contiguous()


@serves(MaxPool.windows, on="any", when=TURNED)
def max_pool_windows(
    input: Tensor, kernel_size: Axes, stride: Axes, padding: Axes, dilation: Axes, ceil_mode: bool
) -> tuple[Tensor, Tensor]:
    if not _worth_turning(input, len(stride)):
        return NotImplemented
    turned = to_channels_last(input)
    output, indices = MaxPool.windows(turned, kernel_size, stride, padding, dilation, ceil_mode)
    return output.contiguous(), indices.contiguous()


@serves(MaxPool.delta_input, on="any", when="winners with channels last, of 2 or 3 axes")
def max_pool_delta_input(
    delta: Tensor, winner: Tensor, input_shape: Axes, kernel_size: Axes, stride: Axes, padding: Axes, dilation: Axes
) -> Tensor:
    options, axes = (kernel_size, stride, padding, dilation), len(stride)
    if not channels_last(winner, axes):
        return NotImplemented
    size = input_shape[-axes:]
    batch, channels = delta.shape[:2]
    outputs = batch, math.prod(delta.shape[2:]), channels
    indices = MaxPool.indices(winner, size, *options).movedim(1, -1).reshape(outputs)
    zeros = delta.new_zeros(()).expand(batch, math.prod(size), channels)
    placed = zeros.scatter_add(1, indices, delta.movedim(1, -1).reshape(outputs))
    return placed.reshape(batch, *size, channels).movedim(-1, 1)


@serves(AvgPool.delta_input, on="any", when="windows side by side without padding, or channels last, of 2 or 3 axes")
def avg_pool_delta_input(
    delta: Tensor, input_shape: Axes, kernel_size: Axes, stride: Axes, padding: Axes, count_include_pad: bool,
    divisor_override: int | None,
) -> Tensor:  # fmt: skip
    axes = len(stride)
    size, output_size = input_shape[-axes:], delta.shape[-axes:]
    tiles = all(n == o * k and k == s for n, o, k, s in zip(size, output_size, kernel_size, stride, strict=True))
    if tiles and not any(padding):
        return repeat(delta / (divisor_override or math.prod(kernel_size)), kernel_size)
    if not channels_last(delta, axes):
        return NotImplemented
    divisor = divisor_override or AvgPool.divisor(delta, size, kernel_size, stride, padding, count_include_pad)
    delta = (delta / divisor).movedim(1, -1)
    for axis in range(axes):
        delta = AvgPool.spread(delta, axis - axes - 1, size[axis], kernel_size[axis], stride[axis], padding[axis])
    return delta.movedim(-1, 1)


@serves(AdaptiveAvgPool.delta_input, on="any", when="sizes that are multiples of the output's")
def adaptive_avg_pool_delta_input(delta: Tensor, input_shape: Axes, output_size: Axes) -> Tensor:
    size = input_shape[-len(output_size) :]
    if math.prod(output_size) == 1 and math.prod(size) > 0:
        positions: int = math.prod(size)
        return (delta / positions).expand(input_shape)
    if not math.prod(output_size) or any(n % o for n, o in zip(size, output_size, strict=True)):
        return NotImplemented
    times = tuple(n // o for n, o in zip(size, output_size, strict=True))
    return repeat(delta / math.prod(times), times)


def repeat(delta: Tensor, times: Axes) -> Tensor:
    """Each element repeated `times` along the last axes; a view where an axis has only one element to repeat."""
    turned = channels_last(delta, len(times))
    if turned:
        delta = delta.movedim(1, -1)
    first = delta.dim() - len(times) - turned
    for axis in reversed(range(len(times))):
        before, size, after = delta.shape[: first + axis], delta.shape[first + axis], delta.shape[first + axis + 1 :]
        repeated = delta.unsqueeze(first + axis + 1).expand(*before, size, times[axis], *after)
        delta = repeated.reshape(*before, size * times[axis], *after)
    return delta.movedim(-1, 1) if turned else delta
