"""Recurrent layers: the loop over time in C (recurrent.c); the matmuls of all steps together in ATen or oneDNN.

Measured with 2 layers of 256 units, 128 steps, 32 rows, float32, on two cores of an AMD EPYC (`python -m
benchmarks.recurrent`): the recurrent matmuls run 1.5 times as fast as MKL's, which packs the weight again at each step.
"""

from __future__ import annotations

import ctypes

import torch
from torch import Tensor

from ..engine.rule import choose
from ..rules import GRU, LSTM, RNN, Linear
from . import matmul, native
from .native import REAL
from .registry import serves

Sizes = tuple[int, ...]

KINDS = {"lstm": 0, "gru": 1, "tanh": 2, "relu": 3}
"""The numbers of the kinds in recurrent.c."""

SERVED = "float32, float64; at least one row and one unit"


def _takes(units: int, blocks: int, weight: Tensor, sizes: Sizes, rows: Tensor, *states: Tensor) -> bool:
    """Whether shapes fit, and all have one dtype that the C code knows. Else the formula runs, and raises errors."""
    dtype = rows.dtype
    return (
        dtype in (torch.float32, torch.float64)
        and rows.dim() == 2
        and rows.numel() > 0
        and units > 0
        and rows.shape[0] == sum(sizes)
        and weight.shape == (blocks * units, units)
        and all([s.shape == states[0].shape and s.dim() == 2 and s.shape[1] == units for s in states])
        and states[0].shape[0] >= sizes[0]
        and all([t.dtype == dtype for t in (weight, *states)])
        and native.serves(rows, weight, *states)
    )


def _products(input: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
    """The contribution of the input and the biases to the gates. The C code writes over this tensor."""
    return choose(Linear.output)(input, weight, bias)


def _sum(one: Tensor | None, other: Tensor | None) -> Tensor | None:
    return other if one is None else one if other is None else one + other


def _steps(sizes: Sizes) -> tuple[ctypes.Array, int]:
    return (ctypes.c_int64 * len(sizes))(*sizes), len(sizes)


@serves(LSTM.run, on="cpu", when=f"{SERVED}; no projection")
def lstm_run(
    input: Tensor, hx: Tensor, cx: Tensor, weight_ih: Tensor, weight_hh: Tensor, bias_ih: Tensor | None,
    bias_hh: Tensor | None, weight_hr: Tensor | None, sizes: Sizes, reverse: bool,
) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor]:  # fmt: skip
    if weight_hr is not None or not _takes(hx.shape[-1], 4, weight_hh, sizes, input, hx, cx):
        return NotImplemented
    gates = _products(input, weight_ih, _sum(bias_ih, bias_hh))
    output, cells = gates.new_empty(len(input), hx.shape[1]), gates.new_empty(len(input), hx.shape[1])
    hx, cx, weight_hh = hx.contiguous(), cx.contiguous(), weight_hh.contiguous()
    hy, cy = torch.empty_like(hx), torch.empty_like(cx)
    native.call(
        f"recurrent_forward_{REAL[gates.dtype]}", gates, cells, output, hy, cy, gates, None, hx, cx, weight_hh,
        *_steps(sizes), *hx.shape, KINDS["lstm"], reverse,
    )  # fmt: skip
    return output, hy, cy, gates, cells


@serves(GRU.run, on="cpu", when=SERVED)
def gru_run(
    input: Tensor, hx: Tensor, weight_ih: Tensor, weight_hh: Tensor, bias_ih: Tensor | None, bias_hh: Tensor | None,
    sizes: Sizes, reverse: bool,
) -> tuple[Tensor, Tensor, Tensor]:  # fmt: skip
    units = hx.shape[-1]
    if not _takes(units, 3, weight_hh, sizes, input, hx):
        return NotImplemented
    outer, inner = bias_ih, input.new_zeros(units)
    if bias_hh is not None:
        inner = bias_hh[2 * units :].contiguous()
        outer = _sum(bias_ih, torch.cat([bias_hh[: 2 * units], torch.zeros_like(inner)]))
    given = _products(input, weight_ih, outer)
    hx, weight_hh = hx.contiguous(), weight_hh.contiguous()
    gates, output, hy = given.new_empty(len(input), 4 * units), given.new_empty(len(input), units), torch.empty_like(hx)
    native.call(
        f"recurrent_forward_{REAL[gates.dtype]}", gates, None, output, hy, None, given, inner, hx, None, weight_hh,
        *_steps(sizes), *hx.shape, KINDS["gru"], reverse,
    )  # fmt: skip
    return output, hy, gates


@serves(RNN.run, on="cpu", when=SERVED)
def rnn_run(
    input: Tensor, hx: Tensor, weight_ih: Tensor, weight_hh: Tensor, bias_ih: Tensor | None, bias_hh: Tensor | None,
    activation: str, sizes: Sizes, reverse: bool,
) -> tuple[Tensor, Tensor]:  # fmt: skip
    if not _takes(hx.shape[-1], 1, weight_hh, sizes, input, hx):
        return NotImplemented
    output = _products(input, weight_ih, _sum(bias_ih, bias_hh))
    hx, weight_hh = hx.contiguous(), weight_hh.contiguous()
    hy = torch.empty_like(hx)
    native.call(
        f"recurrent_forward_{REAL[output.dtype]}", output, None, output, hy, None, output, None, hx, None, weight_hh,
        *_steps(sizes), *hx.shape, KINDS[activation], reverse,
    )  # fmt: skip
    return output, hy


@serves(LSTM.recursion, on="cpu", when=f"{SERVED}; no projection")
def lstm_recursion(
    delta: Tensor | None, delta_h: Tensor, delta_c: Tensor, gates: Tensor, cells: Tensor, cx: Tensor,
    weight_hh: Tensor, weight_hr: Tensor | None, sizes: Sizes, reverse: bool,
) -> tuple[Tensor, Tensor | None, Tensor, Tensor]:  # fmt: skip
    states = (cells, delta_h, delta_c, cx)
    if weight_hr is not None or not _backward_takes(4, delta, gates, weight_hh, sizes, *states):
        return NotImplemented
    delta_h, delta_c = _own(delta_h), _own(delta_c)
    deltas = torch.empty_like(gates, memory_format=torch.contiguous_format)
    _call_backward("lstm", deltas, None, delta_h, delta_c, delta, gates, cells, cx, weight_hh, sizes, reverse)
    return deltas, None, delta_h, delta_c


@serves(GRU.recursion, on="cpu", when=SERVED)
def gru_recursion(
    delta: Tensor | None, delta_h: Tensor, gates: Tensor, before: Tensor, weight_hh: Tensor, sizes: Sizes,
    reverse: bool,
) -> tuple[Tensor, Tensor, Tensor]:  # fmt: skip
    if not _backward_takes(3, delta, gates, weight_hh, sizes, before, delta_h):
        return NotImplemented
    delta_h = _own(delta_h)
    deltas = gates.new_empty(len(gates), 3 * delta_h.shape[1])
    others = torch.empty_like(deltas)
    _call_backward("gru", deltas, others, delta_h, None, delta, gates, before, None, weight_hh, sizes, reverse)
    return others, deltas, delta_h


@serves(RNN.recursion, on="cpu", when=SERVED)
def rnn_recursion(
    delta: Tensor | None, delta_h: Tensor, output: Tensor, weight_hh: Tensor | None, activation: str, sizes: Sizes,
    reverse: bool,
) -> tuple[Tensor, Tensor]:  # fmt: skip
    if weight_hh is None or not _backward_takes(1, delta, output, weight_hh, sizes, output, delta_h):
        return NotImplemented
    delta_h = _own(delta_h)
    deltas = torch.empty_like(output, memory_format=torch.contiguous_format)
    _call_backward(activation, deltas, None, delta_h, None, delta, output, output, None, weight_hh, sizes, reverse)
    return deltas, delta_h


def _backward_takes(
    blocks: int, delta: Tensor | None, gates: Tensor, weight: Tensor, sizes: Sizes, rows: Tensor, *states: Tensor
) -> bool:
    """Whether a backward is served. rows: the cells, or the states of every step."""
    units = weight.shape[1]
    return (
        _takes(units, blocks, weight, sizes, rows, *states)
        and rows.shape[1] == units
        and gates.dtype == rows.dtype
        and native.plain(gates)
        and (delta is None or (native.plain(delta) and delta.shape == rows.shape and delta.dtype == rows.dtype))
    )


def _own(delta: Tensor) -> Tensor:
    """A copy of the delta of a state; the C code writes over it."""
    return delta.clone(memory_format=torch.contiguous_format)


def _call_backward(
    kind: str, deltas: Tensor, others: Tensor | None, delta_h: Tensor, delta_c: Tensor | None, delta: Tensor | None,
    gates: Tensor, states: Tensor, cx: Tensor | None, weight: Tensor, sizes: Sizes, reverse: bool,
) -> None:  # fmt: skip
    cx, delta = (None if tensor is None else tensor.contiguous() for tensor in (cx, delta))
    native.call(
        f"recurrent_backward_{REAL[deltas.dtype]}", deltas, others, delta_h, delta_c, delta, gates.contiguous(),
        states.contiguous(), cx, weight.contiguous(), *_steps(sizes), *delta_h.shape, KINDS[kind], reverse,
    )  # fmt: skip


@serves(RNN.grad_weight, on="cpu", when=f"{matmul.SERVED}: by oneDNN, of RNN, GRU and LSTM")
def grad_weight(deltas: Tensor, factors: Tensor) -> Tensor:
    """By oneDNN, which took 0.6 of the time of ATen's d^T x."""
    if (
        not matmul.faster()
        or not native.plain(deltas, factors)
        or not deltas.dtype == factors.dtype == torch.float32
        or deltas.numel() * factors.shape[-1] < matmul.least()
    ):
        return NotImplemented
    return matmul.factors_product(deltas, factors)
