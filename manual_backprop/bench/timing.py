"""Contestants that take turns in one process, ratios with their spread, and what a number was measured on."""

from __future__ import annotations

import ctypes
import functools
import importlib.util
import os
import platform
import statistics
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from importlib.metadata import version
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

import numpy as np
import torch

from .. import __version__

_Result = TypeVar("_Result")

LEAST = 5
"""Rounds that are measured however long they take."""

BUSY = 2.0
"""A spread beyond which something else was computing."""


TRIM_THRESHOLD, MMAP_THRESHOLD = -1, -3
"""glibc's numbers for the bytes from which memory that is freed goes back to the system: at the end of what the process
has, and each piece by itself."""


@functools.cache
def keep_freed() -> bool:
    """Lets the process keep up to 1 GiB of memory that it has freed; False where the C library cannot do so.

    Else some of it goes back to the system and comes again as fresh pages, more or less of them from run to run and at
    the cost of whichever contestant asks: at times a quarter of a step's time.
    """
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (OSError, AttributeError, TypeError):
        return False
    return bool(mallopt(MMAP_THRESHOLD, 2**30)) and bool(mallopt(TRIM_THRESHOLD, 2**30))


def turns(
    steps: Mapping[str, Callable[[], _Result]],
    rounds: int | None = None,
    budget: float = 1.0,
    warm_up: int | None = None,
    lead: int = 0,
) -> dict[str, list[_Result]]:
    """What every call gave, the contestants taking turns so that a noisy moment hits all of them alike.

    rounds: how many; None for as many as fit into `budget` seconds, at least `LEAST`. Each turns the order around.
    warm_up: rounds before them that do not count; None for two, or for as many as fit into a fifth of the budget.
    lead: calls before each that do not count: it then finds its own code and data in the caches and not the last
    contestant's, as a step of a training run does.
    """
    keep_freed()
    found: dict[str, list[_Result]] = {name: [] for name in steps}
    order = list(steps.items())
    for _ in _rounds(warm_up, budget / 5 if rounds is None else 0.0, 2):
        for _, step in order:
            step()
    for i in _rounds(rounds, budget, LEAST):
        for name, step in order if i % 2 else reversed(order):
            for _ in range(lead):
                step()
            found[name].append(step())
    return found


def _rounds(count: int | None, budget: float, least: int) -> Iterator[int]:
    start, done = time.perf_counter(), 0
    while done < count if count is not None else done < least or time.perf_counter() - start < budget:
        yield done
        done += 1


def interleaved(
    steps: Mapping[str, Callable[[], Any]],
    rounds: int | None = None,
    budget: float = 1.0,
    warm_up: int | None = None,
    lead: int = 0,
) -> dict[str, list[float]]:
    """Seconds of every call; see `turns`."""

    def timed(step: Callable[[], Any]) -> Callable[[], float]:
        def run() -> float:
            start = now()
            step()
            return now() - start

        return run

    return turns({name: timed(step) for name, step in steps.items()}, rounds, budget, warm_up, lead)


def now() -> float:
    """Seconds on a clock, once a GPU has done what it was given."""
    if torch.cuda.is_initialized():
        torch.cuda.synchronize()
    return time.perf_counter()


class Ratio(NamedTuple):
    """`value`: median of some times over the median of others; `low`, `high`: the quartiles of the paired ratios."""

    value: float
    low: float
    high: float

    def __str__(self) -> str:
        return f"{self.value:.2f} ({self.low:.2f} to {self.high:.2f})"


def ratio(of: Sequence[float], over: Sequence[float]) -> Ratio:
    """How many times as long as `over` the calls of `of` took; the two were measured in turns."""
    paired = [a / b for a, b in zip(of, over, strict=True)]
    low, _, high = statistics.quantiles(paired, n=4) if len(paired) > 1 else paired * 3
    return Ratio(statistics.median(of) / statistics.median(over), low, high)


def spread(*times: Sequence[float]) -> float:
    """Median over fastest round, of the contestant where that is largest: near 1 on a quiet machine."""
    return max(statistics.median(seconds) / min(seconds) for seconds in times)


def disturbed(spreads: Sequence[float]) -> str:
    """One line where other programs took the processor from some of the rows, else nothing."""
    count = sum(value > BUSY for value in spreads)
    return (
        f"A busy machine: in {count} of {len(spreads)} rows a median is more than {BUSY:g} times the fastest round. "
        "Measure again when nothing else computes."
    ) * bool(count)


def machine() -> dict[str, Any]:
    """What a number was measured on, and with which versions."""
    model = platform.processor() or platform.machine()
    info = Path("/proc/cpuinfo")
    if info.exists():
        lines = [line for line in info.read_text().splitlines() if line.startswith("model name")]
        model = lines[0].split(":", 1)[1].strip() if lines else model
    return {
        "cpu": model,
        "cores": os.cpu_count(),
        "threads": torch.get_num_threads(),
        "gpu": torch.cuda.get_device_name() if torch.cuda.is_available() else None,
        "manual_backprop": __version__,
        "torch": torch.__version__,
        "triton": version("triton") if importlib.util.find_spec("triton") else None,
        "numpy": np.__version__,
        "python": platform.python_version(),
    }


@contextmanager
def threads(count: int | None) -> Iterator[None]:
    """Torch computes with so many threads inside; None changes nothing."""
    before = torch.get_num_threads()
    torch.set_num_threads(count or before)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def duration(seconds: float) -> str:
    """Seconds as people read them."""
    for unit, factor in (("s", 1.0), ("ms", 1e3)):
        if seconds * factor >= 1:
            return f"{seconds * factor:.3g} {unit}" if seconds * factor < 1000 else f"{seconds * factor:.0f} {unit}"
    return f"{seconds * 1e6:.0f} µs"


def table(head: Sequence[str], rows: Sequence[Sequence[Any]]) -> str:
    """A table in Markdown."""
    lines = ["| " + " | ".join(head) + " |", "|" + "---|" * len(head)]
    return "\n".join(lines + ["| " + " | ".join(str(cell) for cell in row) + " |" for row in rows])
