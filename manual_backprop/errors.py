"""The error for bad input. Its message tells what was given, what was expected and what to do. The command
`manual-backprop` prints the message without a traceback."""

import difflib
from collections.abc import Iterable

SHOWN = 24


class BadInput(ValueError):
    """The user gave something that cannot be used. The message says why, and what to do instead."""


def require_at_least(section: str, least: int, **options: int | None) -> None:
    """Raises BadInput, which names the option, for the first value smaller than `least`. None is not checked."""
    for name, value in options.items():
        if value is not None and value < least:
            raise BadInput(f"{section}.{name}={value}: give {least} or more.")


def nearest(name: str, known: Iterable[str]) -> str:
    """The known name closest to `name`, or "" where none is close."""
    known = list(known)
    close = difflib.get_close_matches(name.lower(), {k.lower() for k in known}, n=1, cutoff=0.5)
    spellings = [k for k in known if k.lower() in close]  # Conv2d and conv2d
    return max(spellings, key=lambda k: difflib.SequenceMatcher(None, name, k).ratio(), default="")


def unknown(kind: str, name: str, known: Iterable[str], shown: int = SHOWN) -> BadInput:
    """The error for a name that is not known. Names the closest match, and all known names or the nearest of many."""
    known = list(known)
    hint = f" Did you mean {guess!r}?" if (guess := nearest(name, known)) else ""
    if len(known) > shown:
        close = difflib.get_close_matches(name, known, n=8, cutoff=0)
        return BadInput(f"Unknown {kind} {name!r}.{hint} Of {len(known)} the nearest: {', '.join(close)}.")
    return BadInput(f"Unknown {kind} {name!r}.{hint} Known: {', '.join(known)}.")
