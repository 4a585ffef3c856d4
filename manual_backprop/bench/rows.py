"""The layers that are measured, their inputs, and their targets."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import torch
from torch import Tensor

import manual_backprop as mb

from ..nn._together import add_norm
from ..testing.case import Case
from ..testing.cases import CASES
from ..trace import ACTIVATION

SIZES = {"tiny": 2**6, "64k": 2**16, "4M": 2**22}
"""Size -> approximate number of elements in a layer's input. The first size shows the cost of a call."""

Shapes = Mapping[str, tuple[int, ...]]
MATRIX: Shapes = {"tiny": (4, 16), "64k": (512, 128), "4M": (4096, 1024)}
SIGNAL: Shapes = {"tiny": (2, 8, 4), "64k": (16, 64, 64), "4M": (64, 64, 1024)}
IMAGE: Shapes = {"tiny": (2, 8, 2, 2), "64k": (16, 16, 16, 16), "4M": (64, 64, 32, 32)}
VOLUME: Shapes = {"tiny": (1, 8, 2, 2, 2), "64k": (4, 8, 8, 16, 16), "4M": (16, 16, 16, 32, 32)}
TOKENS: Shapes = {"tiny": (2, 2, 16), "64k": (4, 64, 256), "4M": (64, 256, 256)}

TINY = 0.95
"""Target for tiny tensors: a call may take at most 1.05 times as long as torch.nn's."""

TARGETS = {
    "activation": 0.95,
    "softmax and cross-entropy": 1.2,
    "norm": 1.2,
    "max-pool": 1.2,
    "linear and convolution": 1.0,
    "two as one": 1.0,
    "border": 0.9,
    "resampling": 0.9,
    "other": 1.0,
}
"""Group -> target speed relative to torch.nn, forward and backward together, from 64k elements on."""

MEANS = {"activation": {"64k": 1.3, "4M": 1.8}}
"""Group -> size -> target for the geometric mean of the group."""


@dataclass(frozen=True)
class Row:
    """One layer: how to build and call it, given the shape of its input.

    label: printed in place of the layer's name. arguments: of its constructor. inputs: of its forward; a derivative by
    the first is measured unless that holds integers. call: how to call the layer; returns one tensor or several. build:
    makes a module of functions, torch's or ours, for a row that is not a layer.
    """

    layer: str
    group: str
    shapes: Shapes
    arguments: Callable[[tuple[int, ...]], tuple] = lambda shape: ()
    options: Mapping[str, Any] = field(default_factory=dict)
    inputs: Callable[[tuple[int, ...]], tuple[Tensor, ...]] = lambda shape: (torch.randn(shape),)
    call: Callable[..., Any] = lambda layer, *inputs: layer(*inputs)
    label: str = ""
    build: Callable[..., torch.nn.Module] | None = None

    @property
    def name(self) -> str:
        return self.label or self.layer

    def make(self, nn: Any, shape: tuple[int, ...]) -> torch.nn.Module:
        """The layer of torch.nn or of ours, with the same parameters every time."""
        with torch.random.fork_rng():
            torch.manual_seed(0)
            make = getattr(nn, self.layer) if self.build is None else partial(self.build, nn)
            return make(*self.arguments(shape), **self.options)

    def target(self, size: str) -> float:
        return TINY if size == "tiny" else TARGETS[self.group]


def _channels(shape: tuple[int, ...]) -> tuple[int]:
    return (shape[1],)


def _last(shape: tuple[int, ...]) -> tuple[int]:
    return (shape[-1],)


def _pair(shape: tuple[int, ...]) -> tuple[Tensor, Tensor]:
    return torch.randn(shape), torch.randn(shape)


def _probabilities(shape: tuple[int, ...]) -> tuple[Tensor, Tensor]:
    return torch.rand(shape), torch.rand(shape)


def _classes(shape: tuple[int, ...]) -> tuple[Tensor, Tensor]:
    return torch.randn(shape), torch.randint(shape[1], shape[:1])


def _convolution(shape: tuple[int, ...]) -> tuple[int, int, int]:
    return shape[1], shape[1], 3


def _attention(layer: Any, input: Tensor) -> Tensor:
    return layer(input, input, input, need_weights=False)[0]


def _heads(shape: tuple[int, ...]) -> tuple[int, int]:
    return shape[-1], max(shape[-1] // 32, 1)


class Residual(torch.nn.Module):
    """A sum and its norm, both returned, as in a pre-norm transformer block."""

    def __init__(self, norm: torch.nn.Module) -> None:
        super().__init__()
        self.norm = norm

    def forward(self, input: Tensor, other: Tensor) -> tuple[Tensor, Tensor]:
        summed = input + other
        return self.norm(summed), summed


class ResidualAsOne(Residual):
    def forward(self, input: Tensor, other: Tensor) -> tuple[Tensor, Tensor]:
        return add_norm(self.norm, input, other)


class Biased(torch.nn.Module):
    """A bias and an activation."""

    def __init__(self, size: int, activation: str) -> None:
        super().__init__()
        self.bias, self.activation = torch.nn.Parameter(torch.randn(size)), activation

    def forward(self, input: Tensor) -> Tensor:
        output: Tensor = getattr(torch.nn.functional, self.activation)(input + self.bias)
        return output


class BiasedAsOne(Biased):
    def forward(self, input: Tensor) -> Tensor:
        return mb.functional.bias_activation(input, self.bias, self.activation)


def _residual(nn: Any, size: int, norm: str) -> Residual:
    return (ResidualAsOne if nn is mb.nn else Residual)(getattr(nn, norm)(size))


def _biased(nn: Any, size: int, activation: str) -> Biased:
    return (BiasedAsOne if nn is mb.nn else Biased)(size, activation)


ACTIVATIONS = [
    *(Row(name, "activation", MATRIX) for name in (
        "ReLU", "LeakyReLU", "PReLU", "RReLU", "ReLU6", "Hardtanh", "Hardshrink", "Softshrink", "Hardsigmoid",
        "Hardswish", "ELU", "CELU", "SELU", "Sigmoid", "LogSigmoid", "Tanh", "Tanhshrink", "Softplus", "Softsign",
        "SiLU", "Mish", "GELU",
    )),
    Row("GELU", "activation", MATRIX, options={"approximate": "tanh"}, label="GELU(tanh)"),
    Row("GLU", "activation", MATRIX),
    Row("Threshold", "activation", MATRIX, lambda shape: (0.1, 0.0)),
]  # fmt: skip

LOSSES = [
    *(Row(name, "other", MATRIX, inputs=_pair) for name in ("MSELoss", "L1Loss", "SmoothL1Loss", "HuberLoss")),
    Row("BCELoss", "other", MATRIX, inputs=_probabilities),
    Row("BCEWithLogitsLoss", "other", MATRIX, inputs=_probabilities),
    Row("KLDivLoss", "other", MATRIX, options={"reduction": "batchmean"}, inputs=_probabilities),
    Row("NLLLoss", "other", MATRIX, inputs=_classes),
]

ROWS = [
    *ACTIVATIONS,
    *(Row(name, "softmax and cross-entropy", MATRIX, lambda shape: (-1,)) for name in ("Softmax", "Softmin",
      "LogSoftmax")),
    Row("Softmax2d", "softmax and cross-entropy", IMAGE),
    Row("CrossEntropyLoss", "softmax and cross-entropy", MATRIX, inputs=_classes),
    Row("LayerNorm", "norm", MATRIX, _last),
    Row("RMSNorm", "norm", MATRIX, _last),
    Row("GroupNorm", "norm", IMAGE, lambda shape: (8, shape[1])),
    Row("BatchNorm1d", "norm", MATRIX, _channels),
    Row("BatchNorm2d", "norm", IMAGE, _channels),
    Row("BatchNorm3d", "norm", VOLUME, _channels),
    *(Row(f"InstanceNorm{n}d", "norm", shapes, _channels, {"affine": True})
      for n, shapes in ((1, SIGNAL), (2, IMAGE), (3, VOLUME))),
    Row("MaxPool1d", "max-pool", SIGNAL, lambda shape: (2,)),
    Row("MaxPool2d", "max-pool", IMAGE, lambda shape: (2,)),
    Row("MaxPool2d", "max-pool", IMAGE, lambda shape: (3, 2, 1), label="MaxPool2d(3, 2, 1)"),
    Row("MaxPool3d", "max-pool", VOLUME, lambda shape: (2,)),
    Row("AvgPool1d", "other", SIGNAL, lambda shape: (2,)),
    Row("AvgPool2d", "other", IMAGE, lambda shape: (2,)),
    Row("AvgPool2d", "other", IMAGE, lambda shape: (3, 2, 1), label="AvgPool2d(3, 2, 1)"),
    Row("AvgPool3d", "other", VOLUME, lambda shape: (2,)),
    Row("AdaptiveAvgPool1d", "other", SIGNAL, lambda shape: (1,)),
    Row("AdaptiveAvgPool2d", "other", IMAGE, lambda shape: (1,)),
    Row("AdaptiveAvgPool3d", "other", VOLUME, lambda shape: (1,)),
    *(Row(f"{kind}Pad{n}d", "border", shapes, lambda shape: (1,))
      for kind in ("Zero", "Reflection", "Replication", "Circular")
      for n, shapes in ((1, SIGNAL), (2, IMAGE), (3, VOLUME))),
    *(Row("Upsample", "resampling", IMAGE, options={"scale_factor": 2, "mode": mode}, label=f"Upsample({mode})")
      for mode in ("nearest", "bilinear", "bicubic")),
    Row("Dropout", "other", MATRIX),
    Row("Dropout1d", "other", SIGNAL),
    Row("Dropout2d", "other", IMAGE),
    Row("Dropout3d", "other", VOLUME),
    Row("AlphaDropout", "other", MATRIX),
    Row("FeatureAlphaDropout", "other", IMAGE),
    Row("Linear", "linear and convolution", MATRIX, lambda shape: (shape[-1], shape[-1])),
    Row("Conv1d", "linear and convolution", SIGNAL, _convolution, {"padding": 1}),
    Row("Conv2d", "linear and convolution", IMAGE, _convolution, {"padding": 1}),
    Row("Conv3d", "linear and convolution", VOLUME, _convolution, {"padding": 1}),
    Row("ConvTranspose1d", "linear and convolution", SIGNAL, _convolution, {"padding": 1}),
    Row("ConvTranspose2d", "linear and convolution", IMAGE, _convolution, {"padding": 1}),
    Row("ConvTranspose3d", "linear and convolution", VOLUME, _convolution, {"padding": 1}),
    Row("Bilinear", "other", {**MATRIX, "4M": (65536, 64)},
        lambda shape: (shape[-1], shape[-1], 1), inputs=_pair),
    Row("Embedding", "other", MATRIX, lambda shape: (8 * shape[-1], shape[-1]),
        inputs=lambda shape: (torch.randint(8 * shape[-1], shape[:1]),)),
    *LOSSES,
    Row("add_layer_norm", "two as one", MATRIX, _last, {"norm": "LayerNorm"}, _pair, build=_residual),
    Row("add_rms_norm", "two as one", MATRIX, _last, {"norm": "RMSNorm"}, _pair, build=_residual),
    *(Row("bias_activation", "two as one", MATRIX, _last, {"activation": name}, build=_biased,
          label=f"bias_activation({name})") for name in ("relu", "gelu", "silu")),
    Row("MultiheadAttention", "other", TOKENS, _heads, {"batch_first": True}, call=_attention),
    Row("TransformerEncoderLayer", "other", TOKENS, lambda shape: (*_heads(shape), 4 * shape[-1]),
        {"batch_first": True}),
    Row("TransformerDecoderLayer", "other", TOKENS, lambda shape: (*_heads(shape), 4 * shape[-1]),
        {"batch_first": True}, _pair),
]  # fmt: skip


LEFT_OUT = {
    "CTCLoss",  # the lengths in its rows do not grow with the batch
    "Flatten", "Identity", "Unflatten",  # compute nothing
    "FractionalMaxPool3d",  # as in two dimensions
    "GRU", "GRUCell", "LSTM", "LSTMCell", "RNN", "RNNCell",  # benchmarks/recurrent.py
    "LinearCrossEntropyLoss",  # benchmarks/vocabulary.py
    "Transformer", "TransformerDecoder", "TransformerEncoder",  # stacks of layers that have rows
}  # fmt: skip


def _given(case: Case) -> list[Any]:
    return [spec.make(torch.Generator().manual_seed(0), torch.float32) for spec in case.inputs]


def _batched(value: Any) -> bool:
    return isinstance(value, Tensor) and value.dim() > 0


def _repeated(tensor: Tensor, times: int) -> Tensor:
    return tensor.repeat(times, *[1] * (tensor.dim() - 1))


def rows() -> list[Row]:
    """The rows above whose layer `mb.nn` has; for every other layer, its first case of the check suite with a batch."""
    found = [row for row in ROWS if row.build is not None or hasattr(mb.nn, row.layer)]
    named = {row.layer for row in ROWS} | LEFT_OUT
    further = [name for name in mb.nn._LAYERS if name not in named and not name.startswith("Lazy")]
    cases = [[case for case in CASES if case.covers == name and all(map(_batched, _given(case)))] for name in further]
    return found + [of_case(first) for first, *_ in filter(None, cases)]


def of_case(case: Case) -> Row:
    """A row from a case: inputs are repeated along the batch, their first axis, until the first one is large enough."""
    given = _given(case)
    (batch, *rest), numbers = given[0].shape, given[0][:1].numel()

    def inputs(shape: tuple[int, ...]) -> tuple[Tensor, ...]:
        times = -(-shape[0] // batch)
        return tuple([_repeated(v, times)[: shape[0]] if len(v) == batch else v for v in given])

    shapes = {size: (max(wanted // numbers, 1), *rest) for size, wanted in SIZES.items()}
    family = getattr(mb.nn, case.covers).__module__.rpartition(".")[2]
    builders = {mb.nn: case.build, torch.nn: case.twin or case.build}
    return Row(
        case.covers, "activation" if family in ACTIVATION else "other", shapes, inputs=inputs,
        build=lambda nn: builders[nn](),
    )  # fmt: skip
