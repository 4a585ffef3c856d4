"""Dropout's delta_input and AlphaDropout's forward and delta_input, each in one pass.

Masks of each element run as a printed loop; masks of whole channels and AlphaDropout's forward in C (dropout.c). All
give the same bits as the formulas.
"""

from __future__ import annotations

import ctypes
import functools

import torch
from torch import Tensor

from ..rules import AlphaDropout, Dropout
from ..rules.dropout import alpha_scale
from . import c, memory, native
from .native import REAL, REALS
from .pointwise import kernel
from .registry import serves

CHANNELS = f"{REALS}; dense, with a mask of each element or of whole channels"


@serves(Dropout.delta_input, on="cpu", when=CHANNELS)
def dropout_delta_input(delta: Tensor, mask: Tensor, p: float) -> Tensor:
    return NotImplemented if p == 1 else _times(delta, mask, 1 - p, divided=True)


@serves(AlphaDropout.delta_input, on="cpu", when=CHANNELS)
def alpha_dropout_delta_input(delta: Tensor, mask: Tensor, p: float) -> Tensor:
    return _times(delta, mask, alpha_scale(p), divided=False)


@serves(AlphaDropout.output, on="cpu", when=CHANNELS)
def alpha_dropout_output(input: Tensor, mask: Tensor, p: float) -> Tensor:
    if input.dtype not in c.TYPES or not native.plain(input, mask) or (sizes := _channels(input, mask)) is None:
        return NotImplemented
    return _channels_times(input, mask, (_noise(alpha_scale(p), False, input.dtype), *_shifts(p, input.dtype)), *sizes)


def _times(delta: Tensor, mask: Tensor, number: float, divided: bool) -> Tensor:
    """delta times mask times noise, where noise is `number`, or 1 / number if divided."""
    if delta.dtype not in c.TYPES or not native.plain(delta, mask):
        return NotImplemented
    noise = _noise(number, divided, delta.dtype)
    if mask.shape == delta.shape:
        return _kept(delta, mask, noise)
    sizes = _channels(delta, mask)
    return NotImplemented if sizes is None else _channels_times(delta, mask, (noise,), *sizes)


def _channels(tensor: Tensor, mask: Tensor) -> tuple[int, int, int, int] | None:
    """For (N, C, *) or (C, *) with a mask for each channel: N, C, positions of a channel, whether channels are last.

    With a mask for each element, each element counts as a channel of one position. None if the C code does not serve
    the tensor.
    """
    shape, dims = tensor.shape, tensor.dim()
    if not tensor.numel() or not mask.is_contiguous() or native.library() is None:
        return None
    if mask.shape == shape:
        return (tensor.numel() // shape[-1], shape[-1], 1, 1) if dims and tensor.is_contiguous() else None
    for axes in (dims - 2, dims - 1):  # the axes *
        lead = dims - axes
        if axes > 0 and lead > 0 and mask.shape == (*shape[:lead], *(1,) * axes):
            if (last := memory.arranged(tensor, axes)) is None:
                return None
            channels = shape[lead - 1]
            return mask.numel() // channels, channels, tensor.numel() // mask.numel(), last
    return None


def _channels_times(
    tensor: Tensor, mask: Tensor, numbers: tuple[float, ...], batch: int, channels: int, positions: int, last: int
) -> Tensor:
    """numbers: the factor of kept elements; for AlphaDropout also the shift of kept and of dropped elements."""
    output, shifted = memory.empty_like(tensor), len(numbers) > 1
    facts = (ctypes.c_double * 3)(*numbers)
    sizes = batch, channels, positions, last
    native.call(f"masked_channels_{REAL[tensor.dtype]}", output, tensor, mask, facts, shifted, *sizes)
    return output


@functools.cache
def _noise(number: float, divided: bool, dtype: torch.dtype) -> float:
    """The number, or 1 / number if divided, rounded as in the formula."""
    one = torch.ones((), dtype=dtype, device="cpu")
    return (one / number if divided else one * number).item()


@functools.cache
def _shifts(p: float, dtype: torch.dtype) -> tuple[float, float]:
    """`AlphaDropout.shift` of kept and of dropped elements."""
    return tuple(AlphaDropout.shift(torch.tensor([True, False], device="cpu"), p, dtype).tolist())


def _dropped(delta: Tensor, mask: Tensor, noise: float) -> Tensor:
    return delta * mask * noise  # in this order: number times mask would be float32


_kept = kernel(_dropped, like=0)
