"""Two ways to write a row: `layer(...)` for a module, `function(...)` for a function."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import torch

import manual_backprop as mb
from manual_backprop.engine.operators import torch_function

from ..case import Case, Spec

COMPLEX = {"without": {check: "the check is for real numbers" for check in ("bfloat16", "float32")}}
"""Further fields of a row with complex inputs."""


def _label(name: str, args: tuple, kwargs: dict) -> str:
    return "-".join(
        [name, *(str(a) for a in args), *(f"{k}={getattr(v, '__name__', v)}" for k, v in kwargs.items())]
    ).replace(" ", "")


def layer(name: str, *args: Any, inputs: tuple[Spec, ...], train: bool = True, tag: str = "", row: dict | None = None,
          **kwargs: Any) -> Case:  # fmt: skip
    """`mb.nn.<name>(*args, **kwargs)` on `inputs`, in training mode or not; `row` holds further fields of the Case."""

    def make(namespace: Any) -> Any:
        return getattr(namespace, name)(*args, **kwargs).train(train)

    label = _label(name, args, kwargs) + ("" if train else "-eval") + (f"-{tag}" if tag else "")
    return Case(label, partial(make, mb.nn), partial(make, torch.nn), inputs, **(row or {}))


def function(name: str, inputs: tuple[Spec, ...], twin: Callable | None = None, tag: str = "", row: dict | None = None,
             **kwargs: Any) -> Case:  # fmt: skip
    """`mb.functional.<name>(*inputs, **kwargs)`; the twin is torch.nn.functional.<name>, or torch.<name>."""
    theirs = twin or torch_function(name)
    label = _label(name, (), kwargs) + (f"-{tag}" if tag else "")
    ours = getattr(mb.functional, name)
    return Case(
        label,
        lambda: partial(ours, **kwargs) if kwargs else ours,
        lambda: partial(theirs, **kwargs) if kwargs else theirs,
        inputs,
        **(row or {}),
    )
