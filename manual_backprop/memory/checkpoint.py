"""torch's non-reentrant checkpoint runs a forward again in the backward and wants the same tensors saved.

So what each node of that forward has chosen to save is noted with the checkpoint, and followed when it runs again,
whatever `mb.saving` says by then; and where `mb.explicit` was around the checkpoint, it is around the second forward.
torch has no public way to ask for the running checkpoint: its hooks on saved tensors hold it in their closures. Where a
later torch holds it elsewhere, nothing is noted: a checkpoint then wants the same modes around forward and backward.
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
    """Run the checkpoint's second forward inside a context, as its first one runs."""
    if frame.__dict__.setdefault("manual_backprop_contexts", 0):
        return
    frame.manual_backprop_contexts = 1
    forward = frame.recompute_fn

    def run(*inputs: Any) -> None:
        with context():
            forward(*inputs)

    frame.recompute_fn = run


def as_noted(choice: Choice) -> Choice:
    """The choice, noted with the checkpoint whose forward runs; where that runs again, what was chosen then."""
    held = checkpoint_state()
    if "frame" in held:
        held["frame"].__dict__.setdefault("manual_backprop_choices", []).append(choice)
        return choice
    frame = held["target_frame_ref"]() if "target_frame_ref" in held else None
    if frame is None:
        return choice
    choices = frame.__dict__.get("manual_backprop_choices", [])
    places = frame.__dict__.setdefault("manual_backprop_places", {})  # by pass of backward
    place = places.get(held.get("gid"), 0)
    places[held.get("gid")] = place + 1
    return choices[place] if place < len(choices) else choice
