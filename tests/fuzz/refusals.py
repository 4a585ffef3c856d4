"""What this library refuses knowingly where torch runs: (part of the message, reason). As short as can be."""

from __future__ import annotations

KNOWN: tuple[tuple[str, str], ...] = (
    ("has derivative zero everywhere and no rule", "div with a rounding mode: no gradient would ever flow"),
    ("had rounded what a backward", "a second derivative of rounded tensors would lack what rounding has cut"),
    ("more than one element of the written-to tensor", "torch refuses this, too, but forgets to in threshold_"),
)


def known_refusal(error: Exception) -> bool:
    return any(part in str(error) for part, _ in KNOWN)
