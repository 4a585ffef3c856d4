"""Contestants that run alternately in one process, ratios of their times with quartiles, and facts of the machine."""

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
"""Minimum number of rounds, even if they exceed the budget."""

BUSY = 2.0
"""A `spread` above this means that other programs were using the processor."""


TRIM_THRESHOLD, MMAP_THRESHOLD = -1, -3
"""Options of glibc's mallopt: the thresholds in bytes above which freed memory returns to the system, at the end of the
heap (M_TRIM_THRESHOLD) and for single blocks (M_MMAP_THRESHOLD)."""


@functools.cache
def keep_freed() -> bool:
    """Lets the process keep up to 1 GiB of freed memory; False where the C library does not support it.

    Otherwise some memory returns to the system and must be mapped again. How much varies from run to run, and the
    contestant that allocates next pays for it: sometimes a quarter of a step's time.
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
    """The results of every call. Contestants run alternately, so that other load on the machine affects all alike.

    rounds: how many; None for as many as fit into `budget` seconds, at least `LEAST`. The order is reversed in each
    round. warm_up: rounds before them that do not count; None for two, or as many as fit into a fifth of the budget.
    lead: calls before each counted call that do not count. They fill the caches with the contestant's own code and
    data, as in a training run, in place of those of the previous contestant.
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
    """Seconds on a clock, after the GPU has finished its queued work."""
    if torch.cuda.is_initialized():
        torch.cuda.synchronize()
    return time.perf_counter()


class Ratio(NamedTuple):
    """`value`: ratio of two medians; `low`, `high`: quartiles of the ratios per round."""

    value: float
    low: float
    high: float

    def __str__(self) -> str:
        return f"{self.value:.2f} ({self.low:.2f} to {self.high:.2f})"


def ratio(of: Sequence[float], over: Sequence[float]) -> Ratio:
    """The times `of` divided by the times `over`; both were measured alternately."""
    paired = [a / b for a, b in zip(of, over, strict=True)]
    low, _, high = statistics.quantiles(paired, n=4) if len(paired) > 1 else paired * 3
    return Ratio(statistics.median(of) / statistics.median(over), low, high)


def spread(*times: Sequence[float]) -> float:
    """Median divided by fastest round, the largest over all contestants: near 1 on a quiet machine."""
    return max(statistics.median(seconds) / min(seconds) for seconds in times)


def disturbed(spreads: Sequence[float]) -> str:
    """One line if other programs used the processor while some rows were measured, else an empty string."""
    count = sum(value > BUSY for value in spreads)
    return (
        f"The machine was busy: in {count} of {len(spreads)} rows a median is more than {BUSY:g} times the fastest "
        "round. Measure again when no other program is running."
    ) * bool(count)


def machine() -> dict[str, Any]:
    """The machine and the versions of libraries that a number was measured with."""
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
    """Inside, torch uses `count` threads; None changes nothing."""
    before = torch.get_num_threads()
    torch.set_num_threads(count or before)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def duration(seconds: float) -> str:
    """A duration in a readable unit, e.g. 12.3 ms."""
    for unit, factor in (("s", 1.0), ("ms", 1e3)):
        if seconds * factor >= 1:
            return f"{seconds * factor:.3g} {unit}" if seconds * factor < 1000 else f"{seconds * factor:.0f} {unit}"
    return f"{seconds * 1e6:.0f} µs"


def table(head: Sequence[str], rows: Sequence[Sequence[Any]]) -> str:
    """A table in Markdown."""
    lines = ["| " + " | ".join(head) + " |", "|" + "---|" * len(head)]
    return "\n".join(lines + ["| " + " | ".join(str(cell) for cell in row) + " |" for row in rows])
