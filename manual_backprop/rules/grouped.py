"""One matmul per group of rows or columns, each with its own matrix: GroupedMM."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from ..engine.rule import Rule
from ..engine.terms import total


class GroupedMM(Rule):
    """Y_g = A_g B_g for each group g

    input (M, K), its rows in groups, and other (G, K, N)     output, delta (M, N)
    input (G, M, K) and other (K, N), its columns in groups   output, delta (M, N)
    input (M, K), other (K, N), columns and rows in groups    output, delta (G, M, N)
    input (G, M, K) and other (G, K, N)                       output, delta (G, M, N)
    offs (G): where each group ends, None in the last form    dtype: that of the output, or None

    delta_input_g = delta_g B_g^T     delta_other_g = A_g^T delta_g

    Source: Giles 2008, "Collected matrix derivative results for forward and reverse mode algorithmic differentiation".
    """

    tangent_reads = ()

    def forward(input: Tensor, other: Tensor, offs: Tensor | None, dtype: torch.dtype | None) -> Tensor:
        return grouped(input, other, offs).to(input.dtype if dtype is None else dtype)

    def delta_input(delta: Tensor, other: Tensor, offs: Tensor | None) -> Tensor:
        return grouped(delta.to(other.dtype), other.mT, offs)

    def delta_other(delta: Tensor, input: Tensor, offs: Tensor | None) -> Tensor:
        return grouped(input.mT, delta.to(input.dtype), offs)

    def tangent(inputs: tuple, tangents: tuple, output: Tensor) -> Tensor | None:
        input, other, offs, _ = inputs
        moved = total(
            None if tangents[0] is None else grouped(tangents[0], other, offs),
            None if tangents[1] is None else grouped(input, tangents[1], offs),
        )
        return None if moved is None else moved.to(output.dtype)


def grouped(input: Tensor, other: Tensor, offs: Tensor | None) -> Tensor:
    """The products, group by group. Rows and columns after the last group count as zeros."""
    if offs is None:
        return input @ other
    if not (hasattr(F, "grouped_mm") and aligned(input) and aligned(other)):
        return masked(input, other, offs)
    product = F.grouped_mm(input, other, offs=offs)
    if input.dim() == other.dim():
        return product
    axis = 0 if input.dim() == 2 else 1  # torch leaves the output after the last group uninitialized
    behind = torch.arange(product.shape[axis], device=offs.device) >= offs[-1]
    return product.masked_fill(behind.unsqueeze(1 - axis), 0)


def aligned(tensor: Tensor) -> bool:
    """Whether torch's grouped_mm accepts the tensor: not float64, and strides that are multiples of 16 bytes."""
    *others, rows, columns = tensor.stride()
    steps = [*others, rows if columns == 1 else columns]
    return tensor.dtype != torch.float64 and 1 in (rows, columns) and all(n * tensor.itemsize % 16 == 0 for n in steps)


def masked(input: Tensor, other: Tensor, offs: Tensor) -> Tensor:
    """The products of `grouped`, by matmuls in which elements of other groups are set to 0."""
    length = input.shape[1] if input.dim() == other.dim() else len(input) if input.dim() == 2 else other.shape[1]
    place, begins = torch.arange(length, device=offs.device), torch.nn.functional.pad(offs[:-1], (1, 0))
    member = (place >= begins.unsqueeze(1)) & (place < offs.unsqueeze(1))  # (G, rows or columns)
    if input.dim() == other.dim():
        return torch.where(member.unsqueeze(1), input, 0) @ other
    if input.dim() == 2:
        return (torch.where(member.unsqueeze(2), input, 0) @ other).sum(0)
    return (input @ torch.where(member.unsqueeze(1), other, 0)).sum(0)
