"""Scripts of pytorch/examples with the imports of torch.nn replaced by those of manual_backprop, against the originals.

python -m tests.torch_examples CHECKOUT --data MNIST_ROOT               every example (15 minutes)
python -m tests.torch_examples CHECKOUT --data MNIST_ROOT mnist gat     some: by the start of a folder
python -m tests.torch_examples CHECKOUT --data MNIST_ROOT --out docs    also writes docs/pytorch_examples.md

CHECKOUT is a checkout of https://github.com/pytorch/examples, MNIST_ROOT what torchvision.datasets.MNIST calls `root`.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import re
import shutil
import signal
import statistics
import subprocess
import sys
import tempfile
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from .torch_examples_compare import apart, differing_line, gradients_apart, numbers
from .torch_examples_data import MNIST, cut_mnist, environment
from .torch_examples_page import write_page
from .torch_examples_table import EXAMPLES, Example

ROOT = Path(__file__).parent.parent
EXACT = 1e-9
"""In float64, relative: of losses, and of printed numbers as far as they are printed."""
FIRST = 1e-5
"""In float32, relative, of the first loss. Later ones may drift apart: training lets rounding grow."""
GRADIENTS = 1e-4
"""In float32, of the first backward call: by norm, over the norm of the largest gradient."""
SECONDS = 1200
FACTS = {"train": MNIST["train"], "test": MNIST["t10k"], "exact": EXACT, "first": FIRST, "gradients": GRADIENTS}
"""Numbers of the page."""


def replaced(text: str) -> tuple[str, list[str]]:
    """A script with manual_backprop.nn in place of torch.nn, and the lines that were replaced.

    Three replacements: `torch.nn` -> `manual_backprop.nn` wherever it stands; `from torch import nn, optim` -> two
    imports; where `manual_backprop.nn` is then used by its full name, `import torch` imports that, too.
    """
    lines = []
    used = bool(re.search(r"^(?!\s*(import|from)\b).*\btorch\.nn\b", text, re.MULTILINE))
    changed = []
    for line in text.split("\n"):
        new = re.sub(r"(?<![\w.])torch\.nn\b", "manual_backprop.nn", line)
        listed = re.match(r"from torch import ([\w, ]+)$", new)
        if listed and "nn" in (names := [name.strip() for name in listed[1].split(",")]):
            others = [name for name in names if name != "nn"]
            new = "from manual_backprop import nn" + (f"; from torch import {', '.join(others)}" if others else "")
        if used:
            new = re.sub(r"^import torch(?=\s*(#|$))", "import torch, manual_backprop.nn", new)
        if new != line:
            changed.append(line.strip())
        lines.append(new)
    return "\n".join(lines), changed


def in_float64(text: str) -> str:
    """A script with float64 where it asks for float32 by name."""
    text = re.sub(r"\btorch\.float\b", "torch.float64", text)
    return text.replace(".float()", ".double()").replace("torch.FloatTensor", "torch.DoubleTensor")


@dataclass
class Run:
    """What one run of an example printed and noted."""

    printed: str
    notes: list[dict[str, Any]]
    gradients: list[Tensor]
    """Of the first backward call, in the order in which modules got their parameters."""
    errors: str
    failed: bool

    @property
    def losses(self) -> list[float]:
        return [note["loss"] for note in self.notes]

    @property
    def step(self) -> float:
        """Seconds from one backward call to the next, after the first ones, in which calls are recorded."""
        times = [note["time"] for note in self.notes]
        times = times[8:] if len(times) > 16 else times[len(times) // 2 :]
        return (times[-1] - times[0]) / (len(times) - 1) if len(times) > 2 else float("nan")


def run(example: Example, checkout: Path, mnist: Path | None, folder: Path, ours: bool, **settings: str) -> Run:
    """Copy the example into `folder`, replace its imports if `ours`, run its commands there."""
    copy = folder / "example" / Path(example.folder).name
    skipped = shutil.ignore_patterns("*.jpg", "*.gif", "saved_models")
    shutil.copytree(checkout / example.folder, copy, ignore=skipped)
    (copy / "results").mkdir(exist_ok=True)
    for script in copy.rglob("*.py"):
        text = script.read_text(encoding="utf8")
        text = in_float64(text) if settings.get("dtype") == "float64" else text
        script.write_text(replaced(text)[0] if ours else text, encoding="utf8")
    if example.prepare is not None:
        example.prepare(copy)
    if example.mnist and mnist is not None:
        cut_mnist(mnist, copy / example.mnist)
    notes = folder / "notes"
    path = [os.fspath(ROOT / "tests" / "watched"), os.fspath(ROOT), *filter(None, [os.environ.get("PYTHONPATH")])]
    env = {
        **os.environ,
        **environment(copy),
        **dict(example.environment),
        **{f"EXAMPLE_{name.upper()}": value for name, value in settings.items()},
        "EXAMPLE_NOTES": os.fspath(notes),
        "EXAMPLE_STEPS": str(example.steps or ""),
        "PYTHONPATH": os.pathsep.join(path),
        "OMP_NUM_THREADS": settings.get("threads", "1"),  # on one, sums have one order
        "PYTHONHASHSEED": "0",
        "PYTHONUNBUFFERED": "1",
        "PYTHONWARNINGS": "ignore",
    }
    started: list[subprocess.Popen[bytes]] = []
    try:
        for i, command in enumerate(example.commands):
            with open(folder / f"printed{i}", "w") as out, open(folder / "errors", "a") as errors:
                argv = [sys.executable, *command.split()]
                # in a session of its own, which ends as a whole after `steps`
                process = subprocess.Popen(argv, cwd=copy, env=env, stdout=out, stderr=errors, start_new_session=True)
            started.append(process)
            if not example.parallel:
                process.wait(SECONDS)
        ends = {process.wait(SECONDS) for process in started}
    finally:
        for process in started:
            if process.poll() is None:
                os.killpg(process.pid, signal.SIGKILL)
    failed = not ends <= ({0, -signal.SIGTERM} if example.steps else {0})
    texts = [(folder / f"printed{i}").read_text() for i in range(len(started))]
    if example.parallel:  # processes print in any order
        texts = ["".join(sorted(text.splitlines(keepends=True))) for text in texts]
    printed = "".join(texts)
    lines = notes.read_text().splitlines() if notes.exists() else []
    errors = (folder / "errors").read_text() if failed else ""
    saved = notes.with_suffix(".gradients")
    gradients = torch.load(saved) if saved.exists() else []
    printed = printed.replace(os.fspath(folder), "FOLDER")
    return Run(printed, [json.loads(line) for line in lines], gradients, errors, failed)


@dataclass
class Result:
    """How an example's two runs compare."""

    example: Example
    lines: Counter[str] = field(default_factory=Counter)
    """The replaced lines of all files."""
    wrong: str = ""
    """What is not as it should be."""
    same_text: bool = False
    """All that is printed in float32 is equal, digit by digit, but for times."""
    losses: int = 0
    single: float = float("nan")
    threads: float = float("nan")
    gradients: float = float("nan")
    double: float = float("nan")
    explicit: float = float("nan")
    """Largest relative differences, of losses and printed numbers: in float32, in float64, in float64 within
    `mb.explicit()`, and of torch in float32 on two threads from torch on one; of the first gradients in float32."""
    rules: int = 0
    autograd: list[str] = field(default_factory=list)
    left: list[str] = field(default_factory=list)
    """Nodes of autograd in the graph of the first loss: with the imports replaced, and within `mb.explicit()`, too."""
    time: float = float("nan")

    def __str__(self) -> str:
        how = self.wrong or ("the same text" if self.same_text else "equal but for rounding")
        apart = f"gradients {self.gradients:.0e}, float32 {self.single:.0e} (torch {self.threads:.0e})"
        apart = f"{self.losses} losses; {apart}, float64 {self.double:.0e}"
        nodes = f"rules {self.rules}, autograd {len(self.autograd)}, within explicit {len(self.left)}"
        return f"{self.example.name:60} {how}; {apart}; {nodes}; time {self.time:.2f}"


def compared(example: Example, theirs: Run, ours: Run, first: float, most: float = math.inf) -> tuple[float, str]:
    """The largest relative difference, and what is wrong."""
    if theirs.failed or ours.failed:
        who, errors = ("the original", theirs.errors) if theirs.failed else ("with manual_backprop", ours.errors)
        return float("nan"), f"{who} fails: {(errors.strip() or '?').splitlines()[-1]}"
    line = differing_line(theirs.printed, ours.printed)
    if line:
        return float("inf"), f"prints another line: {line}"
    if example.unset:
        return float("nan"), ""
    if len(theirs.losses) != len(ours.losses):
        return float("inf"), f"{len(theirs.losses)} and {len(ours.losses)} losses"
    losses = [apart(a, b) for a, b in zip(theirs.losses, ours.losses, strict=True)]
    printed = [apart(*pair) for pair in zip(numbers(theirs.printed), numbers(ours.printed), strict=True)]
    if losses and not losses[0] <= first:
        return losses[0], f"the first loss differs by {losses[0]:.0e}"
    largest = max([*losses, *printed], default=0.0)
    return largest, "" if largest <= most else f"differs by {largest:.0e}"


def compare(example: Example, checkout: Path, mnist: Path | None) -> Result:
    """Run an example both ways in float32 and in float64, and once more within `mb.explicit()`."""
    result = Result(example)
    for script in sorted((checkout / example.folder).rglob("*.py")):
        result.lines.update(replaced(script.read_text(encoding="utf8"))[1])
    with tempfile.TemporaryDirectory() as folder:

        def go(name: str, ours: bool, **settings: str) -> Run:
            (Path(folder) / name).mkdir()
            return run(example, checkout, mnist, Path(folder) / name, ours, **settings)

        theirs, ours = go("theirs", False), go("ours", True)
        result.single, result.wrong = compared(example, theirs, ours, FIRST)
        result.same_text = numbers(theirs.printed) == numbers(ours.printed)
        result.losses, result.time = len(ours.losses), ours.step / theirs.step
        if result.single > FIRST:
            result.threads, _ = compared(example, theirs, go("threads", False, threads="2"), math.inf)
        result.gradients = gradients_apart(theirs.gradients, ours.gradients)
        if result.gradients > GRADIENTS:
            result.wrong = result.wrong or f"the first gradients differ by {result.gradients:.0e}"
        if ours.notes:
            result.rules, result.autograd = ours.notes[0]["rules"], ours.notes[0]["autograd"]
        if ours.notes and not result.wrong:
            theirs, ours = go("theirs64", False, dtype="float64"), go("ours64", True, dtype="float64")
            result.double, result.wrong = compared(example, theirs, ours, EXACT, EXACT)
            ours = go("explicit64", True, dtype="float64", explicit="1")
            result.explicit, wrong = compared(example, theirs, ours, EXACT, EXACT)
            result.wrong = result.wrong or (wrong and f"within explicit: {wrong}")
            result.left = ours.notes[0]["autograd"] if ours.notes else []
    return result


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("checkout", type=Path)
    parser.add_argument("folders", nargs="*", help="only examples whose folder starts so")
    parser.add_argument("--data", type=Path, help="where MNIST lies")
    parser.add_argument("--out", type=Path, help="write FOLDER/pytorch_examples.md")
    options = parser.parse_intermixed_args(argv)
    results = []
    for example in EXAMPLES:
        if options.folders and not example.folder.startswith(tuple(options.folders)):
            continue
        if example.mnist and options.data is None:
            print(f"{example.name:60} needs --data")
            continue
        results.append(compare(example, options.checkout, options.data))
        print(results[-1], flush=True)
    if options.out is not None:
        write_page(results, options.checkout, options.out, FACTS)
    right = sum(not result.wrong for result in results)
    mean = statistics.geometric_mean([r.time for r in results if r.time == r.time] or [1.0])
    print(f"{right} of {len(results)} examples give the same; time {mean:.2f}")
    return 0 if right == len(results) else 1


if __name__ == "__main__":
    sys.exit(main())
