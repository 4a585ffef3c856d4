"""What two runs of a script have printed, number by number; times and process numbers do not count."""

from __future__ import annotations

import re
from collections.abc import Sequence

from torch import Tensor

MASKED = (
    r"\d+(\.\d+)?s\b", r"ms/batch +[\d.]+", r"(Time|Data) +[\d.]+ \( *[\d.]+\)", r"^\d+\t", r"0x[0-9a-f]+",
    r"[A-Z][a-z]{2} +[A-Z][a-z]{2} +\d+ \d\d:\d\d:\d\d \d{4}", r"\d{4}-\d\d-\d\d_\d\d-\d\d-\d\d", r"\d+(\.\d+)?[mu]s\b",
    r"\d+\.\d+%",
)  # fmt: skip
"""Times, a profiler's percentages, dates, addresses, a process's number at the start of a line."""
NUMBER = r"(?<![\w.])[-+]?\d+(?:\.\d+)?(?:e[-+]?\d+)?(?![\w])|\bnan\b|\binf\b"


def masked(text: str) -> str:
    for pattern in MASKED:
        text = re.sub(pattern, "~", text, flags=re.MULTILINE)
    return text.replace("manual_backprop", "torch")


def numbers(text: str) -> list[float]:
    return [float(found) for found in re.findall(NUMBER, masked(text))]


def differing_line(theirs: str, ours: str) -> str:
    """The first line of ours that differs in more than its numbers; "" where there is none."""
    a, b = ([re.sub(NUMBER, "#", line) for line in masked(text).splitlines()] for text in (theirs, ours))
    for left, right in zip(a, b, strict=False):
        if left.split() != right.split():
            return f"{right.strip()!r} in place of {left.strip()!r}"
    return "" if len(a) == len(b) else f"{len(b)} lines in place of {len(a)}"


def apart(a: float, b: float) -> float:
    """How far two numbers are apart, relative; absolute where they are below 1."""
    if a == b or (a != a and b != b):
        return 0.0
    return abs(a - b) / max(abs(a), abs(b), 1.0)


def gradients_apart(theirs: Sequence[Tensor], ours: Sequence[Tensor]) -> float:
    """The largest difference of a gradient, by norm, over the norm of the largest gradient; nan if there are none."""
    if [g.shape for g in theirs] != [g.shape for g in ours]:
        return float("inf")
    largest = max((g.norm().item() for g in theirs), default=float("nan"))
    return max(((a - b).norm().item() for a, b in zip(theirs, ours, strict=True)), default=float("nan")) / largest
