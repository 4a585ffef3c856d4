"""Draws a program."""

from __future__ import annotations

import contextlib
import random
import re
from collections.abc import Callable
from dataclasses import replace

import torch

from . import steps_blocks as blocks
from . import steps_layers as layers
from . import steps_losses as losses
from . import steps_tensors as tensors
from .draft import Draft, Reject
from .modes import SECOND, TRANSFORM, Modes
from .program import FLOATS, Program

# What a step may be, and how often.
FAMILIES: dict[Callable[[Draft], None], float] = {
    layers.activation: 6,
    tensors.arithmetic: 6,
    tensors.chain: 1.5,
    tensors.view: 8,
    layers.activation_in_place: 8,
    tensors.write: 6,
    tensors.write_into_view: 4,
    layers.linear: 4,
    layers.dropout: 3,
    layers.norm: 4,
    layers.convolution: 4,
    layers.pool: 3,
    layers.prelu: 1,
    layers.bilinear: 1,
    blocks.attention: 3,
    blocks.embedding: 1.5,
    blocks.two_as_one: 1.5,
    tensors.product: 2,
    tensors.parts: 2,
    tensors.reduction: 2,
    tensors.joined_values: 1,
    tensors.padded: 1,
    tensors.only_torchs: 2,
    tensors.reshaped_in_place: 0.5,
    tensors.around: 1.5,
    blocks.again: 2,
    blocks.block: 2,
    blocks.wrapped: 0.7,
    blocks.recurrent: 0.4,
}
LOSSES = (losses.pair_loss, losses.classes, losses.binary)

# ask: how often
ASKS = {
    "backward": 10, "twice": 1, "twice_freed": 0.5, "accumulate": 1, "one_by_one": 1, "one_by_one_freed": 1,
    "some": 1, "batched": 0.5, "edited": 0.5, "double": 4, "double_backward": 0.5, "forward": 0.2,
    "func_grad": 1.5, "func_vjp": 0.7, "jvp": 1, "vmap": 1, "vmap_grad": 1, "jacrev": 0.7, "jacfwd": 0.7,
    "jacobian": 0.7, "hessian": 1, "functional_call": 1, "dual": 0.7, "double_trick": 0.7, "hvp": 0.5,
    "train": 2, "no_grad": 0.3, "inference": 0.3,
}  # fmt: skip
SMALL = ("jacrev", "jacfwd", "jacobian", "hessian")


def generate(rng: random.Random, compiled: bool = False, focus: str = "") -> Program:
    """A program; with `compiled`, now and then one under torch.compile, which takes seconds; with a `focus`, one in
    whose steps this occurs (as a rule: after so many that do not have it, any)."""
    for _ in range(20 if focus else 1):
        program = draw(rng, compiled, focus)
        if program.modes.watch == "tensor_hooks" and writes(program):  # on which of two views a hook stays is chance
            program = program.with_modes(watch="module_hooks")
        if any(focus in code for code in (*program.modules, *(step.code for step in program.steps))):
            break
    return program


def writes(program: Program) -> bool:
    """Whether one of its steps writes in place."""
    codes = (*program.modules, *(step.code for step in program.steps))
    return any(re.search(r"_\(|inplace=True|\] = |[-+*/]= ", code) for code in codes)


def draw(rng: random.Random, compiled: bool, focus: str) -> Program:
    modes = draw_modes(rng, compiled)
    if modes.watch == "backward_hooks" and modes.ask in SECOND:  # which of them run twice is for each graph to say
        modes = replace(modes, watch="module_hooks")
    if modes.hooks == "mutation" and modes.ask == "edited":
        modes = replace(modes, ask="twice")
    if modes.hooks == "mutation" and modes.ask == "inference":  # it asks for versions, which no tensor has there
        modes = replace(modes, ask="no_grad")
    if modes.checkpoint and (modes.between or modes.ask == "edited"):  # what is run again would see other numbers
        modes = replace(modes, between=None, ask="backward" if modes.ask == "edited" else modes.ask)
    if modes.ask in ("vmap", "vmap_grad", "jvp", "dual", "jacfwd", "hessian"):  # torch's own fail under autocast
        modes = replace(modes, autocast=None)
    large = modes.ask not in SMALL and rng.random() > 0.45
    d = Draft(rng, getattr(torch, modes.dtype), 400_000 if large else 3_000, 0.04, focus)
    d.smooth = modes.ask in SECOND or modes.ask in TRANSFORM
    kinds = (("normal",) if modes.ask == "train" else ("normal", "normal", "large")) if d.smooth else FLOATS
    d.new(first_shape(rng, large) or ((3,) if d.smooth else ()), rng.choice(kinds), grad=True)
    wanted = rng.randint(1, 7)
    families, weights = list(FAMILIES), list(FAMILIES.values())
    if rng.random() > 0.8:  # a leaf cannot be written into, nor its views: often begin with a value that can
        d.add("F.mul({0}, 1.5)", "x0")
    for _ in range(4 * wanted):
        if len(d.steps) >= wanted or d.over:
            break
        with contextlib.suppress(Reject):
            rng.choices(families, weights)[0](d)
    if not d.over and rng.random() > 0.6:
        with contextlib.suppress(Reject):
            rng.choice(LOSSES)(d)
        if not d.over and rng.random() > 0.6:
            with contextlib.suppress(Reject):
                rng.choice([tensors.arithmetic, tensors.write, layers.activation_in_place])(d)
    outputs = [d.values[-1]]
    if rng.random() > 0.4:  # all that nothing has been made from: else many a step serves for nothing
        read = {name for step in d.steps for name in step.at if step.out}
        outputs += [name for step in d.steps for name in step.out if name in d.values and name not in read][-3:]
    elif rng.random() > 0.5:
        outputs += [d.pick()]
    outputs = [n for n in dict.fromkeys(outputs) if d.tensor(n).is_floating_point()] or ["x0"]
    if d.random_numbers or modes.ask in TRANSFORM:  # the random stream and forward mode's levels are the process's
        modes = replace(modes, threads=1)
    modes = replace(modes, frozen=tuple(k for k in range(len(d.modules)) if rng.random() > 0.92))
    return Program(tuple(d.inputs), tuple(d.modules), tuple(d.steps), tuple(outputs), modes)


def draw_modes(rng: random.Random, compiled: bool) -> Modes:
    """Mostly one thing that is unusual, seldom more."""
    changes: dict[str, object] = {}
    if rng.random() > 0.55:
        changes["dtype"] = rng.choice(["float32"] * 12 + ["bfloat16"] * 2 + ["float16"])
    changes["route"] = rng.choice(["functional", "modules", "explicit"])
    changes["ask"] = rng.choices(list(ASKS), list(ASKS.values()))[0]
    changes["loss"] = rng.choice(["sum", "random", "square", "mean", "transposed", "flipped"])
    for _ in range(rng.choice([0, 1, 1, 2])):
        which = rng.choice(
            ["saving", "checkpoint", "hooks", "autocast", "watch", "between", "eval", "formula", "threads", "tied"]
        )
        if which == "saving":
            changes["saving"] = rng.choice(["off", "exact", "int4", "bf16", "int8"])
        elif which == "checkpoint":
            changes["checkpoint"] = rng.choice(["nonreentrant", "reentrant"])
            changes["span"] = rng.choice([(0, 100), (0, 50), (30, 70), (50, 100)])
        elif which == "hooks":
            changes["hooks"] = rng.choice(["identity", "copy", "copy_back", "save_on_cpu", "mutation"])
        elif which == "autocast":
            changes["autocast"], changes["dtype"] = rng.choice(["bfloat16", "bfloat16", "float16"]), "float32"
        elif which == "watch":
            changes["watch"] = rng.choice(
                ["tensor_hooks", "module_hooks", "backward_hooks", "forward_hooks", "anomaly"]
            )
        elif which == "between":
            changes["between"] = rng.choice(["data", "no_grad_bias", "no_grad", "free", "outputs"])
        elif which == "eval":
            changes["training"] = False
        elif which == "formula":
            changes["formula"] = True
        elif which == "tied":
            changes["tied"] = True
        elif which == "threads":
            changes["threads"] = 3
    if compiled and rng.random() > 0.98:
        changes["ask"] = "compile"
    if changes.get("threads") == 3:  # choices of the whole process stay as they are
        for name in ("saving", "formula", "hooks", "autocast"):
            changes.pop(name, None)
        if changes.get("watch") == "anomaly":
            del changes["watch"]
    return Modes(**changes)  # type: ignore[arg-type]


def first_shape(rng: random.Random, large: bool) -> tuple[int, ...]:
    axes = rng.choice([2, 3, 4, 1, 2, 3, 4, 5, 0])
    if not large:
        sizes = [rng.choice([3, 4, 2, 6, 1, 5, 8] if axes < 4 else [2, 3, 1, 4]) for _ in range(axes)]
        if axes and rng.random() > 0.9:
            sizes[rng.randrange(axes)] = 0
        return tuple(sizes)
    if rng.random() > 0.9 and axes:
        return {1: (300_001,), 2: (600, 512), 3: (8, 300, 128), 4: (4, 16, 72, 72), 5: (2, 4, 24, 40, 40)}[axes]
    return {
        0: (16384,),
        1: (20_000,),
        2: rng.choice([(128, 128), (257, 64), (4, 4096)]),
        3: rng.choice([(4, 64, 64), (16, 33, 32), (2, 8, 1024)]),
        4: rng.choice([(4, 4, 32, 32), (2, 16, 23, 24), (3, 8, 28, 28)]),
        5: (2, 4, 8, 16, 17),
    }[axes]
