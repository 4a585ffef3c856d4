"""What a random program is: plain data, written as a script. What is run is that script."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

from .modes import Modes, run_function

KINDS = {
    "normal": "torch.randn({shape})",
    "uniform": "torch.rand({shape})",
    "kinks": "torch.tensor([0.0, 1, -1, 0.5, -0.5, 0.1, 3, -3, 6])[torch.randint(0, 9, {shape})]",  # many equal, too
    "linspace": "torch.linspace(-2, 2, {count}).reshape({shape})",
    "large": "torch.randn({shape}) * 30",
    "integers": "torch.randint(0, {high}, {shape})",
    "mask": "torch.rand({shape}) < 0.7",
}

FLOATS = ("normal", "kinks", "linspace", "large")

# The same numbers in another memory layout.
LAYOUTS = {
    "plain": "{made}",
    "transposed": "({made}).transpose(0, -1).contiguous().transpose(0, -1)",
    "spread": "torch.stack([t := {made}, t], -1)[..., 0]",
    "channels_last": "({made}).contiguous(memory_format=torch.channels_last)",
    "channels_last_3d": "({made}).contiguous(memory_format=torch.channels_last_3d)",
    "expanded": "({made})[:1].expand({shape})",
    "inference": "torch.inference_mode()(lambda: {made})()",
    "shifted": "nn.functional.pad(({made}).flatten(), (1, 0))[1:].view({shape})",
}


@dataclass(frozen=True)
class Input:
    """A tensor that the program takes."""

    name: str
    shape: tuple[int, ...]
    kind: str = "normal"
    layout: str = "plain"
    grad: bool = False
    high: int = 1

    @property
    def floating(self) -> bool:
        return self.kind not in ("integers", "mask")

    def code(self) -> str:
        made = KINDS[self.kind].format(shape=self.shape, count=math.prod(self.shape), high=self.high)
        if self.floating:
            made = f"({made}).to(DTYPE)"
        made = LAYOUTS[self.layout].format(made=made, shape=self.shape)
        return f"({made}).requires_grad_()" if self.grad else made


@dataclass(frozen=True)
class Step:
    """One line: `out = code` with `{0}`, `{1}` for the values in `at`, `{m}` for the module; no `out`: a statement."""

    code: str
    at: tuple[str, ...]
    out: tuple[str, ...] = ()
    module: int | None = None

    def line(self) -> str:
        module = "" if self.module is None else f"m[{self.module}]"
        code = self.code.format(*self.at, m=module)
        return f"{', '.join(self.out)} = {code}" if self.out else code


@dataclass(frozen=True)
class Program:
    """Inputs, modules (as code), steps over named values, the values that come out, and how all of it is run."""

    inputs: tuple[Input, ...]
    modules: tuple[str, ...]
    steps: tuple[Step, ...]
    outputs: tuple[str, ...]
    modes: Modes

    def script(self) -> str:
        """The definitions: `run(ours, found)` runs one side and fills the dict `found` with what is compared."""
        names = ", ".join(i.name for i in self.inputs)
        codes = " ".join(step.code for step in self.steps)
        parts = [
            f"DTYPE, SEED = torch.{self.modes.dtype}, 0",
            "THEIRS = vars(torch) | vars(nn.functional)",
            *([SQUARE] if "Square." in codes else []),
            *(f'THEIRS["{name}"] = {code}' for name, code in TOGETHER.items() if name in codes),
            "OURS = THEIRS | {name: getattr(mb.functional, name) for name in mb.functional.__all__}",
            "",
            "def modules():",
            "    torch.manual_seed(SEED)",
            f"    m = nn.ModuleList([{', '.join(self.modules)}])",
            *self.ties(),
            *([MOVED] if self.modules else []),
            *(["    m.eval()"] if not self.modes.training else []),
            *([f"    m[{k}].requires_grad_(False)" for k in self.modes.frozen if k < len(self.modules)]),
            "    return m.to(DTYPE)",
            "",
            f"NAMES = {[i.name for i in self.inputs]}",
            "",
            "def inputs():",
            "    torch.manual_seed(SEED + 1)",
            *(f"    {i.name} = {i.code()}" for i in self.inputs),
            f"    return [{names}]",
            "",
            f"def program(F, m, {names}):",
            *self.body(),
            f"    return [{', '.join(self.outputs)}]",
            "",
            run_function(self),
        ]
        return "\n".join(parts)

    def ties(self) -> list[str]:
        """Layers of one kind and size that share their weight."""
        places = [k for k, code in enumerate(self.modules) if code.startswith("nn.Linear(")]
        pairs = [(i, j) for i in places for j in places if i < j and self.modules[i] == self.modules[j]]
        return [f"    m[{j}].weight = m[{i}].weight" for i, j in pairs] if self.modes.tied else []

    def body(self) -> list[str]:
        """The steps; those under a checkpoint as a function of the values that they read."""
        span = self.modes.checkpointed(len(self.steps))
        lines = [f"    {step.line()}" for step in self.steps]
        if span is None:
            return lines
        first, last = span
        made = [name for step in self.steps[first:last] for name in step.out]
        before = {i.name for i in self.inputs} | {name for step in self.steps[:first] for name in step.out}
        read = list(dict.fromkeys(n for step in self.steps[first:last] for n in step.at if n in before))
        if not made or not read:
            return lines
        kept = list(dict.fromkeys(made))
        reentrant = self.modes.checkpoint == "reentrant"
        inside = [line.strip() for line in lines[first:last]]
        if self.modes.route == "explicit":  # a part that runs again in the backward needs its own
            inside = ["with F.explicit():", *(f"    {line}" for line in inside)]
        return [
            *lines[:first],
            f"    def part({', '.join(read)}):",
            *(f"        {line}" for line in inside),
            f"        return {', '.join(kept)}",
            f"    {', '.join(kept)} = checkpoint(part, {', '.join(read)}, use_reentrant={reentrant})",
            *lines[last:],
        ]

    def code(self) -> str:
        """The whole script, which prints what differs."""
        return f"{IMPORTS}\n{self.script()}\n{COMPARISON}"

    def precision(self) -> str:
        """The coarsest dtype in which numbers are rounded."""
        codes = " ".join(step.code for step in self.steps)
        for dtype, method in (("bfloat16", ".bfloat16()"), ("float16", ".half()"), ("float32", ".float()")):
            if dtype in (self.modes.dtype, self.modes.autocast) or method in codes:
                return dtype
        return "float64"

    def with_modes(self, **changes: object) -> Program:
        return replace(self, modes=replace(self.modes, **changes))  # type: ignore[arg-type]


IMPORTS = """import threading
import types
from contextlib import nullcontext

import torch
import torch.nn.utils.prune
from torch import nn
from torch.autograd import forward_ad
from torch.utils.checkpoint import checkpoint

import manual_backprop as mb
"""

# Two layers as one rule, which torch has as two calls.
TOGETHER = {
    "add_layer_norm": "lambda x, y, *a: (nn.functional.layer_norm(s := x + y, *a), s)",
    "add_rms_norm": "lambda x, y, *a: (nn.functional.rms_norm(s := x + y, *a), s)",
    "bias_activation": "lambda x, b, name: getattr(nn.functional, name)(x + b)",
}

SQUARE = """class Square(torch.autograd.Function):  # a node of the user's
    @staticmethod
    def forward(x):
        return x * x
    @staticmethod
    def setup_context(ctx, inputs, output):
        ctx.save_for_backward(*inputs)
    @staticmethod
    def backward(ctx, delta):
        return 2 * ctx.saved_tensors[0] * delta
"""

MOVED = """    for p in m.parameters():  # off the initial values, where many gradients are simple
        p.data.add_(torch.randn_like(p), alpha=0.1)"""

COMPARISON = """
theirs, ours = {}, {}
for side, found in ((False, theirs), (True, ours)):
    try:
        run(side, found)
    except Exception as error:
        found["error"] = f"{type(error).__name__}: {str(error)[:300]}"
for name in theirs | ours:
    a, b = theirs.get(name), ours.get(name)
    both = isinstance(a, torch.Tensor) and isinstance(b, torch.Tensor) and a.shape == b.shape
    off = (a.double() - b.double()).abs().max() if both and a.numel() else (a, b)
    print(name, "| differs by" if both else "|", off)
"""
