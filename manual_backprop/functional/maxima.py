"""Adaptive and fractional max pooling, and max unpooling, in one, two and three dimensions."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from .. import rules
from ._autocast import float32_on_cpu
from ._axes import Axes, axes
from ._call import call
from ._overloads import stands_for

Size = int | tuple[int, ...]


def adaptive_max_pool1d_with_indices(
    input: Tensor, output_size: Size, return_indices: bool = False
) -> tuple[Tensor, Tensor]:
    """The largest of each of `output_size` windows over (N, C, L), and its index; rule: `mb.rules.AdaptiveMaxPool`."""
    return _adaptive(1, input, output_size)


def adaptive_max_pool2d_with_indices(
    input: Tensor, output_size: Any, return_indices: bool = False
) -> tuple[Tensor, Tensor]:
    """The largest of each of `output_size` windows over (N, C, H, W), and its index in the plane; None keeps the size
    of an axis. Rule: `mb.rules.AdaptiveMaxPool`."""
    return _adaptive(2, input, output_size)


def adaptive_max_pool3d_with_indices(
    input: Tensor, output_size: Any, return_indices: bool = False
) -> tuple[Tensor, Tensor]:
    """The largest of each of `output_size` windows over (N, C, D, H, W), and its index in the volume; None keeps the
    size of an axis. Rule: `mb.rules.AdaptiveMaxPool`."""
    return _adaptive(3, float32_on_cpu(input), output_size)


def adaptive_max_pool1d(input: Tensor, output_size: Size, return_indices: bool = False) -> Any:
    """The largest of each of `output_size` windows over (N, C, L), as torch.nn.functional.adaptive_max_pool1d; rule:
    `mb.rules.AdaptiveMaxPool`."""
    found = adaptive_max_pool1d_with_indices(input, output_size)
    return found if return_indices else found[0]


def adaptive_max_pool2d(input: Tensor, output_size: Any, return_indices: bool = False) -> Any:
    """The largest of each of `output_size` windows over (N, C, H, W), where None keeps the size of an axis, as
    torch.nn.functional.adaptive_max_pool2d; rule: `mb.rules.AdaptiveMaxPool`."""
    found = adaptive_max_pool2d_with_indices(input, output_size)
    return found if return_indices else found[0]


def adaptive_max_pool3d(input: Tensor, output_size: Any, return_indices: bool = False) -> Any:
    """The largest of each of `output_size` windows over (N, C, D, H, W), where None keeps the size of an axis, as
    torch.nn.functional.adaptive_max_pool3d; rule: `mb.rules.AdaptiveMaxPool`."""
    found = adaptive_max_pool3d_with_indices(input, output_size)
    return found if return_indices else found[0]


# mb.explicit replaces the operator below adaptive_max_pool1d: torch.adaptive_max_pool1d always returns the indices
adaptive_max_pool1d.rule = rules.AdaptiveMaxPool  # type: ignore[attr-defined]


def fractional_max_pool2d_with_indices(
    input: Tensor,
    kernel_size: Size,
    output_size: Size | None = None,
    output_ratio: float | tuple[float, ...] | None = None,
    return_indices: bool = False,
    _random_samples: Tensor | None = None,
) -> tuple[Tensor, Tensor]:
    """The largest of each of `output_size` randomly placed windows of (N, C, H, W), and its index in the plane; rule:
    `mb.rules.FractionalMaxPool`."""
    return _fractional(2, input, kernel_size, output_size, output_ratio, _random_samples)


def fractional_max_pool3d_with_indices(
    input: Tensor,
    kernel_size: Size,
    output_size: Size | None = None,
    output_ratio: float | tuple[float, ...] | None = None,
    return_indices: bool = False,
    _random_samples: Tensor | None = None,
) -> tuple[Tensor, Tensor]:
    """The largest of each of `output_size` randomly placed windows of (N, C, D, H, W), and its index in the volume;
    rule: `mb.rules.FractionalMaxPool`."""
    return _fractional(3, input, kernel_size, output_size, output_ratio, _random_samples)


def fractional_max_pool2d(
    input: Tensor,
    kernel_size: Size,
    output_size: Size | None = None,
    output_ratio: float | tuple[float, ...] | None = None,
    return_indices: bool = False,
    _random_samples: Tensor | None = None,
) -> Any:
    """The largest of each of `output_size` randomly placed windows of (N, C, H, W), as
    torch.nn.functional.fractional_max_pool2d; rule: `mb.rules.FractionalMaxPool`."""
    found = _fractional(2, input, kernel_size, output_size, output_ratio, _random_samples)
    return found if return_indices else found[0]


def fractional_max_pool3d(
    input: Tensor,
    kernel_size: Size,
    output_size: Size | None = None,
    output_ratio: float | tuple[float, ...] | None = None,
    return_indices: bool = False,
    _random_samples: Tensor | None = None,
) -> Any:
    """The largest of each of `output_size` randomly placed windows of (N, C, D, H, W), as
    torch.nn.functional.fractional_max_pool3d; rule: `mb.rules.FractionalMaxPool`."""
    found = _fractional(3, input, kernel_size, output_size, output_ratio, _random_samples)
    return found if return_indices else found[0]


def max_unpool1d(
    input: Tensor, indices: Tensor, kernel_size: Size, stride: Size | None = None, padding: Size = 0,
    output_size: Sequence[int] | None = None,
) -> Tensor:  # fmt: skip
    """The values of (N, C, L) put at the positions `indices`, 0 elsewhere, as torch.nn.functional.max_unpool1d;
    rule: `mb.rules.MaxUnpool`."""
    size, stride, padding = _unpooled(1, input, kernel_size, stride, padding, output_size)
    flat = input.unsqueeze(-1), indices.unsqueeze(-1)
    return call(rules.MaxUnpool, *map(float32_on_cpu, flat), (*size, 1), stride, padding).squeeze(-1)


def max_unpool2d(
    input: Tensor, indices: Tensor, kernel_size: Size, stride: Size | None = None, padding: Size = 0,
    output_size: Sequence[int] | None = None,
) -> Tensor:  # fmt: skip
    """The values of (N, C, H, W) put at the positions `indices`, 0 elsewhere, as torch.nn.functional.max_unpool2d;
    rule: `mb.rules.MaxUnpool`."""
    sizes = _unpooled(2, input, kernel_size, stride, padding, output_size)
    return call(rules.MaxUnpool, float32_on_cpu(input), indices, *sizes)


def max_unpool3d(
    input: Tensor, indices: Tensor, kernel_size: Size, stride: Size | None = None, padding: Size = 0,
    output_size: Sequence[int] | None = None,
) -> Tensor:  # fmt: skip
    """The values of (N, C, D, H, W) put at the positions `indices`, 0 elsewhere, as
    torch.nn.functional.max_unpool3d; rule: `mb.rules.MaxUnpool`."""
    sizes = _unpooled(3, input, kernel_size, stride, padding, output_size)
    return call(rules.MaxUnpool, float32_on_cpu(input), indices, *sizes)


def _adaptive(n: int, input: Tensor, output_size: Any) -> tuple[Tensor, Tensor]:
    if isinstance(output_size, (tuple, list)) and None in output_size and input.dim() > len(output_size):
        kept = input.shape[-len(output_size) :]
        output_size = [size if wanted is None else wanted for wanted, size in zip(output_size, kept, strict=True)]
    message = f"adaptive_max_pool{n}d: output_size must be {n} numbers. got: {output_size}"
    return call(rules.AdaptiveMaxPool, input, axes(output_size, n, message))


def _fractional(
    n: int, input: Tensor, kernel_size: Any, output_size: Any, output_ratio: Any, samples: Tensor | None
) -> tuple[Tensor, Tensor]:
    name = f"fractional_max_pool{n}d"
    if output_size is None and output_ratio is None:
        raise ValueError(f"{name} requires specifying either an output_size or an output_ratio")
    if output_size is None:
        ratios = output_ratio if isinstance(output_ratio, (tuple, list)) else (output_ratio,) * n
        if len(ratios) != n:
            raise ValueError(f"{name} requires output_ratio to either be a single Int or tuple of Ints. got: {ratios}")
        output_size = [int(size * ratio) for size, ratio in zip(input.shape[-n:], ratios, strict=True)]
    if samples is None:
        batch = 1 if input.dim() == n + 1 else input.size(0)
        samples = torch.rand(batch, input.size(-n - 1), n, dtype=input.dtype, device=input.device)
    kernel = axes(kernel_size, n, f"{name}: kernel_size must either be a single int, or a tuple of {n} ints")
    size = axes(output_size, n, f"{name}: output_size must either be a single int, or a tuple of {n} ints")
    return call(rules.FractionalMaxPool, float32_on_cpu(input), kernel, size, float32_on_cpu(samples))


def _unpooled(
    n: int, input: Tensor, kernel_size: Any, stride: Any, padding: Any, output_size: Any
) -> tuple[Axes, Axes, Axes]:
    """The output size of max_unpool, its stride and its padding."""
    stride = kernel_size if stride is None else stride
    kernel_size, stride, padding = (
        axes(value, n, f"max_unpool{n}d: {name} must either be a single int, or a tuple of {n} ints. got: {value}")
        for name, value in (("kernel_size", kernel_size), ("stride", stride), ("padding", padding))
    )
    sizes = zip(input.shape[-n:], kernel_size, stride, padding, strict=True)
    default = tuple((size - 1) * s + k - 2 * p for size, k, s, p in sizes)
    if output_size is None:
        return default, stride, padding
    if len(output_size) == n + 2:
        output_size = output_size[2:]
    if len(output_size) != n:
        raise ValueError(
            f"output_size should be a sequence containing {n} or {n + 2} elements, but it has a length of "
            f"'{len(output_size)}'"
        )
    for d, (size, usual, s) in enumerate(zip(output_size, default, stride, strict=True)):
        if not usual - s < size < usual + s:
            raise ValueError(
                f'invalid output_size "{output_size}" (dim {d} must be between {usual - s} and {usual + s})'
            )
    return tuple(output_size), stride, padding


@stands_for("adaptive_max_pool2d", "adaptive_max_pool3d")
def _adaptive_max_pool(input: Tensor, output_size: Sequence[int]) -> tuple[Tensor, Tensor]:
    return call(rules.AdaptiveMaxPool, input, tuple(output_size))


@stands_for("fractional_max_pool2d", "fractional_max_pool3d")
def _fractional_max_pool(
    input: Tensor, kernel_size: Sequence[int], output_size: Sequence[int], random_samples: Tensor
) -> tuple[Tensor, Tensor]:
    return call(rules.FractionalMaxPool, input, tuple(kernel_size), tuple(output_size), random_samples)


@stands_for("max_unpool2d", "max_unpool3d")
def _max_unpool(
    input: Tensor, indices: Tensor, output_size: Sequence[int], stride: Sequence[int] = (), padding: Sequence[int] = ()
) -> Tensor:
    return call(rules.MaxUnpool, input, indices, tuple(output_size), tuple(stride), tuple(padding))


@stands_for("max_pool2d_with_indices_backward", "max_pool3d_with_indices_backward")
def _put_back(
    grad_output: Tensor, input: Tensor, kernel_size: Any, stride: Any, padding: Any, dilation: Any, ceil_mode: bool,
    indices: Tensor,
) -> Tensor:  # fmt: skip
    return call(rules.PutBack, grad_output, input, indices, len(kernel_size))
