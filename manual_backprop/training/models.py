"""The networks that come with the package, and `build`, which makes one of them, or another one by import path."""

import inspect
import math
import sys
from collections.abc import Callable, Sequence
from itertools import pairwise
from typing import Any

import torch
from torch import Tensor

import manual_backprop.functional as F
import manual_backprop.nn as nn

from ..errors import BadInput, require_at_least, unknown
from .imports import imported

Shape = tuple[int, ...]  # of one input: channels, height, width of an image


def activation_named(name: str) -> Callable[[], torch.nn.Module]:
    """The class of an activation, such as "ReLU" or "GELU". Raises BadInput with the nearest match."""
    known = [n for n in torch.nn.modules.activation.__all__ if n != "MultiheadAttention"]
    if name not in known:
        raise unknown("activation", str(name), known)
    return getattr(nn, name)


def sizes_named(name: str, value: Any, least: int = 1, empty: bool = False) -> list[int]:
    """The sizes given to an option, as a list. Raises BadInput where they are not whole numbers."""
    sizes = list(value) if isinstance(value, list | tuple) else [value]
    if not all(type(size) is int for size in sizes) or not (sizes or empty):
        raise BadInput(f"model.net_args.{name}={value!r}: expected whole numbers, such as [32, 64].")
    for size in sizes:
        require_at_least("model.net_args", least, **{name: size})
    return sizes


def dropouts(share: float) -> list[torch.nn.Module]:
    """A list of one Dropout; an empty list for a share of 0. Raises BadInput where the share is not in [0, 1]."""
    if not isinstance(share, int | float) or not 0 <= share <= 1:
        raise BadInput(f"model.net_args.dropout={share!r}: give 0 to 1.")
    return [nn.Dropout(share)] if share else []


class MLP(nn.Sequential):
    """Fully connected layers: images (N, C, H, W), or other inputs, to logits (N, V).

    hidden: widths of the hidden layers. norm: BatchNorm after each. dropout: share of hidden units dropped.
    """

    def __init__(
        self,
        shape: Shape,
        classes: int,
        hidden: Sequence[int] = (256, 128),
        activation: str = "ReLU",
        norm: bool = False,
        dropout: float = 0.0,
    ) -> None:
        make_activation = activation_named(activation)
        widths = [math.prod(shape), *sizes_named("hidden", hidden, empty=True)]
        layers: list[torch.nn.Module] = [nn.Flatten()]
        for inputs, outputs in pairwise(widths):
            layers.append(nn.Linear(inputs, outputs, bias=not norm))
            if norm:
                layers.append(nn.BatchNorm1d(outputs))
            layers.append(make_activation())
            layers += dropouts(dropout)
        super().__init__(*layers, nn.Linear(widths[-1], classes))


class CNN(nn.Sequential):
    """Convolutions, each followed by max pooling, BatchNorm and an activation; then fully connected layers.

    channels: outputs of each convolution. kernels, strides, paddings, pools: one number for all or one for each
    (a pool of 1 is none). hidden: widths between the convolutions and the logits. dropout: before each Linear.
    Pooling comes first: normalization and activation then have fewer elements to process.
    """

    def __init__(
        self,
        shape: Shape,
        classes: int,
        channels: Sequence[int] = (32, 64, 64),
        kernels: int | Sequence[int] = 3,
        strides: int | Sequence[int] = 1,
        paddings: int | Sequence[int] = 1,
        pools: int | Sequence[int] = (1, 2, 2),
        hidden: Sequence[int] = (),
        activation: str = "ReLU",
        dropout: float = 0.0,
    ) -> None:
        make_activation = activation_named(activation)
        channels = sizes_named("channels", channels)
        columns = {"kernels": kernels, "strides": strides, "paddings": paddings, "pools": pools}
        checked = {key: sizes_named(key, v, least=0 if key == "paddings" else 1) for key, v in columns.items()}
        each = {key: v * len(channels) if isinstance(columns[key], int) else v for key, v in checked.items()}
        for key, values in each.items():
            if len(values) != len(channels):
                raise BadInput(f"cnn: {key}={values} has {len(values)} numbers for {len(channels)} convolutions.")
        (planes, height, width), layers = shape, list[torch.nn.Module]()
        for outputs, kernel, stride, padding, pool in zip(channels, *each.values(), strict=True):
            layers.append(nn.Conv2d(planes, outputs, kernel, stride, padding, bias=False))
            if pool > 1:
                layers.append(nn.MaxPool2d(pool))
            layers += [nn.BatchNorm2d(outputs), make_activation()]
            planes = outputs
            height, width = (((size + 2 * padding - kernel) // stride + 1) // pool for size in (height, width))
            if min(height, width) < 1:
                raise BadInput(f"cnn: nothing is left of {shape[1]} x {shape[2]} images after {len(layers)} layers.")
        layers.append(nn.Flatten())
        widths = [planes * height * width, *sizes_named("hidden", hidden, empty=True)]
        for inputs, outputs in pairwise(widths):
            layers += [
                *dropouts(dropout),
                nn.Linear(inputs, outputs, bias=False),
                nn.BatchNorm1d(outputs),
                make_activation(),
            ]
        layers += dropouts(dropout)
        super().__init__(*layers, nn.Linear(widths[-1], classes))


class Residual(nn.Module):
    """y = f(g(x) + s(x)): two convolutions g, shortcut s (identity, or 1x1 where the shape changes), activation f."""

    def __init__(self, inputs: int, outputs: int, stride: int, activation: Callable[[], torch.nn.Module]) -> None:
        super().__init__()
        self.body = nn.Sequential(
            nn.Conv2d(inputs, outputs, 3, stride, 1, bias=False),
            nn.BatchNorm2d(outputs),
            activation(),
            nn.Conv2d(outputs, outputs, 3, 1, 1, bias=False),
            nn.BatchNorm2d(outputs),
        )
        self.shortcut: torch.nn.Module = nn.Identity()
        if stride != 1 or inputs != outputs:
            self.shortcut = nn.Sequential(nn.Conv2d(inputs, outputs, 1, stride, bias=False), nn.BatchNorm2d(outputs))
        self.activation = activation()

    def forward(self, input: Tensor) -> Tensor:
        return self.activation(F.add(self.body(input), self.shortcut(input)))


class ResNet(nn.Sequential):
    """A small residual net: a convolution, stages of residual blocks, global average pooling, Linear.

    widths: channels of each stage; every stage but the first halves the image. blocks: residual blocks in each stage.
    """

    def __init__(
        self,
        shape: Shape,
        classes: int,
        widths: Sequence[int] = (16, 32, 64),
        blocks: int = 1,
        activation: str = "ReLU",
        dropout: float = 0.0,
    ) -> None:
        make_activation = activation_named(activation)
        widths, (blocks,) = sizes_named("widths", widths), sizes_named("blocks", [blocks])
        layers: list[torch.nn.Module] = [
            nn.Conv2d(shape[0], widths[0], 3, 1, 1, bias=False),
            nn.BatchNorm2d(widths[0]),
            make_activation(),
        ]
        inputs = widths[0]
        for stage, outputs in enumerate(widths):
            for block in range(blocks):
                stride = 2 if stage and not block else 1
                layers.append(Residual(inputs, outputs, stride, make_activation))
                inputs = outputs
        layers += [nn.AdaptiveAvgPool2d(1), nn.Flatten()]
        layers += dropouts(dropout)
        super().__init__(*layers, nn.Linear(inputs, classes))


MODELS: dict[str, Callable[..., torch.nn.Module]] = {"mlp": MLP, "cnn": CNN, "resnet": ResNet}


def build(name: str, shape: Shape, classes: int, options: dict[str, Any]) -> torch.nn.Module:
    """The model `name`: mlp, cnn, resnet, or the import path of a class or function that gives a torch.nn.Module.

    It is called with `options`. If its signature has them, it also gets shape, in_channels and in_chans, and unless
    `classes` is 0 (not known), classes and num_classes: the number of outputs per input.
    Raises BadInput for unknown names and options, with the nearest match.
    """
    maker = MODELS.get(name) or _imported(name)
    parameters = inspect.signature(maker).parameters
    takes_any = any(p.kind is p.VAR_KEYWORD for p in parameters.values())
    for option in options:
        if option not in parameters and not takes_any:
            raise unknown(
                f"option of model {name}", str(option), [p for p in parameters if p not in ("shape", "classes")]
            )
    if maker in (CNN, ResNet) and len(shape) != 3:
        raise BadInput(f"Model {name} reads images (C, H, W), the data has inputs of shape {tuple(shape)}. Use mlp.")
    known: dict[str, Any] = {"shape": shape, "in_channels": shape[0], "in_chans": shape[0]} if shape else {}
    if classes:
        known |= {"classes": classes, "num_classes": classes}
    elif maker in MODELS.values():
        raise BadInput(
            f"Model {name} needs to know how many classes there are. Give the data set or data module an attribute "
            "`classes`: how many, or their names. To predict numbers add --model.task=regression."
        )
    given = {key: value for key, value in known.items() if key in parameters}
    try:
        model = maker(**{**given, **options})
    except (TypeError, ValueError, RuntimeError, LookupError, AttributeError, ArithmeticError) as error:
        raise error if isinstance(error, BadInput) else BadInput(f"Model {name} cannot be built: {error}") from error
    if not isinstance(model, torch.nn.Module):
        raise BadInput(f"Model {name} gave a {type(model).__name__}, expected a torch.nn.Module.")
    return model


def _imported(path: str) -> Callable[..., torch.nn.Module]:
    maker = imported("model", path, MODELS)
    if wrong := _no_maker(maker):
        raise BadInput(
            f"Model {path} {wrong}. Expected a subclass of torch.nn.Module, or a function that builds one "
            "(annotate yours with -> torch.nn.Module)."
        )
    return maker


def _no_maker(maker: Any) -> str:
    """The reason why calling `maker` cannot give a module, found without calling it; "" where there is none."""
    if isinstance(maker, type):
        return "" if issubclass(maker, torch.nn.Module) else "is a class that is no subclass of torch.nn.Module"
    if isinstance(maker, torch.nn.Module) or not callable(maker):
        return f"is a {type(maker).__name__}"
    function = inspect.unwrap(maker)
    try:
        gives = inspect.signature(function, eval_str=True).return_annotation
    except (
        ValueError,
        NameError,
        TypeError,
        AttributeError,
        SyntaxError,
    ):  # a builtin, or a name imported for type checkers only
        gives = inspect.Signature.empty
    if isinstance(gives, type) and gives is not inspect.Signature.empty and not issubclass(gives, torch.nn.Module):
        return f"is annotated to return {gives.__name__}"
    if gives is None:
        return "is annotated to return None"
    if (getattr(function, "__module__", None) or "").partition(".")[0] in sys.stdlib_module_names:
        return "is a function of Python's standard library"
    return ""
