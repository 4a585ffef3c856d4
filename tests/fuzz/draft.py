"""A program while it is drawn: each step is tried on the meta device, which tells its shape, or that torch refuses."""

from __future__ import annotations

import random
import types
import warnings
from collections.abc import Callable
from typing import Any

import torch
import torch.nn.utils.prune
from torch import Tensor, nn

from .program import SQUARE, TOGETHER, Input, Step


class Reject(Exception):
    """No value fits what was to be added, or torch refuses it."""


def forbidden(tensor: Tensor) -> bool:
    """Whether torch refuses to write into it."""
    try:  # a view that a later write has made invalid raises when it is asked
        return tensor.is_leaf and tensor.requires_grad
    except RuntimeError:
        return False


def overlapping(tensor: Tensor) -> bool:
    """Whether elements share memory, as in `unfold`: which of them is written last is for the order of a loop. (Those
    of `expand` torch refuses to write.)"""
    axes = sorted((stride, size) for size, stride in zip(tensor.shape, tensor.stride(), strict=True) if size > 1)
    reach = 0  # of the axes that are closer together in memory
    for stride, size in axes:
        if 0 < stride <= reach:
            return True
        reach += stride * (size - 1)
    return False


class Draft:
    """Inputs, modules and steps so far, and every value as a tensor on the meta device.

    A `focus` is part of a name that is chosen whenever it can be. `rng` draws: Hypothesis shrinks what it has drawn
    towards the first of several choices and the lowest number.
    """

    def __init__(self, rng: random.Random, dtype: torch.dtype, limit: int, errors: float, focus: str = "") -> None:
        self.rng, self.dtype, self.limit, self.errors = rng, dtype, limit, errors
        self.focus = focus.removeprefix("F.").rstrip("_(")
        self.inputs: list[Input] = []
        self.modules: list[str] = []
        self.steps: list[Step] = []
        self.values: list[str] = []
        self.over = False  # torch has raised: nothing can follow
        self.random_numbers = False
        self.smooth = False  # at a kink torch's second derivatives, and those from left to right, follow no rule
        together = {name: eval(code, {"nn": nn}) for name, code in TOGETHER.items()}
        functions = types.SimpleNamespace(**(vars(torch) | vars(nn.functional) | together))
        own: dict[str, Any] = {"torch": torch}
        exec(SQUARE, own)
        self.meta: dict[str, Any] = {"Square": own["Square"], "torch": torch, "nn": nn, "m": [], "F": functions}

    # choices

    def one_of(self, *choices: Any) -> Any:
        if self.focus and self.chance(0.8):
            choices = tuple(c for c in choices if self.focus in str(c)) or choices
        return self.rng.choice(choices)

    def chance(self, probability: float) -> bool:
        return self.rng.random() > 1 - probability

    def number(self) -> float:
        return self.rng.choice([0.5, 2.0, -1.0, 0.1, 1.0, -0.3, 3, 0.0])

    def size(self) -> int:
        return self.rng.choice([3, 2, 4, 1, 5, 8])

    def axis(self, value: str) -> int:
        """One of the axes, counted from either end."""
        axes = self.tensor(value).dim()
        if not axes:
            raise Reject
        return self.rng.randrange(-axes, axes)

    # values

    def tensor(self, name: str) -> Tensor:
        value: Tensor = self.meta[name]
        return value

    def shape(self, name: str) -> tuple[int, ...]:
        return tuple(self.tensor(name).shape)

    def pick(self, fits: Callable[[Tensor], bool] = lambda t: True) -> str:
        """A floating value, often the newest."""
        found = [n for n in self.values if self.tensor(n).is_floating_point() and fits(self.tensor(n))]
        if not found:
            raise Reject
        return found[-1] if self.rng.random() < 0.7 else self.rng.choice(found)

    def with_axes(self, least: int, most: int) -> str:
        return self.pick(lambda t: least <= t.dim() <= most)

    def new(self, shape: tuple[int, ...], kind: str = "normal", grad: bool | None = None, high: int = 1) -> str:
        """A further input."""
        floating = kind not in ("integers", "mask")
        if grad is None:
            grad = floating and self.rng.random() < 0.6
        layouts = ["plain"]
        if floating and not grad and self.chance(0.02):
            layouts = ["inference"]
        if floating and self.chance(0.3):
            layouts += ["transposed"] if len(shape) > 1 else []
            layouts += ["spread", "shifted"]
            layouts += ["expanded"] if shape and shape[0] else []
            layouts += {4: ["channels_last"], 5: ["channels_last_3d"]}.get(len(shape), [])
        name = f"x{len(self.inputs)}"
        made = Input(name, tuple(shape), kind, self.rng.choice(layouts), grad, high)
        self.inputs.append(made)
        dtype = self.dtype if floating else torch.bool if kind == "mask" else torch.int64
        meta = torch.empty(shape, dtype=dtype, device="meta")
        if made.layout == "expanded":
            meta = meta[:1].expand(shape)
        self.meta[name] = meta.requires_grad_(grad)
        self.values.append(name)
        return name

    def writable(self, least: int = 0) -> str:
        """A value with so many axes to write into; now and then one that torch refuses."""
        return self.pick(lambda t: t.dim() >= least and not overlapping(t) and (not forbidden(t) or self.chance(0.02)))

    def other(self, shape: tuple[int, ...], **kwargs: Any) -> str:
        """A value of that shape: one that is there, or a new input."""
        found = [n for n in self.values if self.shape(n) == tuple(shape) and self.tensor(n).is_floating_point()]
        if found and not kwargs and self.rng.random() < 0.6:
            return str(self.rng.choice(found))
        return self.new(shape, **kwargs)

    # steps

    def layer(self, code: str, *at: str, call: str = "{m}({0})") -> str:
        """A module, or one that is there already and is made by the same code."""
        known = [k for k, made in enumerate(self.modules) if made == code]
        if known and self.rng.random() < 0.5:
            return self.add(call, *at, module=known[0])
        with torch.device("meta"), warnings.catch_warnings():
            warnings.simplefilter("ignore")
            try:
                made = eval(code, {"nn": nn, "torch": torch}).to(self.dtype)
            except Exception as error:
                raise Reject from error
        if sum(p.numel() for p in made.parameters()) > 100_000:
            raise Reject
        self.modules.append(code)
        self.meta["m"].append(made)
        return self.add(call, *at, module=len(self.modules) - 1)

    def add(self, code: str, *at: str, module: int | None = None, makes: int = 1) -> str:
        """One more step; the name of its (first) result."""
        out = tuple(f"v{len(self.steps)}{'abcdefgh'[k] if makes > 1 else ''}" for k in range(makes))
        step = Step(code, at, out, module)
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                exec(step.line(), self.meta)
        except Exception as error:
            if not self.chance(self.errors) or isinstance(error, NotImplementedError):
                raise Reject from error
            self.over = True  # kept: this library has to raise as well
        else:
            for name in out:
                if not isinstance(self.meta[name], Tensor) or self.meta[name].numel() > self.limit:
                    raise Reject
                self.values.append(name)
        self.steps.append(step)
        return out[0] if out else at[0]
