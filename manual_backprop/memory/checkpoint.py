"""Support for torch's non-reentrant checkpoint, which runs a forward again in the backward.

The second forward has to save the same tensors as the first. So the choices of each node in the first forward are
recorded with the checkpoint, and the second forward follows them, whatever `mb.saving` says by then. Likewise, if the
checkpoint ran inside `mb.explicit`, its second forward does, too.

torch has no public function for the running checkpoint, but its saved-tensor hooks hold it in their closures. If a
later torch holds it elsewhere, nothing is recorded. Then a checkpoint needs the same modes around forward and backward.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import Any, TypeVar

from ..engine.torch_private import checkpoint_state

Choice = TypeVar("Choice")


def running() -> Any:
    """The innermost checkpoint whose forward runs for the first time; None outside of one."""
    return checkpoint_state().get("frame")


def recompute_within(frame: Any, context: Callable[[], AbstractContextManager]) -> None:
    """Run the checkpoint's second forward inside a context, as the first one."""
    if frame.__dict__.setdefault("manual_backprop_contexts", 0):
        return
    frame.manual_backprop_contexts = 1
    forward = frame.recompute_fn

    def run(*inputs: Any) -> None:
        with context():
            forward(*inputs)

    frame.recompute_fn = run


def as_noted(choice: Choice) -> Choice:
    """In a checkpoint's first forward: record the choice and return it. In its second forward: return what was
    recorded. Elsewhere: return the choice."""
    held = checkpoint_state()
    if "frame" in held:
        held["frame"].__dict__.setdefault("manual_backprop_choices", []).append(choice)
        return choice
    frame = held["target_frame_ref"]() if "target_frame_ref" in held else None
    if frame is None:
        return choice
    choices = frame.__dict__.get("manual_backprop_choices", [])
    places = frame.__dict__.setdefault("manual_backprop_places", {})  # backward pass -> choices read so far
    place = places.get(held.get("gid"), 0)
    places[held.get("gid")] = place + 1
    return choices[place] if place < len(choices) else choice
