"""Checks that the config.yaml beside a checkpoint cannot run code: only numbers, words and known classes are allowed.

A checkpoint may come from a stranger, and so may the config.yaml beside it. That file could name any import path, which
would be imported and called. It is used only if all its values are on the lists here, or with --trust. Options on the
command line and files named with --config come from the user and are not checked.
"""

import json
import re
from collections.abc import Collection, Iterator
from pathlib import Path
from typing import Any

import torch
import yaml

from ..errors import BadInput
from .datasets import DATASETS
from .models import MODELS
from .own_data import TABLES

SECTIONS = ("trainer", "model", "data", "run", "delta_flow", "finite_watch")
# options in which a string names an object to make or a place to write
OBJECTS = ("logger", "callbacks", "plugins", "profiler", "model_registry", "default_root_dir")
WORD = re.compile(r"[\w:/+-]*")  # cannot be an import path: no dot
TEXT = re.compile(r"[\w./:+-]*")  # cannot be a YAML dict, which jsonargparse would parse: no brace, no blank
# options passed on unchanged: a string in them stays a string
AS_THEY_ARE = (("model", "net_args"), ("data", "dataset_args"))
DEEPEST, NAMED = 20, 3


def read_config(path: Path) -> dict[str, Any]:
    """The sections of a YAML file. Raises BadInput where there are none."""
    try:
        content = yaml.safe_load(path.read_text())
        json.dumps(content, default=str, skipkeys=True)  # raises where a part contains itself
    except (yaml.YAMLError, RecursionError, ValueError) as error:
        raise BadInput(f"{path} is no YAML file: {' '.join(str(error).split())}") from error
    except OSError as error:
        raise BadInput(f"{path} cannot be read: {error}") from error
    held = [content.get(name) for name in SECTIONS] if isinstance(content, dict) else [content]
    wrong = [part for part in held if not isinstance(part, dict | str | None)]
    if wrong or not isinstance(content, dict):
        shown = wrong[0] if wrong else content
        raise BadInput(f"{path} holds {shown!r:.60}, expected sections such as model:, data: and trainer:")
    return content


def require_harmless(path: Path, named: Collection[str] = ()) -> None:
    """Raises BadInput naming the values that could run code. `named`: options that the command line replaces."""
    found = [
        f"{where}: {value!s:.80}"
        for where, value in _leaves("", read_config(path))
        if not (_harmless(where, value) or (where in named and isinstance(value, str)))
    ]
    if found:
        more = f" and {len(found) - NAMED} more" if len(found) > NAMED else ""
        raise BadInput(
            f"{path} lies beside a checkpoint, and could run any code by {'; '.join(found[:NAMED])}{more}. If you "
            "trust its source, add --trust. Otherwise name a file of your own with --config, or the model with "
            "--model.net and the data with --data.dataset or --data."
        )


def _leaves(where: str, value: Any, depth: int = 0) -> Iterator[tuple[str, Any]]:
    """Every value that is no dict or list, with its dotted key: jsonargparse reads a key `a.b` as b inside a."""
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else None
    if items is None or depth > DEEPEST:
        yield where, value
        return
    for key, inner in items:
        yield from _leaves(f"{where}.{key}" if where else str(key), inner, depth + 1)


def _harmless(where: str, value: Any) -> bool:
    top, key, *below = [*where.split("."), ""]
    if (
        not re.fullmatch(r"\w+(\.\w+)*", where)
        or "__" in where
        or not isinstance(value, bool | int | float | str | None)
    ):
        return False
    if top not in SECTIONS:
        return top in ("seed_everything", "ckpt_path", "verbose") or (top == "weights_only" and value in (None, True))
    if where in (
        *SECTIONS,
        "data.augment",
        "data.dataset_args",
        "data.init_args",
        "model.net_args",
        "run.output",
    ):  # a section's value would be another file's name
        return value is None
    if where.endswith(".class_path"):
        return top == "model" and key in ("optimizer", "scheduler") and _known_step(value)
    if (top, key) == ("model", "net"):
        return not below[:-1] and (value is None or _known_model(value))
    if where == "data.dataset":
        return value is None or value in DATASETS or value in TABLES
    if top == "trainer" and key in OBJECTS:
        return value is None or isinstance(value, bool)
    if not isinstance(value, str):
        return True
    if (top, key) in AS_THEY_ARE:
        return bool(TEXT.fullmatch(value))
    if top in ("trainer", "model"):
        return bool(WORD.fullmatch(value)) or _known_step(value)
    return (top, key) != ("data", "init_args") or bool(WORD.fullmatch(value))


def _known_model(name: Any) -> bool:
    """Whether this is a model of the package, or one of torchvision's classifiers."""
    module, _, last = str(name).rpartition(".")
    if module == "manual_backprop.training.models":
        return last in [model.__name__ for model in MODELS.values()]
    if module == "torchvision.models":
        from torchvision import models

        return last in models.list_models(module=models)
    return name in MODELS


def _known_step(name: Any) -> bool:
    """Whether this is an optimizer or a scheduler of torch."""
    module, _, last = str(name).rpartition(".")
    if last == "ReduceLROnPlateau" and module in ("pytorch_lightning.cli", "lightning.pytorch.cli"):
        return True
    known = last in torch.optim.__all__ or last in torch.optim.lr_scheduler.__all__
    return known and bool(re.fullmatch(r"|torch\.optim(\.\w+)?", module))
