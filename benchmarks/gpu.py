"""Everything that needs a GPU, in eight minutes on one card, without downloads: tests marked `gpu` and benchmarks.cuda.

make gpu
python -m benchmarks.gpu --part kernels    one part (or several), without writing results/gpu
python -m benchmarks.gpu --seconds 240     scales the time limits of the parts to this sum
python -m benchmarks.gpu --dry-run         all of this code on the CPU, Triton interpreted, a few tests of each part

Parts run one after another, each in its own process, the most informative first. If one fails or exceeds its time
limit, the others still run; the exit status is then 1.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import torch

from .common import table, write

ROOT = Path(__file__).parents[1]
SHOWN = 200
"""How many characters of a failed test's message are shown."""


@dataclass(frozen=True)
class Part:
    """command: arguments of `python -m`. dry: arguments that replace it on the CPU. workers: at most so many processes
    of pytest."""

    what: str
    limit: float
    command: tuple[str, ...]
    dry: tuple[str, ...]
    workers: int = 16

    @property
    def tests(self) -> bool:
        return self.command[0] == "pytest"


# warnings of another version of torch or of the driver are not errors here; pytest prints them
PYTEST = (
    "pytest",
    "-p",
    "benchmarks.records",
    "-q",
    "-W",
    "default",
    "-p",
    "no:cacheprovider",
    "--tb=short",
    "--color=no",
)
FILES = "tests/test_triton_kernels.py", "tests/test_cuda_graph.py", "tests/test_layers_cuda.py"
OTHERS = [
    str(path.relative_to(ROOT))
    for path in sorted((ROOT / "tests").rglob("test_*.py"))
    if "pytest.mark.gpu" in path.read_text() and str(path.relative_to(ROOT)) not in FILES
]
PARTS = {
    "kernels": Part("the Triton kernels against their formulas", 85, (*PYTEST, FILES[0], "-m", "gpu"),
                    (*PYTEST, FILES[0], "-m", "", "-k", "test_dropout")),
    "graphs": Part("training steps captured as CUDA graphs", 35, (*PYTEST, FILES[1], "-m", "gpu"),
                   (*PYTEST, FILES[1], "-m", "", "-k", "is_caught"), 4),
    "steps": Part("a training step's time and memory", 200, ("benchmarks.cuda", "--budget", "12"),
                  ("benchmarks.cuda", "--dry-run", "--rounds", "2", "--without", "compile", "--without", "liger")),
    "others": Part("the other tests that need a GPU", 30, (*PYTEST, *OTHERS, "-m", "gpu"),
                   (*PYTEST, "tests/test_dropout.py", "-m", "", "-k", "complex_values"), 3),
    "layers": Part("every check of every layer", 130, (*PYTEST, FILES[2], "-m", "gpu and not slow"),
                   (*PYTEST, "tests/test_layers.py", "-m", "not gpu and not slow", "-k", "test_layer and ReLU6")),
}  # fmt: skip
"""By name, in the order in which they run; eight minutes in total."""


@dataclass
class Outcome:
    """The result of a part; `failed`: test name -> last line of its message."""

    status: str
    seconds: float
    counts: dict[str, int] = field(default_factory=dict)
    failed: dict[str, str] = field(default_factory=dict)

    @property
    def good(self) -> bool:
        return self.status == "passed"


def run(part: Part, limit: float, records: Path, dry: bool, workers: int) -> Outcome:
    """Runs the part in its own process group, which is killed at the time limit."""
    arguments = list(part.dry if dry else part.command)
    if part.tests:
        arguments += ["-n", str(min(workers, part.workers))]
    inherited = {name: value for name, value in os.environ.items() if name != "PYTEST_XDIST_WORKER"}
    environment = inherited | {"RECORDS": str(records)} | ({"TRITON_INTERPRET": "1"} if dry else {})
    start = time.monotonic()
    process = subprocess.Popen([sys.executable, "-m", *arguments], cwd=ROOT, env=environment, start_new_session=True)
    try:
        status = "passed" if process.wait(limit) == 0 else f"failed (exit status {process.returncode})"
    except subprocess.TimeoutExpired:
        status = f"stopped at its limit of {limit:.0f} s"
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)  # also ends child processes that are still running
        process.wait()
    outcome = Outcome(status, time.monotonic() - start)
    if part.tests:
        lines = records.read_text().splitlines() if records.exists() else []
        tests = {line["test"]: line for line in map(json.loads, lines)}
        outcome.counts = {k: sum(t["outcome"] == k for t in tests.values()) for k in ("passed", "failed", "skipped")}
        outcome.failed = {name: t["message"][:SHOWN] for name, t in tests.items() if t["outcome"] == "failed"}
        if outcome.good and not outcome.counts["passed"]:
            outcome.status = "failed (no test has run)"
        if status.startswith("stopped"):  # pytest was stopped before it printed them
            print(*(f"\n== {name}\n{tests[name]['text']}" for name in outcome.failed), flush=True)
    return outcome


def summary(outcomes: dict[str, Outcome]) -> str:
    """A table of the parts, then the tests that failed."""
    lines = [
        (
            name,
            PARTS[name].what,
            outcome.status,
            ", ".join(f"{count} {kind}" for kind, count in outcome.counts.items() if count) or "-",
            f"{outcome.seconds:.0f} s",
        )
        for name, outcome in outcomes.items()
    ]
    text = table(("part", "what", "", "tests", "took"), lines)
    for name, outcome in outcomes.items():
        if outcome.failed:
            text += f"\n\n## Failed: {name}\n\n"
            text += "\n".join(f"- `{test}`: {message}" for test, message in outcome.failed.items())
    return text


def main(argv: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--part", choices=PARTS, action="append")
    parser.add_argument("--seconds", type=float, help="for all parts together; default: 480")
    parser.add_argument("--workers", type=int, default=os.cpu_count() or 1, help="processes of pytest")
    parser.add_argument("--dry-run", action="store_true", help="on the CPU; no results are written")
    options = parser.parse_args(argv)
    if not options.dry_run and not torch.cuda.is_available():
        print(
            "benchmarks.gpu needs a GPU, and torch sees none (torch.cuda.is_available() is False): run it on a machine "
            "with one, or with --dry-run to try its code on the CPU",
            file=sys.stderr,
        )
        return 2
    names = [name for name in PARTS if name in (options.part or PARTS)]
    scale = options.seconds / sum(PARTS[name].limit for name in names) if options.seconds else 1.0
    outcomes: dict[str, Outcome] = {}
    with tempfile.TemporaryDirectory() as folder:
        for name in names:
            print(f"\n== {name}: {PARTS[name].what}", flush=True)
            workers, records = (0 if options.dry_run else options.workers), Path(folder, name)
            outcomes[name] = run(PARTS[name], PARTS[name].limit * scale, records, options.dry_run, workers)
    text = summary(outcomes)
    print(f"\n{text}", flush=True)
    if not options.dry_run and not options.part:
        write("gpu", "What runs on a GPU", text, {name: vars(outcome) for name, outcome in outcomes.items()})
    return 0 if all(outcome.good for outcome in outcomes.values()) else 1


if __name__ == "__main__":
    sys.exit(main())
