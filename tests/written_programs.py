"""Random programs (tests/fuzz) written out, run, and compared with torch's gradients.

python -m tests.written_programs --seed 1 --count 300    what differs, and how many were refused
"""

from __future__ import annotations

import argparse
import sys
import types
import warnings
from collections import Counter
from typing import Any

import torch
from torch import Tensor

import manual_backprop as mb
from manual_backprop.errors import BadInput

from .fuzz.hunt import drawn
from .fuzz.modes import Modes
from .fuzz.program import IMPORTS

SMALL = 1e-8
"""Of the largest gradient, in float64: through sums that cancel."""


class Whole(torch.nn.Module):
    """A program as a module of its inputs."""

    def __init__(self, m: torch.nn.Module, program: Any, functions: dict[str, Any]) -> None:
        super().__init__()
        self.m = m
        self.program, self.functions = program, types.SimpleNamespace(**functions)

    def forward(self, *inputs: Tensor) -> list[Tensor]:
        return self.program(self.functions, self.m, *inputs)  # type: ignore[no-any-return]


def loss_of(outputs: list[Tensor], _: Any) -> Tensor:
    """A sum of all outputs that have a gradient, each with weights of its own."""
    parts = []
    for output in outputs:
        if output.requires_grad:
            steps = torch.arange(1, output.numel() + 1, dtype=torch.float64).reshape(output.shape)
            part = (output.double() if not output.is_complex() else output.abs()) * (0.7 * steps).sin()
            parts.append(part.sum())
    return torch.stack(parts).sum()


def dense(gradient: Tensor | None) -> Tensor | None:
    """A gradient that an embedding gives as a sparse tensor, with its zeros."""
    return gradient.to_dense() if gradient is not None and gradient.is_sparse else gradient


def check(seed: int, number: int, level: str = "formulas") -> str:
    """What is wrong with one program: "" for nothing, "refused: ..." for what says that it cannot be written."""
    program = drawn(seed, number)
    program = program.with_modes(**vars(Modes()))
    names: dict[str, Any] = {"__name__": "program"}
    exec(compile(IMPORTS + program.script(), "<program>", "exec"), names)
    found: dict[str, dict[str, Tensor | None]] = {}
    try:
        model, inputs = Whole(names["modules"](), names["program"], names["THEIRS"]), names["inputs"]()
        torch.manual_seed(7)
        expected = loss_of(model(*inputs), None)
        expected.backward()
    except Exception as error:
        return f"torch: {type(error).__name__}"
    leaves = {**dict(zip(names["NAMES"], inputs, strict=True)), **dict(model.named_parameters())}
    found["theirs"] = {n: dense(t.grad) for n, t in leaves.items() if t.requires_grad}
    ours, again = Whole(names["modules"](), names["program"], names["THEIRS"]), names["inputs"]()
    mb.convert(ours.m)
    torch.manual_seed(7)
    try:
        written = mb.write_out(ours, *again, loss=loss_of, level=level)
    except BadInput as error:
        return f"refused: {error}"[:150]
    torch.manual_seed(7)
    loss, grads = written(*again)
    if not torch.allclose(loss, expected, rtol=1e-9, atol=1e-9, equal_nan=True):
        return f"loss {loss.item()} {expected.item()}"
    named = {name: grads.get(place) for name, place in zip(names["NAMES"], written.inputs, strict=True)}
    largest = max([g.abs().max().item() for g in found["theirs"].values() if g is not None and g.numel()], default=0.0)
    largest = largest if largest < float("inf") else 1.0
    for name, wanted in found["theirs"].items():
        got = dense(named.get(name, grads.get(name)))
        if wanted is None or not wanted.numel():
            continue
        if got is None:
            if wanted.abs().max() > 0:
                return f"no gradient of {name}"
            continue
        if got.shape != wanted.shape or got.dtype != wanted.dtype:
            return f"{name}: {tuple(got.shape)} {got.dtype}, {tuple(wanted.shape)} {wanted.dtype}"
        if not torch.allclose(got, wanted, rtol=SMALL, atol=SMALL * max(largest, 1.0), equal_nan=True):
            return f"{name} differs by {(got - wanted).abs().max().item():.1e}"
    return ""


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--first", type=int, default=0)
    parser.add_argument("--count", type=int, default=100)
    parser.add_argument("--level", default="formulas", choices=("formulas", "torch"))
    options = parser.parse_args()
    warnings.simplefilter("ignore")
    wrong, said = 0, Counter[str]()
    for number in range(options.first, options.first + options.count):
        try:
            what = check(options.seed, number, options.level)
        except Exception as error:
            what = f"{type(error).__name__}: {str(error)[:200]}"
        kind = what.partition(":")[0]
        if what and kind not in ("torch", "refused"):
            wrong += 1
            print(f"program {number}: {what}", flush=True)
        said[what[:110] if kind == "refused" else "right" if not what else kind if kind == "torch" else "wrong"] += 1
    for what, count in said.most_common():
        print(f"{count:5}  {what}")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
