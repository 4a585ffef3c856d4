"""What this library refuses knowingly where torch runs: (part of the message, reason). As short as can be."""

from __future__ import annotations

from .program import Program

KNOWN: tuple[tuple[str, str], ...] = (
    ("has derivative zero everywhere and no rule", "div with a rounding mode: no gradient would ever flow"),
)


def known_refusal(program: Program, error: Exception) -> bool:
    return any(part in str(error) for part, _ in KNOWN)
