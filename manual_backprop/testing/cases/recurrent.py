"""Rows of recurrent layers and their cells; more on packed sequences and sizes in tests/test_recurrent.py."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.nn.utils.rnn import pack_padded_sequence

from ..case import Case, Spec, constant, tensors
from ..case import normal as gaussian
from ._make import function, layer

SUMS = (2.0**-47, "the two biases are added first, and products are summed in another order")
ROUNDED = "torch rounds to 16 bits after each operation of a step, ours once: compared in tests/test_recurrent.py"
GRAPH = "torch.compile does not support recurrent modules; the functions' rows are compiled"
ROW: dict[str, Any] = {"forward": SUMS, "without": {"autocast": ROUNDED}}
MODULE: dict[str, Any] = {
    "forward": SUMS,
    "without": {"autocast": ROUNDED, "compiled": GRAPH},
}
SHORT = {"bf16": (8.0, "the mean error over 60 seeds is 0.7 of the twin's, but a sum of few terms may cancel")}
PACKED: dict[str, Any] = {
    "forward": SUMS,
    "bf16": SHORT["bf16"],
    "without": {
        "autocast": ROUNDED,
        "layouts": "torch reads batch_sizes as if it were contiguous; other rows check the other tensors' layouts",
        "transforms": "torch reads batch_sizes by its address, which does not exist under vmap",
        "compiled": "sizes are values of a tensor, unknown to torch.compile",
    },
}
STEPS, ROWS, FEATURES, UNITS = 4, 2, 3, 2


def normal(*shape: int) -> Spec:
    """Without the special values +-20 and +-1000: they bring a gate so close to 0 or 1 that few digits of the result
    are right in float32, in torch's and in ours."""
    spec = gaussian(*shape)
    return Spec(spec.make, True, tuple(value for value in spec.specials if abs(value) not in (20, 1000)))


X = normal(STEPS, ROWS, FEATURES)
LARGER = {"larger": (normal(7, 5, FEATURES),)}


def pair(*specs: Spec) -> Spec:
    """A tuple of tensors, like the states of an LSTM."""
    return Spec(lambda generator, dtype: tuple([spec.make(generator, dtype) for spec in specs]))


def rows(name: str, states: Callable[..., Spec]) -> list[Case]:
    """Rows for all recurrent layers: several layers, directions, dropout, states, biases, single sequences."""

    def row(
        *inputs: Spec, sizes: Any = (FEATURES, UNITS), tag: str = "", more: dict | None = None, **kwargs: Any
    ) -> Case:
        return layer(name, *sizes, inputs=inputs, tag=tag, row={**MODULE, **(more or {})}, **kwargs)

    return [
        row(X, more=LARGER),
        row(X, states(1, ROWS), tag="states"),
        row(X, bias=False),
        row(normal(3, ROWS, 2), states(4, ROWS, units=1), sizes=(2, 1), num_layers=2, bidirectional=True, more=SHORT),
        row(normal(ROWS, STEPS, FEATURES), states(2, ROWS), num_layers=2, batch_first=True),
        row(X, num_layers=2, dropout=0.4),
        row(normal(STEPS, FEATURES), states(1), tag="unbatched"),
        row(normal(3, 2), sizes=(2, 1), batch_first=True, bidirectional=True, tag="unbatched"),
        row(normal(1, ROWS, FEATURES), tag="one-step"),
    ]


def state(*shape: int, units: int = UNITS) -> Spec:
    return normal(*shape, units)


def states(*shape: int, units: int = UNITS) -> Spec:
    return pair(normal(*shape, units), normal(*shape, units))


def params(gates: int, layers: int = 1, inputs: int = FEATURES, projected: int = 0) -> Spec:
    outputs = projected or UNITS
    listed = []
    for _ in range(layers):
        listed += [normal(gates * UNITS, inputs), normal(gates * UNITS, outputs), normal(gates * UNITS)]
        listed += [normal(gates * UNITS), *[normal(projected, UNITS)] * bool(projected)]
    return tensors(*listed)


SIZES = torch.tensor([3, 2, 2, 1])
DATA = normal(int(SIZES.sum()), FEATURES)


def packed(name: str, gates: int, hx: Callable[..., Spec], bidirectional: bool = False, **kwargs: Any) -> Case:
    """torch.<name> of a packed sequence."""
    count, tag = 1 + bidirectional, "packed" + "-both" * bidirectional
    options = [constant(value) for value in (True, 1, 0.0, True, bidirectional)]
    inputs = (DATA, constant(SIZES), hx(count, 3), params(gates, count), *options)
    return function(name, inputs, without_segment(name), tag=tag, row=PACKED, **kwargs)


def padded(name: str, gates: int, hx: Spec, tag: str = "", projected: int = 0, **kwargs: Any) -> Case:
    """torch.<name> of sequences of one length."""
    options = [constant(value) for value in (True, 1, 0.0, True, False, False)]
    inputs = (X, hx, params(gates, projected=projected), *options)
    return function(name, inputs, without_segment(name), tag=tag, row=ROW, **kwargs)


def packed_by_torch(input: Tensor, lengths: Tensor, batch_first: bool = False) -> tuple[Tensor, Tensor]:
    found = pack_padded_sequence(input, lengths, batch_first)
    return found.data, found.batch_sizes


def without_segment(name: str) -> Callable[..., Any]:
    def twin(*args: Any, segment: int = 0) -> Any:
        return getattr(torch, name)(*args)

    return twin


def cells(name: str, hx: Callable[..., Spec], **kwargs: Any) -> list[Case]:
    return [
        layer(name, FEATURES, UNITS, inputs=(normal(ROWS, FEATURES), hx(ROWS)), row=ROW, **kwargs),
        layer(name, FEATURES, UNITS, inputs=(normal(FEATURES), hx()), tag="unbatched", row=ROW, **kwargs),
        layer(name, FEATURES, UNITS, inputs=(normal(ROWS, FEATURES),), tag="no-states", row=ROW, **kwargs),
        layer(name, FEATURES, UNITS, bias=False, inputs=(normal(ROWS, FEATURES), hx(ROWS)), row=ROW, **kwargs),
    ]


def cell(name: str, gates: int, hx: Spec) -> Case:
    weights = [normal(gates * UNITS, FEATURES), normal(gates * UNITS, UNITS), normal(gates * UNITS)]
    return function(name, (normal(ROWS, FEATURES), hx, *weights, weights[2]), row=ROW)


PROJECTED = pair(normal(1, ROWS, 3), normal(1, ROWS, UNITS))

UNKNOWN = {"without": {"compiled": "the values of lengths decide the size of the result"}}
LENGTHS = constant(torch.tensor([3, 3, 1]))

CASES = [
    function("pack_padded", (normal(4, 3, 2), LENGTHS), packed_by_torch, row=UNKNOWN),
    function("pack_padded", (normal(3, 3, 2), LENGTHS), packed_by_torch, batch_first=True, row=UNKNOWN),
    *rows("RNN", state),
    layer("RNN", FEATURES, UNITS, inputs=(X, state(1, ROWS)), nonlinearity="relu", row=MODULE),
    *rows("LSTM", states),
    layer("LSTM", 2, 5, inputs=(normal(2, 1, 2),), proj_size=2, row=MODULE),
    layer(
        "LSTM", 2, 2, inputs=(normal(2, 1, 2),), proj_size=1, num_layers=2, bidirectional=True, bias=False, row=MODULE
    ),
    *rows("GRU", state),
    *cells("RNNCell", state),
    layer("RNNCell", FEATURES, UNITS, inputs=(normal(ROWS, FEATURES), state(ROWS)), nonlinearity="relu", row=ROW),
    *cells("LSTMCell", states),
    *cells("GRUCell", state),
    # five units, so that a gate at the wrong position is noticed
    layer("LSTMCell", 2, 5, bias=False, inputs=(normal(1, 2),), row=ROW),
    layer("GRUCell", 2, 5, bias=False, inputs=(normal(1, 2),), row=ROW),
    padded("lstm", 4, states(1, ROWS)),
    padded("lstm", 4, states(1, ROWS), segment=3),
    padded("lstm", 4, PROJECTED, tag="projected", projected=3),
    padded("lstm", 4, PROJECTED, tag="projected", projected=3, segment=1),
    packed("lstm", 4, states),
    packed("lstm", 4, states, bidirectional=True),
    packed("lstm", 4, states, bidirectional=True, segment=2),
    padded("gru", 3, state(1, ROWS)),
    padded("gru", 3, state(1, ROWS), segment=3),
    packed("gru", 3, state),
    packed("gru", 3, state, bidirectional=True),
    packed("gru", 3, state, bidirectional=True, segment=2),
    padded("rnn_tanh", 1, state(1, ROWS)),
    packed("rnn_tanh", 1, state, bidirectional=True),
    padded("rnn_relu", 1, state(1, ROWS)),
    packed("rnn_relu", 1, state, bidirectional=True),
    cell("lstm_cell", 4, states(ROWS)),
    cell("gru_cell", 3, state(ROWS)),
    cell("rnn_tanh_cell", 1, state(ROWS)),
    cell("rnn_relu_cell", 1, state(ROWS)),
]
