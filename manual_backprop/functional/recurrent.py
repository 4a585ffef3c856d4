"""Recurrent layers with torch's signatures: torch.lstm, gru, rnn_tanh and rnn_relu, and their cells."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

from torch import Tensor

from .. import rules
from ._call import call
from ._overloads import stands_for
from .arithmetic import cat
from .dropout import dropout

Run = Callable[..., tuple[Tensor, ...]]
"""(input, initial states, weights and biases, batch size of each step, reverse) -> (output, final states)."""


def lstm(*args: Any, segment: int = 0) -> tuple[Tensor, Tensor, Tensor]:
    """torch.lstm: (input, hx, params, has_biases, num_layers, dropout, train, bidirectional, batch_first), or of a
    packed sequence (data, batch_sizes, hx, params, has_biases, num_layers, dropout, train, bidirectional).

    Returns (output, h_n, c_n). hx is (h_0, c_0). A layer's params are weight_ih, weight_hh, then with has_biases
    bias_ih and bias_hh, then the projection's weight_hr where h_0 has another size than c_0.

    segment: for long sequences. 0 saves the gates of all steps. A number n saves only the cell state of every n-th step
    and recomputes the gates in the backward. Rule: `mb.rules.LSTM`, for each layer and direction.
    """
    return (_lstm_packed if isinstance(args[1], Tensor) else _lstm_padded)(*args, segment=segment)


def gru(*args: Any, segment: int = 0) -> tuple[Tensor, Tensor]:
    """torch.gru: (input, hx, params, has_biases, num_layers, dropout, train, bidirectional, batch_first), or of a
    packed sequence (data, batch_sizes, hx, params, has_biases, num_layers, dropout, train, bidirectional).

    Returns (output, h_n). segment: for long sequences. 0 saves the gates of all steps; a number n recomputes them in
    the backward, n steps at a time. Rule: `mb.rules.GRU`, for each layer and direction.
    """
    return (_gru_packed if isinstance(args[2], Tensor) else _gru_padded)(*args, segment=segment)


def rnn_tanh(*args: Any) -> tuple[Tensor, Tensor]:
    """torch.rnn_tanh, with the arguments of `gru`. Rule: `mb.rules.RNN`, for each layer and direction."""
    return (_rnn_tanh_packed if isinstance(args[2], Tensor) else _rnn_tanh_padded)(*args)


def rnn_relu(*args: Any) -> tuple[Tensor, Tensor]:
    """torch.rnn_relu, with the arguments of `gru`. Rule: `mb.rules.RNN`, for each layer and direction."""
    return (_rnn_relu_packed if isinstance(args[2], Tensor) else _rnn_relu_padded)(*args)


@stands_for("lstm_cell")
def lstm_cell(
    input: Tensor, hx: Sequence[Tensor], w_ih: Tensor, w_hh: Tensor, b_ih: Tensor | None = None,
    b_hh: Tensor | None = None,
) -> tuple[Tensor, Tensor]:  # fmt: skip
    """One step of an LSTM, as torch.lstm_cell: (h, c). Rule: `mb.rules.LSTM`."""
    _, h, c = _lstm(0, input, list(hx), [w_ih, w_hh, b_ih, b_hh], _one_step(input, *hx), False)
    return h.to(hx[1].dtype), c.to(hx[1].dtype)


@stands_for("gru_cell")
def gru_cell(
    input: Tensor, hx: Tensor, w_ih: Tensor, w_hh: Tensor, b_ih: Tensor | None = None, b_hh: Tensor | None = None
) -> Tensor:
    """One step of a GRU, as torch.gru_cell. Rule: `mb.rules.GRU`."""
    return _gru(0, input, [hx], [w_ih, w_hh, b_ih, b_hh], _one_step(input, hx), False)[1]


@stands_for("rnn_tanh_cell")
def rnn_tanh_cell(
    input: Tensor, hx: Tensor, w_ih: Tensor, w_hh: Tensor, b_ih: Tensor | None = None, b_hh: Tensor | None = None
) -> Tensor:
    """tanh(W x + b + U h + b'), as torch.rnn_tanh_cell. Rule: `mb.rules.RNN`."""
    return _rnn("tanh", input, [hx], [w_ih, w_hh, b_ih, b_hh], _one_step(input, hx), False)[1]


@stands_for("rnn_relu_cell")
def rnn_relu_cell(
    input: Tensor, hx: Tensor, w_ih: Tensor, w_hh: Tensor, b_ih: Tensor | None = None, b_hh: Tensor | None = None
) -> Tensor:
    """max(W x + b + U h + b', 0), as torch.rnn_relu_cell. Rule: `mb.rules.RNN`."""
    return _rnn("relu", input, [hx], [w_ih, w_hh, b_ih, b_hh], _one_step(input, hx), False)[1]


# Under autocast, matmuls run in 16 bits. Where torch computes elementwise with a state, the result has its dtype.


def _lstm(segment: int, input: Tensor, states: list, params: list, sizes: tuple, reverse: bool) -> tuple:
    weights = [*params, *[None] * (5 - len(params))]
    output, h, c, *_ = call(rules.LSTM, input, *states, *weights, sizes, reverse, segment)
    return output, h, c if weights[4] is None else c.to(states[1].dtype)


def _gru(segment: int, input: Tensor, states: list, params: list, sizes: tuple, reverse: bool) -> tuple:
    output, h, _ = call(rules.GRU, input, *states, *params, sizes, reverse, segment)
    return output.to(states[0].dtype), h.to(states[0].dtype)


def _rnn(activation: str, input: Tensor, states: list, params: list, sizes: tuple, reverse: bool) -> tuple:
    return call(rules.RNN, input, *states, *params, activation, sizes, reverse)


@stands_for("lstm.input")
def _lstm_padded(
    input: Tensor, hx: Sequence[Tensor], params: Sequence[Tensor], has_biases: bool, num_layers: int, dropout: float,
    train: bool, bidirectional: bool, batch_first: bool, *, segment: int = 0,
) -> tuple:  # fmt: skip
    options = has_biases, num_layers, dropout, train, bidirectional
    return _padded(partial(_lstm, segment), input, hx, params, *options, batch_first, projected=_projected(hx))


@stands_for("lstm.data")
def _lstm_packed(
    data: Tensor, batch_sizes: Tensor, hx: Sequence[Tensor], params: Sequence[Tensor], has_biases: bool,
    num_layers: int, dropout: float, train: bool, bidirectional: bool, *, segment: int = 0,
) -> tuple:  # fmt: skip
    options = has_biases, num_layers, dropout, train, bidirectional
    return _packed(partial(_lstm, segment), data, batch_sizes, hx, params, *options, projected=_projected(hx))


@stands_for("gru.input")
def _gru_padded(input: Tensor, hx: Tensor, *args: Any, segment: int = 0) -> tuple:
    return _padded(partial(_gru, segment), input, [hx], *args)


@stands_for("gru.data")
def _gru_packed(data: Tensor, batch_sizes: Tensor, hx: Tensor, *args: Any, segment: int = 0) -> tuple:
    return _packed(partial(_gru, segment), data, batch_sizes, [hx], *args)


@stands_for("rnn_tanh.input")
def _rnn_tanh_padded(input: Tensor, hx: Tensor, *args: Any) -> tuple:
    return _padded(partial(_rnn, "tanh"), input, [hx], *args)


@stands_for("rnn_tanh.data")
def _rnn_tanh_packed(data: Tensor, batch_sizes: Tensor, hx: Tensor, *args: Any) -> tuple:
    return _packed(partial(_rnn, "tanh"), data, batch_sizes, [hx], *args)


@stands_for("rnn_relu.input")
def _rnn_relu_padded(input: Tensor, hx: Tensor, *args: Any) -> tuple:
    return _padded(partial(_rnn, "relu"), input, [hx], *args)


@stands_for("rnn_relu.data")
def _rnn_relu_packed(data: Tensor, batch_sizes: Tensor, hx: Tensor, *args: Any) -> tuple:
    return _packed(partial(_rnn, "relu"), data, batch_sizes, [hx], *args)


@stands_for("_pack_padded_sequence")
def pack_padded(input: Tensor, lengths: Tensor, batch_first: bool = False) -> tuple[Tensor, Tensor]:
    """torch.ops.aten._pack_padded_sequence: the data and batch_sizes of torch.nn.utils.rnn.pack_padded_sequence, for
    lengths that never grow. Rule: `mb.rules.PackPaddedSequence`."""
    return call(rules.PackPaddedSequence, input, lengths, batch_first)


def _padded(
    run: Run, input: Tensor, states: Sequence[Tensor], params: Sequence[Tensor], has_biases: bool, num_layers: int,
    dropout_p: float, train: bool, bidirectional: bool, batch_first: bool, projected: bool = False,
) -> tuple:  # fmt: skip
    """input (T, N, I), with batch_first (N, T, I): the batch size is the same in each step."""
    input = input.transpose(0, 1) if batch_first else input
    sizes = (input.shape[1],) * input.shape[0]
    options = has_biases, num_layers, dropout_p, train, bidirectional, projected
    output, *states = _layers(run, input, sizes, states, params, *options)
    return output.transpose(0, 1) if batch_first else output, *states


def _packed(
    run: Run, data: Tensor, batch_sizes: Tensor, states: Sequence[Tensor], params: Sequence[Tensor], has_biases: bool,
    num_layers: int, dropout_p: float, train: bool, bidirectional: bool, projected: bool = False,
) -> tuple:  # fmt: skip
    options = has_biases, num_layers, dropout_p, train, bidirectional, projected
    return _layers(run, data, tuple(batch_sizes.tolist()), states, params, *options)


def _layers(
    run: Run, input: Tensor, sizes: tuple[int, ...], states: Sequence[Tensor], params: Sequence[Tensor],
    has_biases: bool, num_layers: int, dropout_p: float, train: bool, bidirectional: bool, projected: bool,
) -> tuple:  # fmt: skip
    """One layer on top of another, each in one or both directions, with dropout between them."""
    if not sizes:
        raise RuntimeError("Expected sequence length to be larger than 0 in RNN. got: 0 steps")
    directions, each = 1 + bidirectional, 2 + 2 * has_biases + projected
    _check(states, params, num_layers * directions, each, sizes[0])
    before = list(zip(*[state.unbind(0) for state in states], strict=True))
    ends: list[tuple[Tensor, ...]] = []
    for layer in range(num_layers):
        outputs = []
        for direction in range(directions):
            place = layer * directions + direction
            weights: list[Tensor | None] = list(params[place * each : (place + 1) * each])
            if not has_biases:
                weights[2:2] = [None, None]
            output, *end = run(input, list(before[place]), weights, sizes, direction == 1)
            outputs.append(output)
            ends.append(tuple(end))
        input = cat(outputs, -1) if bidirectional else outputs[0]
        if dropout_p and train and layer < num_layers - 1:
            input = dropout(input, dropout_p, True)
    return input, *[_stacked(column) for column in zip(*ends, strict=True)]


def _stacked(states: Sequence[Tensor]) -> Tensor:
    listed = [state.unsqueeze(0) for state in states]
    return listed[0] if len(listed) == 1 else cat(listed, 0)


def _projected(hx: Sequence[Tensor]) -> bool:
    if len(hx) != 2:
        raise RuntimeError(f"lstm expects two hidden states. got: {len(hx)}. expected: (h_0, c_0)")
    return hx[0].shape[-1] != hx[1].shape[-1]


def _check(states: Sequence[Tensor], params: Sequence[Tensor], count: int, each: int, batch: int) -> None:
    if len(params) != count * each:
        raise RuntimeError(
            f"wrong number of weights. got: {len(params)}. expected: {each} for each of {count} layers and directions"
        )
    for state in states:
        if state.dim() != 3 or state.shape[:2] != (count, batch):
            raise RuntimeError(
                f"wrong shape of a hidden state. got: {tuple(state.shape)}. expected: (layers * directions, batch, "
                f"features), ({count}, {batch}, *)"
            )


def _one_step(input: Tensor, *states: Tensor) -> tuple[int]:
    """The batch size of a cell's only step. Raises RuntimeError where that of a state differs."""
    for state in states:
        if input.dim() != 2 or state.dim() != 2 or state.shape[0] != input.shape[0]:
            raise RuntimeError(
                f"Input batch size {tuple(input.shape)} doesn't match hidden {tuple(state.shape)}. "
                "expected: input (N, I), states (N, H)"
            )
    return (input.shape[0],)
