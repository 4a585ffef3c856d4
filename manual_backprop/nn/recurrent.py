"""Recurrent layers and their cells."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.nn.utils.rnn import PackedSequence

from .. import functional as F


class RNN(torch.nn.RNN):
    """torch.nn.RNN with the explicit backward of `mb.rules.RNN`."""

    def forward(self, input: Any, hx: Tensor | None = None) -> Any:
        return _forward(self, F.rnn_tanh if self.nonlinearity == "tanh" else F.rnn_relu, input, hx)


class LSTM(torch.nn.LSTM):
    """torch.nn.LSTM with the explicit backward of `mb.rules.LSTM`.

    For long sequences set `segment` to a number of steps, for example the square root of the sequence length. The gates
    are then not saved, but recomputed in the backward, `segment` steps at a time.
    """

    segment = 0

    def forward(self, input: Any, hx: tuple[Tensor, Tensor] | None = None) -> Any:
        return _forward(self, F.lstm, input, hx, segment=self.segment)


class GRU(torch.nn.GRU):
    """torch.nn.GRU with the explicit backward of `mb.rules.GRU`.

    For long sequences set `segment` to a number of steps. The gates are then not saved, but recomputed in the backward,
    `segment` steps at a time.
    """

    segment = 0

    def forward(self, input: Any, hx: Tensor | None = None) -> Any:
        return _forward(self, F.gru, input, hx, segment=self.segment)


def _forward(module: torch.nn.RNNBase, run: Callable[..., Any], input: Any, hx: Any, **options: Any) -> Any:
    """The forward of torch's layer: packed, batched or single sequences, missing states, sequences sorted by length."""
    packed = isinstance(input, PackedSequence)
    batch_sizes = sorted_indices = unsorted_indices = None
    axis, single = 0 if module.batch_first else 1, False
    if packed:
        input, batch_sizes, sorted_indices, unsorted_indices = input
        rows = int(batch_sizes[0])
    else:
        if input.dim() not in (2, 3):
            raise ValueError(f"{type(module).__name__}: Expected input to be 2D or 3D, got {input.dim()}D instead")
        single = input.dim() == 2
        if hx is not None:
            hx = _of_batch(hx, single)
        input = input.unsqueeze(axis) if single else input
        rows = input.shape[axis]
    hx = _zeros(module, input, rows) if hx is None else module.permute_hidden(hx, sorted_indices)
    module._update_flat_weights()
    module.check_forward_args(input, hx, batch_sizes)
    weights = [weight for layer in module.all_weights for weight in layer]
    layers = module.bias, module.num_layers, module.dropout, module.training, module.bidirectional
    if packed:
        output, *states = run(input, batch_sizes, hx, weights, *layers, **options)
    else:
        output, *states = run(input, hx, weights, *layers, module.batch_first, **options)
    if single:
        output, states = output.squeeze(axis), [state.squeeze(1) for state in states]
    hidden: Any = tuple(states) if len(states) > 1 else states[0]
    end = module.permute_hidden(hidden, unsorted_indices)
    return PackedSequence(output, batch_sizes, sorted_indices, unsorted_indices) if packed else output, end


def _zeros(module: torch.nn.RNNBase, input: Tensor, rows: int) -> Any:
    layers = module.num_layers * (2 if module.bidirectional else 1)
    h = input.new_zeros(layers, rows, module.proj_size or module.hidden_size)
    return (h, input.new_zeros(layers, rows, module.hidden_size)) if isinstance(module, torch.nn.LSTM) else h


def _of_batch(hx: Any, single: bool) -> Any:
    """The states with a batch axis. Raises RuntimeError where the states are batched and the input is not, or the
    reverse."""
    states = hx if isinstance(hx, tuple) else (hx,)
    for state in states:
        if state.dim() != (2 if single else 3):
            kind, axes = ("unbatched", 2) if single else ("batched", 3)
            raise RuntimeError(
                f"For {kind} {axes}-D input, hx (and cx) should also be {axes}-D but got "
                f"({', '.join(f'{s.dim()}-D' for s in states)}) tensors"
            )
    if not single:
        return hx
    states = tuple(state.unsqueeze(1) for state in states)
    return states if isinstance(hx, tuple) else states[0]


class RNNCell(torch.nn.RNNCell):
    """torch.nn.RNNCell with the explicit backward of `mb.rules.RNN`."""

    def forward(self, input: Tensor, hx: Tensor | None = None) -> Tensor:
        if self.nonlinearity not in ("tanh", "relu"):
            raise RuntimeError(f"Unknown nonlinearity: {self.nonlinearity}")
        run = F.rnn_tanh_cell if self.nonlinearity == "tanh" else F.rnn_relu_cell
        return _cell(self, run, input, hx)


class LSTMCell(torch.nn.LSTMCell):
    """torch.nn.LSTMCell with the explicit backward of `mb.rules.LSTM`."""

    def forward(self, input: Tensor, hx: tuple[Tensor, Tensor] | None = None) -> tuple[Tensor, Tensor]:
        return _cell(self, F.lstm_cell, input, hx)


class GRUCell(torch.nn.GRUCell):
    """torch.nn.GRUCell with the explicit backward of `mb.rules.GRU`."""

    def forward(self, input: Tensor, hx: Tensor | None = None) -> Tensor:
        return _cell(self, F.gru_cell, input, hx)


def _cell(module: torch.nn.RNNCellBase, run: Callable[..., Any], input: Tensor, hx: Any) -> Any:
    """The forward of torch's cell: a batch or a single sample, missing states."""
    name, several = type(module).__name__, isinstance(module, torch.nn.LSTMCell)
    states: tuple[Tensor, ...] = () if hx is None else hx if several else (hx,)
    for what, tensor in (("input", input), *((f"hx[{i}]" if several else "hidden", s) for i, s in enumerate(states))):
        if tensor.dim() not in (1, 2):
            raise ValueError(f"{name}: Expected {what} to be 1D or 2D, got {tensor.dim()}D instead")
    single = input.dim() == 1
    rows = input.unsqueeze(0) if single else input
    if hx is None:
        zeros = rows.new_zeros(rows.shape[0], module.hidden_size)
        states = (zeros, zeros) if several else (zeros,)
    elif single:
        states = tuple(state.unsqueeze(0) for state in states)
    weights = module.weight_ih, module.weight_hh, module.bias_ih, module.bias_hh
    found = run(rows, states if several else states[0], *weights)
    if not single:
        return found
    return tuple(state.squeeze(0) for state in found) if several else found.squeeze(0)
