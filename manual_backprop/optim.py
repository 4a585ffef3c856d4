"""The optimizer's step inside the backward: a parameter moves as soon as its gradient is complete, which is then freed.

The gradients of a whole model are never in memory together. Source: Lv et al. 2023, "Full Parameter Fine-tuning for
Large Language Models with Limited Resources" (LOMO), for any optimizer that treats each parameter by itself.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor

from .errors import BadInput

COUPLED = (torch.optim.LBFGS,)
"""Optimizers whose step of one parameter depends on the gradients of others."""


class StepInBackward:
    """What `step_in_backward` returns; `remove()` ends it."""

    def __init__(self, optimizer: torch.optim.Optimizer, clip_value: float | None) -> None:
        self.optimizer, self.clip_value = optimizer, clip_value
        self.holding = False
        self._groups = {p: group for group in optimizer.param_groups for p in group["params"]}
        self._handles = [p.register_post_accumulate_grad_hook(self._step) for p in self._groups if p.requires_grad]

    def _step(self, parameter: Tensor) -> None:
        if self.holding or parameter.grad is None:
            return
        _refuse_several()
        if self.clip_value is not None:
            torch.nn.utils.clip_grad_value_([parameter], self.clip_value)
        optimizer, all_groups = self.optimizer, self.optimizer.param_groups
        # the group's own numbers at this moment, so that schedules hold; the state stays the optimizer's own
        optimizer.param_groups = [{**self._groups[parameter], "params": [parameter]}]
        try:
            type(optimizer).step(optimizer)
        finally:
            optimizer.param_groups = all_groups
        parameter.grad = None

    @contextmanager
    def accumulate(self) -> Iterator[None]:
        """Inside, backwards add up gradients and no parameter moves; the next one outside includes them."""
        before, self.holding = self.holding, True
        try:
            yield
        finally:
            self.holding = before

    def remove(self) -> None:
        """From now on gradients stay, and `optimizer.step()` uses them."""
        for handle in self._handles:
            handle.remove()
        self._handles = []


def step_in_backward(optimizer: torch.optim.Optimizer, clip_value: float | None = None) -> StepInBackward:
    """Let every backward move each parameter of `optimizer` at once and set its gradient to None.

    The same numbers as `loss.backward(); optimizer.step(); optimizer.zero_grad()`, for optimizers that treat each
    parameter by itself; `optimizer.step()` may stay where it was: it moves the parameters that still have a gradient,
    such as those added up under `accumulate()` that took no part in the last backward. `clip_value` limits every
    element of the gradients, as torch.nn.utils.clip_grad_value_ does; a limit of the norm of all gradients needs them
    all at once and cannot be had. A second backward through the same graph raises torch's version error, since the
    weights have moved. Gradients of a GradScaler would be scaled still: do not use one; its `step` raises torch's error
    that no infinities were looked for.

    Raises TypeError for what is no optimizer; BadInput for LBFGS, whose step needs all gradients, for several processes
    (their gradients are reduced later), and for a clip_value that is not positive.
    """
    if not isinstance(optimizer, torch.optim.Optimizer):
        raise TypeError(f"step_in_backward takes a torch.optim.Optimizer, got {type(optimizer).__name__}")
    if isinstance(optimizer, COUPLED):
        raise BadInput(f"{type(optimizer).__name__} needs all gradients for a step: choose SGD, AdamW or another one")
    if clip_value is not None and not clip_value > 0:
        raise BadInput(f"clip_value={clip_value}: expected a positive number")
    _refuse_several()
    return StepInBackward(optimizer, clip_value)


def _refuse_several() -> None:
    if processes() > 1:
        raise BadInput(f"{processes()} processes: gradients are reduced after the step would be taken. Use one process")


def processes() -> int:
    """How many processes train together."""
    distributed: Any = torch.distributed
    return distributed.get_world_size() if distributed.is_available() and distributed.is_initialized() else 1
