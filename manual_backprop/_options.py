"""What the commands `audit`, `plan` and `trace` share: a model by name, and random images for it."""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor

from .convert import convert
from .errors import BadInput

CLASSES = 10
EXPECTED = "expected positive sizes with commas between them, such as 2,3,64,64"


def add_model(parser: argparse.ArgumentParser, **model: Any) -> None:
    """The options --model, --model-args, --input and --no-convert."""
    parser.add_argument("--model", metavar="NAME", **model,
                        help="mlp, cnn, resnet, or an import path such as torchvision.models.resnet18")  # fmt: skip
    parser.add_argument("--model-args", default="{}", metavar="JSON",
                        help="arguments of the model, such as '{\"num_classes\": 100}'")  # fmt: skip
    parser.add_argument("--input", default="2,1,28,28", metavar="N,C,H,W",
                        help="shape of the batch of random inputs (default 2,1,28,28)")  # fmt: skip
    parser.add_argument("--no-convert", action="store_true", help="use the model as it is, without mb.convert")


def sizes_of(options: argparse.Namespace) -> tuple[int, ...]:
    """The sizes given by --input. Raises BadInput where they are not positive integers."""
    try:
        found = tuple(int(part) for part in options.input.split(","))
    except ValueError:
        found = ()
    if not found or min(found) < 1:
        raise BadInput(f"--input {options.input!r}: {EXPECTED}")
    return found


def random_batch(options: argparse.Namespace) -> Tensor:
    """A tensor of the sizes of --input with normally distributed values, the same at every call."""
    try:
        return torch.randn(sizes_of(options), generator=torch.Generator().manual_seed(0))
    except (RuntimeError, TypeError, OverflowError) as error:  # more than memory holds, or than 64 bits count
        why = str(error).splitlines()[0]
        raise BadInput(f"--input {options.input!r}: such a batch cannot be made: {why}") from error


def build_model(options: argparse.Namespace, sizes: Sequence[int]) -> torch.nn.Module:
    """The model that --model names, for inputs of those sizes. Raises BadInput where there is no such model."""
    from .training.models import build

    try:
        arguments = json.loads(options.model_args)
    except json.JSONDecodeError as error:
        raise BadInput(f"--model-args {options.model_args!r} is not valid JSON: {error}") from error
    if not isinstance(arguments, dict):
        raise BadInput(f'--model-args {options.model_args!r}: expected a JSON object, such as {{"num_classes": 100}}')
    channels, height, width = (*sizes[1:], 1, 1, 1)[:3]
    model = build(options.model, (channels, height, width), CLASSES, arguments)
    return model if options.no_convert else convert(model)


@contextmanager
def running(options: argparse.Namespace) -> Iterator[None]:
    """Turn the error of a model that cannot run on the batch into BadInput, which names the model and the sizes."""
    try:
        yield
    except (RuntimeError, TypeError, ValueError, IndexError) as error:
        if isinstance(error, BadInput):
            raise
        raise BadInput(f"{options.model} cannot run on a batch of sizes {options.input}: {error}") from error
