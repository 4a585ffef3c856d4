"""Comparison of tensors, with messages that say where and by how much they differ."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from .subject import CheckFailed


def same(what: str, ours: Any, expected: Any, *, rtol: float = 0.0, atol: float = 0.0) -> None:
    """Raises CheckFailed unless shapes and dtypes are equal, and values are equal or within rtol of the largest value.

    NaN must match NaN, and each infinity the same infinity. The tolerance is normwise, |ours - expected| <= atol + rtol
    * max |expected|: cancellation makes single small elements of a sum inaccurate in any order of summation.
    """
    if ours is None or expected is None:
        if ours is not expected:
            raise CheckFailed(f"{what}: ours is {_kind(ours)}, expected {_kind(expected)}")
        return
    if not isinstance(expected, Tensor):
        if ours != expected:
            raise CheckFailed(f"{what}: ours is {ours!r}, expected {expected!r}")
        return
    if ours.shape != expected.shape:
        raise CheckFailed(f"{what}: shape {tuple(ours.shape)}, expected {tuple(expected.shape)}")
    if ours.dtype != expected.dtype:
        raise CheckFailed(f"{what}: dtype {ours.dtype}, expected {expected.dtype}")
    a, b = ours.detach(), expected.detach()
    equal = (a == b) | ((a != a) & (b != b))
    if bool(equal.all()):
        return
    finite = b[b.isfinite()]
    scale = float(finite.abs().max()) if finite.numel() else 0.0
    difference = (a - b).abs().masked_fill(equal, 0)
    bad = ~(difference <= atol + rtol * scale)
    if bool(bad.any()):
        flat = int(torch.where(bad, difference.nan_to_num(nan=torch.inf), -1.0).argmax())
        place = tuple(int(i) for i in torch.unravel_index(torch.tensor(flat), a.shape)) if a.dim() else ()
        raise CheckFailed(
            f"{what}: {int(bad.sum())} of {a.numel()} elements differ; the worst at {place}: ours "
            f"{a.reshape(-1)[flat].item()!r}, expected {b.reshape(-1)[flat].item()!r} "
            f"(allowed: {rtol:g} of the largest, {scale:.3g})"
        )


def error(values: Tensor, truth: Tensor) -> float:
    """Normwise relative error against float64 values."""
    if truth.numel() == 0:
        return 0.0
    scale = float(truth.abs().max()) or 1.0
    return float((in_double(values) - truth).abs().max()) / scale


def in_double(tensor: Tensor) -> Tensor:
    """The tensor in double precision, real or complex."""
    return tensor.to(torch.complex128 if tensor.is_complex() else torch.float64)


def _kind(value: Any) -> str:
    return "None" if value is None else f"a tensor {tuple(value.shape)}"
