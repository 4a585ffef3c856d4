"""Convolutions and transposed convolutions in one, two and three dimensions."""

from __future__ import annotations

from typing import Any

from torch import Tensor

from .. import rules
from ._axes import axes
from ._call import call
from ._overloads import stands_for
from .padding import pad

Size = int | tuple[int, ...]


def conv1d(
    input: Tensor,
    weight: Tensor,
    bias: Tensor | None = None,
    stride: Size = 1,
    padding: Size | str = 0,
    dilation: Size = 1,
    groups: int = 1,
) -> Tensor:
    """Cross-correlation of (N, C, L) with (O, C/groups, K), as torch.nn.functional.conv1d; rule: `mb.rules.Conv`.

    padding: a number per axis, "valid" or "same" (for stride 1); another string raises RuntimeError.
    """
    return _conv(1, input, weight, bias, stride, padding, dilation, groups)


def conv2d(
    input: Tensor,
    weight: Tensor,
    bias: Tensor | None = None,
    stride: Size = 1,
    padding: Size | str = 0,
    dilation: Size = 1,
    groups: int = 1,
) -> Tensor:
    """Cross-correlation of (N, C, H, W) with (O, C/groups, K, K), as torch.nn.functional.conv2d; see `conv1d`."""
    return _conv(2, input, weight, bias, stride, padding, dilation, groups)


def conv3d(
    input: Tensor,
    weight: Tensor,
    bias: Tensor | None = None,
    stride: Size = 1,
    padding: Size | str = 0,
    dilation: Size = 1,
    groups: int = 1,
) -> Tensor:
    """Cross-correlation of (N, C, D, H, W) with (O, C/groups, K, K, K), as torch.nn.functional.conv3d; see `conv1d`."""
    return _conv(3, input, weight, bias, stride, padding, dilation, groups)


def conv_transpose1d(
    input: Tensor,
    weight: Tensor,
    bias: Tensor | None = None,
    stride: Size = 1,
    padding: Size = 0,
    output_padding: Size = 0,
    groups: int = 1,
    dilation: Size = 1,
) -> Tensor:
    """Transposed convolution of (N, C, L), (C, O/groups, K), as torch.nn.functional.conv_transpose1d; rule:
    `mb.rules.ConvTranspose`."""
    return _conv_transpose(1, input, weight, bias, stride, padding, output_padding, groups, dilation)


def conv_transpose2d(
    input: Tensor,
    weight: Tensor,
    bias: Tensor | None = None,
    stride: Size = 1,
    padding: Size = 0,
    output_padding: Size = 0,
    groups: int = 1,
    dilation: Size = 1,
) -> Tensor:
    """Transposed convolution of (N, C, H, W), (C, O/groups, K, K), as torch.nn.functional.conv_transpose2d."""
    return _conv_transpose(2, input, weight, bias, stride, padding, output_padding, groups, dilation)


def conv_transpose3d(
    input: Tensor,
    weight: Tensor,
    bias: Tensor | None = None,
    stride: Size = 1,
    padding: Size = 0,
    output_padding: Size = 0,
    groups: int = 1,
    dilation: Size = 1,
) -> Tensor:
    """Transposed convolution of (N, C, D, H, W), (C, O/groups, K, K, K), as torch.nn.functional.conv_transpose3d."""
    return _conv_transpose(3, input, weight, bias, stride, padding, output_padding, groups, dilation)


def _conv(
    n: int, input: Tensor, weight: Tensor, bias: Tensor | None, stride: Any, padding: Any, dilation: Any, groups: int
) -> Tensor:
    stride, dilation = _per_axis("stride", stride, n), _per_axis("dilation", dilation, n)
    if padding == "same":
        input, padding = _same(input, weight, stride, dilation)
    elif isinstance(padding, str):
        if padding != "valid":
            raise RuntimeError(f'Invalid padding string. got: {padding!r}. expected: numbers, "valid" or "same"')
        padding = 0
    return call(rules.Conv, input, weight, bias, stride, _per_axis("padding", padding, n), dilation, groups)


def _same(input: Tensor, weight: Tensor, stride: tuple, dilation: tuple) -> tuple[Tensor, tuple]:
    """The input and the padding that keep its size. Where an axis needs an odd number of zeros, the input gets one."""
    if any(s != 1 for s in stride):
        raise RuntimeError(f"padding='same' is not supported for strided convolutions, but stride is {stride}")
    zeros = [d * (k - 1) for d, k in zip(dilation, weight.shape[-len(dilation) :], strict=True)]
    if any(z % 2 for z in zeros):
        input = pad(input, [side for z in reversed(zeros) for side in (0, z % 2)])
    return input, tuple(z // 2 for z in zeros)


def _conv_transpose(
    n: int,
    input: Tensor,
    weight: Tensor,
    bias: Tensor | None,
    stride: Any,
    padding: Any,
    output_padding: Any,
    groups: int,
    dilation: Any,
) -> Tensor:
    return call(
        rules.ConvTranspose,
        input,
        weight,
        bias,
        _per_axis("stride", stride, n),
        _per_axis("padding", padding, n),
        _per_axis("output_padding", output_padding, n),
        groups,
        _per_axis("dilation", dilation, n),
    )


def _per_axis(name: str, value: Any, n: int) -> tuple:
    if type(value) is tuple and len(value) == n:  # skips building the message, the slowest part of this function
        return value
    return axes(
        value,
        n,
        f"expected {name} to be a single integer value or a list of {n} values to match the convolution dimensions, "
        f"but got {name}={value}",
    )


@stands_for("convolution", "_convolution", "convolution_overrideable")
def _convolution(
    input: Tensor, weight: Tensor, bias: Tensor | None, stride: list[int], padding: list[int], dilation: list[int],
    transposed: bool, output_padding: list[int], groups: int, *flags: bool,
) -> Tensor:  # fmt: skip
    """Any convolution, as torch calls it inside of its functions."""
    if not transposed:
        return call(rules.Conv, input, weight, bias, tuple(stride), tuple(padding), tuple(dilation), groups)
    sizes = tuple(stride), tuple(padding), tuple(output_padding)
    return call(rules.ConvTranspose, input, weight, bias, *sizes, groups, tuple(dilation))
