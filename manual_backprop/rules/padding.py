"""Adding a border: Pad."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from ..engine.rule import Rule, choose


class Pad(Rule):
    """y[i] = x[source(i)] along each padded axis; in the border of mode "constant", y[i] = value

    input (*, S)   output, delta (*, left + S + right)   pad: left, right of the last axis, then of the one before, ...

    delta_input[j] = sum over i with source(i) = j of delta[i]:
                     the middle of delta, plus each slice of its border where that slice was copied from

    With i counted from the first element of x and n elements, source(i) is |i| or 2 (n - 1) - i for "reflect", the
    nearest of 0 ... n - 1 for "replicate", i mod n for "circular". Negative entries of pad cut elements off first;
    these receive the delta 0.

    Source: Griewank, Walther 2008, "Evaluating Derivatives": the adjoint of copying a value is adding up its copies.
    """

    upcast = True
    tangent_reads = ()

    def forward(input: Tensor, pad: tuple[int, ...], mode: str, value: complex | None) -> Tensor:
        if isinstance(value, complex):  # torch.nn.functional.pad refuses complex values
            return torch.constant_pad_nd(input, pad, value)
        return F.pad(input, pad, mode, value)

    def delta_input(delta: Tensor, pad: tuple[int, ...], mode: str) -> Tensor:
        if mode == "constant":
            return F.pad(delta, [-width for width in pad])
        for axis in range(len(pad) // 2):
            delta = choose(Pad.fold)(delta, -1 - axis, pad[2 * axis], pad[2 * axis + 1], mode)
        return delta

    def fold(delta: Tensor, axis: int, left: int, right: int, mode: str) -> Tensor:
        """Add the border of one (negative) axis to the elements it was copied from."""
        middle = F.pad(delta, [0, 0] * (-1 - axis) + [-left, -right])
        size = middle.shape[axis]
        for i in (*range(-left, 0), *range(size, size + right)):
            middle.select(axis, Pad.origin(i, size, left, right, mode)).add_(delta.select(axis, i + left))
        return middle

    def origin(i: int, size: int, left: int, right: int, mode: str) -> int:
        """The element that element i of the border was copied from. Both are counted from the first element of x."""
        if mode == "reflect":
            return -i if i < 0 else 2 * (size - 1) - i
        if mode == "replicate":
            return 0 if i < 0 else size - 1
        begin, end = max(0, -left), size - max(0, -right)  # the elements that are not cut off
        return begin + (i - begin) % (end - begin)

    def tangent(inputs: tuple, tangents: tuple, output: Tensor) -> Tensor:
        _, pad, mode, _ = inputs
        return F.pad(tangents[0], pad, mode)
