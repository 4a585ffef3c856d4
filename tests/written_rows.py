"""Every row of the check suite written out as a program, and run where torch alone can be imported.

python -m tests.written_rows [NAME...] [--level torch]    names of rows, or their beginnings
"""

from __future__ import annotations

import argparse
import copy
import subprocess
import sys
import tempfile
import warnings
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

import manual_backprop as mb
from manual_backprop.engine.torch_private import tree_flatten
from manual_backprop.testing.case import Case
from manual_backprop.testing.cases import CASES
from manual_backprop.testing.subject import SEED, Subject, delta_for, differentiable

from .running_alone import REFUSING

TOLERANCE = 1e-9
"""Of the largest entry, in float64: sums in another order."""

FRESH = (
    REFUSING
    + """
import torch
for name, text, p, tensors, expected, tolerance, seed in torch.load(sys.argv[1], weights_only=False):
    try:
        names = {"__name__": "written"}
        exec(compile(text, name, "exec"), names)
        torch.manual_seed(seed)
        with torch.no_grad():
            loss, kept = names["forward"](p, *tensors)
            found = names["backward"](p, kept)
        for key, wanted in expected.items():
            got = found.get(key)
            if got is None:
                if wanted.abs().sum() != 0:
                    print(f"{name}: no gradient of {key}")
                continue
            assert got.shape == wanted.shape, f"{key}: {tuple(got.shape)} {tuple(wanted.shape)}"
            assert got.dtype == wanted.dtype, f"{key}: {got.dtype} {wanted.dtype}"
            off = (got - wanted).abs().max().item() if got.numel() else 0.0
            if not off <= tolerance * max(1.0, wanted.abs().max().item() if wanted.numel() else 0.0):
                print(f"{name}: {key} differs by {off:.1e}")
    except Exception as error:
        print(f"{name}: {type(error).__name__}: {str(error)[:200]}")
"""
)


class Row(torch.nn.Module):
    """A layer or function of a case as a module."""

    def __init__(self, layer: Any, in_place: bool) -> None:
        super().__init__()
        self.layer = layer
        self.in_place = in_place

    def forward(self, *args: Any) -> Any:
        return self.layer(*([a.clone() if isinstance(a, Tensor) else a for a in args] if self.in_place else args))


def loss_of(output: Any, deltas: list[Tensor]) -> Tensor:
    """Its derivative by each output is that output's delta."""
    reached = [o for o in differentiable(output) if o.requires_grad]
    terms = [(o * d.conj()).sum() for o, d in zip(reached, deltas, strict=True)]
    return torch.stack([t.real if t.is_complex() else t for t in terms]).sum()


def program(case: Case, level: str) -> tuple[str, dict, list[Tensor], dict[str, Tensor]] | None:
    """The text, what it takes, and the expected gradients; None for a row without derivatives."""
    subject = Subject(case)
    if subject.refused:
        return None
    layer = subject.layer
    model = Row(copy.deepcopy(layer).double() if isinstance(layer, torch.nn.Module) else layer, subject.in_place)
    args, wanted = subject.arguments(torch.float64)
    flat = [a for a in tree_flatten(args)[0]]
    for leaf, needs in zip(flat, wanted, strict=True):
        if needs and isinstance(leaf, Tensor):
            leaf.requires_grad_()
    with mb.backend("formula"), mb.explicit():
        torch.manual_seed(SEED)
        probe = copy.deepcopy(model)
        output = probe(*args)
        reached = [o for o in differentiable(output) if o.requires_grad]
        if not reached:
            return None
        deltas = [delta_for(o) for o in reached]
        loss_of(output, deltas).backward()
    expected = {n: p.grad for n, p in probe.named_parameters() if p.grad is not None}
    torch.manual_seed(SEED)
    fresh = [a.detach().clone().requires_grad_(a.requires_grad) if isinstance(a, Tensor) else a for a in flat]
    again = torch.utils._pytree.tree_unflatten(fresh, tree_flatten(args)[1])
    made = mb.write_out(model, *again, targets=deltas, loss=loss_of, level=level)
    for name, tensor in zip(made._signature.names, made._signature.given, strict=True):
        source = next((a for a, f in zip(flat, fresh, strict=True) if f is tensor), None)
        if isinstance(source, Tensor) and source.grad is not None:
            expected[name] = source.grad
    p = {name: t.detach() for name, t in made.parameters().items()}
    tensors = [plain(t) for t in made._signature.given]
    return str(made), {n: plain(t) for n, t in p.items()}, tensors, {n: plain(t) for n, t in expected.items()}


def plain(tensor: Tensor) -> Tensor:
    """Numbers in memory of their own: a file cannot hold one memory as two dtypes."""
    found = tensor.detach().resolve_conj().resolve_neg()
    return found.to_sparse().coalesce() if found.is_sparse else found.clone()


def run(cases: Iterable[Case], level: str) -> tuple[int, list[str]]:
    """How many rows were run, and what was wrong."""
    programs, wrong = [], []
    for case in cases:
        try:
            found = program(case, level)
        except Exception as error:
            wrong.append(f"{case.name}: {type(error).__name__}: {str(error)[:300]}")
            continue
        if found is not None:
            programs.append((case.name, *found, TOLERANCE, SEED))
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "programs.pt"
        torch.save(programs, path)
        done = subprocess.run(
            [sys.executable, "-W", "ignore", "-c", FRESH, str(path)], cwd=folder, capture_output=True, text=True
        )
    wrong += done.stdout.splitlines()
    if done.returncode:
        wrong.append(done.stderr[-1000:])
    return len(programs), wrong


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("names", nargs="*")
    parser.add_argument("--level", default="formulas", choices=("formulas", "torch"))
    options = parser.parse_args()
    warnings.simplefilter("ignore")
    chosen = [c for c in CASES if not options.names or any(c.name.startswith(n) for n in options.names)]
    count, wrong = run(chosen, options.level)
    print("\n".join(wrong))
    print(f"{count} of {len(chosen)} rows run as programs, {len(wrong)} wrong")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
