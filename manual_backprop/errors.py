"""The error of bad input: says what came, what was expected, what to do. The command prints it without a traceback."""

import difflib
from collections.abc import Iterable

SHOWN = 24


class BadInput(ValueError):
    """Something the user gave cannot be used; the message says why and what to do instead."""


def nearest(name: str, known: Iterable[str]) -> str:
    """The known name closest to `name`, or "" where none is close."""
    by_lower = {k.lower(): k for k in known}
    close = difflib.get_close_matches(name.lower(), by_lower, n=1, cutoff=0.5)
    return by_lower[close[0]] if close else ""


def unknown(kind: str, name: str, known: Iterable[str]) -> BadInput:
    """The error for a name that is none of the known ones, with the nearest match."""
    known = list(known)
    hint = f" Did you mean {guess!r}?" if (guess := nearest(name, known)) else ""
    more = f" and {len(known) - SHOWN} more" if len(known) > SHOWN else ""
    return BadInput(f"Unknown {kind} {name!r}.{hint} Known: {', '.join(known[:SHOWN])}{more}.")
