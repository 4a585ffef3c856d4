"""torch's non-reentrant checkpoint runs a forward again in the backward and wants the same tensors saved.

So what each node of that forward has chosen to save is noted with the checkpoint, and followed when it runs again, under
whatever `mb.saving` says by then. torch has no public way to ask for the running checkpoint: its hooks on saved tensors
hold it in their closures. Where a later torch holds it elsewhere, the present choice is taken, as without a checkpoint.
"""

from __future__ import annotations

import inspect
from typing import TypeVar

import torch

Choice = TypeVar("Choice")


def as_before(choice: Choice) -> Choice:
    """The choice, noted with the checkpoint whose forward runs; where that runs again, what was chosen then."""
    hooks = torch._C._autograd._top_saved_tensors_default_hooks(True)
    if hooks is None:
        return choice
    pack = inspect.unwrap(hooks[0])
    if getattr(pack, "__module__", None) != "torch.utils.checkpoint" or pack.__closure__ is None:
        return choice
    held = dict(zip(pack.__code__.co_freevars, [cell.cell_contents for cell in pack.__closure__], strict=True))
    frame = held.get("frame")
    if frame is not None:
        frame.__dict__.setdefault("manual_backprop_choices", []).append(choice)
        return choice
    frame = held["target_frame_ref"]() if "target_frame_ref" in held else None
    if frame is None:
        return choice
    choices = vars(frame).get("manual_backprop_choices", [])
    places = frame.__dict__.setdefault("manual_backprop_places", {})
    place = places.get(held.get("gid"), 0)
    places[held.get("gid")] = place + 1
    return choices[place] if place < len(choices) else choice
