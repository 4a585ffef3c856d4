"""The page docs/pytorch_examples.md: what was run, how the runs compare, what is left out."""

from __future__ import annotations

import importlib.metadata
import math
import re
import subprocess
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from manual_backprop._files import write_atomically

from .torch_examples_table import LEFT_OUT

if TYPE_CHECKING:
    from .torch_examples import Result

HEAD = """# Scripts of pytorch/examples

Each script of [pytorch/examples](https://github.com/pytorch/examples) that needs no download and no GPU was run as it
is, and again with the imports of `torch.nn` replaced by those of `manual_backprop.nn`. Printed texts and losses were
compared. Nothing else in a script was changed:

* `torch.nn` became `manual_backprop.nn`, wherever it stood: in `import torch.nn as nn`,
  `import torch.nn.functional as F`, `from torch.nn import functional as F`, `torch.nn.ReLU()`;
* `from torch import nn, optim` became two imports;
* `import torch` became `import torch, manual_backprop.nn` where the script then says `torch.nn.` itself.

Runs are short: MNIST was cut to its first {train} training and {test} test pictures, other data are made up, and
scripts that cannot be told to stop were stopped. Both runs start from the same seeds, in processes of their own, each
with one thread.

**gradients**: of the first backward call in float32, the largest difference of a parameter's gradient, by norm, over
the norm of the largest one. At most {gradients:.0e} is allowed, and {first:.0e} for the first loss.

**float32**, **float64**: the largest relative difference of a loss (at each backward call, all digits) or a printed
number; numbers below 1 are compared absolutely, `=` means that no digit differs. In float64 (torch's default dtype, and
`torch.float`, `.float()` in the script) at most {exact:.0e} is allowed. In float32 no bound is set after the first
step: sums in another order differ in their last digit, a maximum or a ReLU near its kink then falls to the other side,
and training goes on from there. Equal losses in float64 show that such drift is rounding. So does **two threads**: how
far torch's own run drifts from itself on two threads in place of one, where ours drifts by more than {first:.0e}.

The siamese network shows how fast rounding can grow. It starts with pixels of 0 to 255 and Adadelta, which divides each
gradient by its own size; the first step takes its loss from 0.9 to 22. First gradients agree to the last digits, and
ten steps later even float64 has lost seven of its sixteen digits, and float32 all but the first.

**rules**, **autograd**: backward nodes of the first loss that are rules, and those that are autograd's own arithmetic.
Imports reach neither functions of `torch` (`torch.cat`, `x + y`) nor models of torchvision, which import torch's
layers. `mb.explicit()` reaches both: **inside** counts the nodes of autograd's that are left where the whole
script runs inside of it. That run is compared in float64, too.

**time**: from one backward call to the next, ours over torch's, after the first ones. These networks and batches are
small, so this is mostly the cost of calls in Python, and of loading data, and each was measured once: single values
are rough. Usual sizes are measured in [benchmarks](../benchmarks/results).

Written by `python -m tests.torch_examples CHECKOUT --data MNIST --out docs`.
"""


COLUMNS = (
    "example", "commands", "data", "result", "losses", "gradients", "float32", "two threads", "float64", "rules",
    "autograd", "inside", "time",
)  # fmt: skip


def difference(value: float) -> str:
    return "" if math.isnan(value) else "=" if value == 0 else f"{value:.0e}"


def row(result: Result) -> str:
    example, trained = result.example, result.losses > 0
    ran = "<br>".join(f"`{command}`" for command in example.commands)
    said = result.wrong or ("same text" if result.same_text else "equal up to rounding")
    if example.unset:
        said = f"{said}; losses not compared: {example.unset}"
    cells = [
        example.folder,
        ran,
        example.given,
        said,
        str(result.losses) if trained else "none",
        difference(result.gradients),
        difference(result.single),
        difference(result.threads),
        difference(result.double),
        str(result.rules) if trained else "",
        str(len(result.autograd)) if trained else "",
        str(len(result.left)) if trained else "",
        "" if math.isnan(result.time) else f"{result.time:.2f}",
    ]
    return f"| {' | '.join(cells)} |"


def nodes(names: list[str]) -> str:
    counted = Counter(re.sub(r"Backward\d*$", "", name) for name in names)
    return ", ".join(f"{name} {count}" if count > 1 else name for name, count in sorted(counted.items()))


def replaced_lines(results: list[Result]) -> list[str]:
    """For each folder its import lines, and how many others."""
    found: dict[str, Counter[str]] = {result.example.folder: result.lines for result in results}
    said = []
    for folder, lines in found.items():
        imports = [line for line in lines if line.startswith(("import ", "from "))]
        others = sum(count for line, count in lines.items() if line not in imports)
        parts = [", ".join(f"`{line}`" for line in imports)] if imports else []
        parts += [f"{others} other lines"] if others else []
        said.append(f"* {folder}: {'; '.join(parts) or 'none'}")
    return said


def write_page(results: list[Result], checkout: Path, out: Path, facts: Mapping[str, float]) -> None:
    """Write the page of all examples."""
    git = subprocess.run(["git", "-C", checkout, "rev-parse", "--short", "HEAD"], capture_output=True, text=True)
    versions = f"torch {importlib.metadata.version('torch')}, torchvision {importlib.metadata.version('torchvision')}"
    left = [f"* {r.example.folder}, `{r.example.commands[0]}`: {nodes(r.autograd)}" for r in results if r.autograd]
    explicit = [f"{r.example.folder}: {nodes(r.left)}" for r in results if r.left]
    text = [
        HEAD.format(**facts),
        f"{versions}, pytorch/examples {git.stdout.strip() or 'of unknown version'}.",
        "",
        f"| {' | '.join(COLUMNS)} |",
        "|---" * len(COLUMNS) + "|",
        *map(row, results),
        "",
        "## Nodes that imports do not reach",
        "",
        *left,
        "",
        f"Left inside `mb.explicit()`, too: {'; '.join(explicit) or 'none'}.",
        "`mb.explicit()` holds for one thread, and RPC runs the network in others; RecvRpc passes a gradient on to",
        "another process.",
        "",
        "## Replaced lines",
        "",
        *replaced_lines(results),
        "",
        "## Left out",
        "",
        *[f"* {folder}: {reason}" for folder, reason in LEFT_OUT.items()],
    ]
    write_atomically(out / "pytorch_examples.md", ("\n".join(text) + "\n").encode())
