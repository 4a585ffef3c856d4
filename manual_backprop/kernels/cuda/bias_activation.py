"""A bias and the activation after it as Triton kernels over rows, in one pass each way, the gradient of the bias
included."""

from __future__ import annotations

import functools
from typing import Any

import torch
import triton
from torch import Tensor

from .. import printer
from ..bias_activation import ATEN, backward_formula, forward_formula
from .launch import block, dense, launch, parallel, takes
from .norms import PARTS, WIDEST
from .pointwise import Triton, built, loaded, program


def printed(loop: printer.Loop) -> str:
    """The text of a Triton function `kernel`. Its arguments: the result, its sums over `each` rows (if SUMMED), and the
    tensors; the bias is a single row."""
    dialect = Triton("tl.float32")
    (result,) = dialect.results(loop)
    arguments = ["out", "sums", *(f"{t.text}_" for t in loop.tensors), "rows", "n", "each"]
    arguments += [f"{name}: tl.constexpr" for name in ("SUMMED", "ROWS", "COLUMNS")]
    element = [
        "r = (program * each + start + tl.arange(0, ROWS))[:, None]",
        "inside = (r < rows) & (c < n)",
        *loaded(loop, dialect, lambda name: ("c", "c < n") if name == "bias" else ("r * n + c", "inside")),
        *dialect.lines(loop, ("real", "mask")),
        f"tl.store(out + r * n + c, {result}, mask=inside)",
        "if SUMMED:",
        f"    total += tl.sum(tl.where(inside, {result}, 0.0), 0)[None, :]",
    ]
    lines = [
        "program = tl.program_id(0).to(tl.int64)",
        "c = tl.arange(0, COLUMNS)[None, :]",
        "total = tl.zeros((1, COLUMNS), tl.float32)",
        "for start in range(0, each, ROWS):",
        *(f"    {line}" for line in element),
        "if SUMMED:",
        "    tl.store(sums + program * n + c, total, mask=c < n)",
    ]
    return program(loop, arguments, lines)


@functools.cache
def _forward(activation: str) -> Any:
    return built(forward_formula(activation), printed)


@functools.cache
def _backward(activation: str) -> Any:
    return built(backward_formula(activation), printed)


def _fits(shape: torch.Size, *tensors: Tensor | None) -> bool:
    """Whether a row fits into registers, and all tensors have one dtype."""
    given = [t for t in tensors if t is not None]
    return len(shape) == 1 and shape.numel() <= WIDEST and takes(*given) and len({t.dtype for t in given}) == 1


def _run(kernel: Any, like: Tensor, summed: bool, *tensors: Tensor) -> tuple[Tensor, Tensor]:
    n = like.shape[-1]
    rows, tile = like.numel() // n, block(n, most=WIDEST)
    every = triton.cdiv(rows, tile["ROWS"])
    programs = min(every, parallel(like), max(1, PARTS // n)) if summed else every
    each = triton.cdiv(every, programs) * tile["ROWS"]
    programs = triton.cdiv(rows, each)
    out = torch.empty_like(like, memory_format=torch.contiguous_format)
    sums = torch.empty(programs if summed else 0, n, dtype=torch.float32, device=like.device)
    launch(kernel, programs, like, out, sums, *map(dense, tensors), rows, n, each, SUMMED=summed, **tile)
    return out, sums


def output(input: Tensor, bias: Tensor, activation: str) -> Tensor:
    if bias.shape != input.shape[-1:] or not _fits(bias.shape, input, bias):
        return ATEN[activation](input + bias)
    return _run(_forward(activation), input, False, input, bias)[0]


def derivatives(
    delta: Tensor, kept: Tensor, bias: Tensor | None, activation: str, shape: torch.Size, needs: tuple[bool, bool]
) -> tuple:
    if shape != kept.shape[-1:] or not _fits(shape, delta, kept, bias):
        return NotImplemented
    tensors = (delta, kept) if bias is None else (delta, kept, bias)
    delta_input, sums = _run(_backward(activation), kept, needs[1], *tensors)
    return delta_input if needs[0] else None, sums.sum(0) if needs[1] else None
