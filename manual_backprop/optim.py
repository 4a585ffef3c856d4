"""The optimizer's step inside the backward: each parameter is updated as soon as its gradient is complete, and the
gradient is freed. So the gradients of a whole model are never in memory together.

Works for any optimizer that treats each parameter by itself. Source: Lv et al. 2023, "Full Parameter Fine-tuning for
Large Language Models with Limited Resources" (LOMO).
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
    """The hooks that update each parameter in the backward. `step_in_backward` returns it; `remove()` removes them."""

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
        # the group's current options, so that a learning rate schedule has effect; the optimizer keeps its state
        optimizer.param_groups = [{**self._groups[parameter], "params": [parameter]}]
        try:
            type(optimizer).step(optimizer)
        finally:
            optimizer.param_groups = all_groups
        parameter.grad = None

    @contextmanager
    def accumulate(self) -> Iterator[None]:
        """Inside, backwards accumulate gradients and update no parameter; the next backward outside uses the sum."""
        before, self.holding = self.holding, True
        try:
            yield
        finally:
            self.holding = before

    def remove(self) -> None:
        """Remove the hooks: from now on gradients stay, and `optimizer.step()` uses them."""
        for handle in self._handles:
            handle.remove()
        self._handles = []


def step_in_backward(optimizer: torch.optim.Optimizer, clip_value: float | None = None) -> StepInBackward:
    """Let every backward update each parameter of `optimizer` at once and set its gradient to None.

    The result equals that of `loss.backward(); optimizer.step(); optimizer.zero_grad()`, for optimizers that treat each
    parameter by itself. A call of `optimizer.step()` may stay in the code: it updates parameters that still have a
    gradient, such as one from `accumulate()` that the last backward did not reach.

    `clip_value` limits every element of the gradients, as torch.nn.utils.clip_grad_value_ does. Clipping by the norm of
    all gradients is not possible, since they are never there together.

    A second backward through the same graph raises torch's version error, since the weights have changed. Do not use a
    GradScaler: the gradients in the hooks are still scaled, and its `step` raises torch's error about missing inf
    checks.

    Raises TypeError for an object that is not an optimizer. Raises BadInput for LBFGS, whose step needs all gradients,
    for several processes (their gradients are reduced later), and for a clip_value that is not positive.
    """
    if not isinstance(optimizer, torch.optim.Optimizer):
        raise TypeError(f"step_in_backward takes a torch.optim.Optimizer. got: {type(optimizer).__name__}")
    if isinstance(optimizer, COUPLED):
        raise BadInput(f"{type(optimizer).__name__} needs all gradients for a step: choose SGD, AdamW or another one")
    if clip_value is not None and not clip_value > 0:
        raise BadInput(f"clip_value={clip_value}: expected a positive number")
    _refuse_several()
    return StepInBackward(optimizer, clip_value)


def _refuse_several() -> None:
    if processes() > 1:
        raise BadInput(
            f"step_in_backward needs one process. got: {processes()} processes, whose gradients are reduced only after "
            "the parameters were updated. Call optimizer.step() after the backward instead"
        )


def processes() -> int:
    """How many processes train together."""
    distributed: Any = torch.distributed
    return distributed.get_world_size() if distributed.is_available() and distributed.is_initialized() else 1
