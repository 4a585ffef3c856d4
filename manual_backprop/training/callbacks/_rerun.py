"""Runs one training batch again on a copy of the LightningModule, to find where values stop being finite."""

import copy
import warnings
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import torch
from pytorch_lightning import LightningModule, Trainer
from torch import Tensor, nn

from ..._statistics import numbers, readable


class RandomState:
    """The state of the random generators that a training step draws from, on the CPU and on its device."""

    def __init__(self, device: torch.device) -> None:
        self.cuda = [device] if device.type == "cuda" else []
        self._host = torch.get_rng_state()
        self._devices = [torch.cuda.get_rng_state(cuda) for cuda in self.cuda]

    def restore(self) -> None:
        torch.set_rng_state(self._host)
        for device, state in zip(self.cuda, self._devices, strict=True):
            torch.cuda.set_rng_state(state, device)


@dataclass
class Place:
    """A module where values stopped being finite: which of its tensors (output, delta, input), and how many values."""

    name: str
    kind: str
    what: str
    share: str

    def __str__(self) -> str:
        return f"the {self.what} of `{self.name}` ({self.kind}) went first: {self.share}"


@dataclass
class Rerun:
    """What the second run of a batch found. If it failed, `failed` says why, and `forward` and `backward` are None."""

    loss: float = float("nan")
    forward: Place | None = None
    backward: Place | None = None
    parameters: list[str] = field(default_factory=list)
    spoiled_last: str | None = None
    input: str = ""
    failed: str = ""


def rerun(trainer: Trainer, pl_module: LightningModule, batch: Any, batch_idx: int, random: RandomState) -> Rerun:
    """Runs the training step and the backward of `batch` again, on a deep copy and with the same random numbers.

    The module itself, its buffers, gradients and metrics, and the random generators are unchanged afterwards.
    """
    found = Rerun(input=describe(batch))
    found.parameters = [name for name, p in pl_module.named_parameters() if not bool(p.isfinite().all())]
    if not pl_module.automatic_optimization:
        found.failed = "a training step with manual optimization cannot run again without stepping its optimizers"
        return found
    try:
        clone = copy.deepcopy(pl_module)
        with torch.random.fork_rng(random.cuda), torch.enable_grad(), warnings.catch_warnings():
            warnings.simplefilter("ignore")  # the first run has shown the warnings
            random.restore()
            _watched(trainer, clone, batch, batch_idx, found)
    except Exception as error:  # no error here may hide that the loss is not finite
        found.failed = f"the batch could not run again: {type(error).__name__}: {error}"
    return found


def _watched(trainer: Trainer, clone: LightningModule, batch: Any, batch_idx: int, found: Rerun) -> None:
    clone._trainer = trainer
    clone.log = clone.log_dict = lambda *args, **kwargs: None  # type: ignore[method-assign, assignment]
    clone.zero_grad()
    ran: list[str] = []

    def note(way: str, name: str, kind: str, what: str, value: Any) -> None:
        if getattr(found, way) is None:
            bad = [tensor for tensor in numbers(value) if not bool(tensor.isfinite().all())]
            if bad:
                setattr(found, way, Place(name, kind, what, share(bad)))

    def after(name: str, module: nn.Module, args: Any, kwargs: Any, output: Any) -> None:
        kind = type(module).__name__
        ran.append(name)
        note("forward", name, kind, "output", output)
        for tensor in numbers(output):
            if tensor.requires_grad:
                tensor.register_hook(partial(note, "backward", name, kind, "delta"))

    def before(name: str, module: nn.Module, args: Any, kwargs: Any) -> None:
        note("forward", name, type(module).__name__, "input", (args, kwargs))

    for name, module in clone.named_modules():
        if name:
            module.register_forward_pre_hook(partial(before, readable(name)), with_kwargs=True)
            module.register_forward_hook(partial(after, readable(name)), with_kwargs=True)
    outputs: Any
    with trainer.precision_plugin.train_step_context():
        outputs = clone.training_step(batch, batch_idx)
    loss = outputs["loss"] if isinstance(outputs, dict) else outputs
    found.loss = float(loss.detach())
    layers = {_owner(name) for name in found.parameters}
    found.spoiled_last = next((name for name in reversed(ran) if name in layers), None)
    loss.backward()


def _owner(parameter: str) -> str:
    """The layer that a parameter belongs to, by name."""
    layer, parametrized, _ = readable(parameter).partition(".parametrizations.")
    return layer if parametrized else layer.rpartition(".")[0]


def share(bad: list[Tensor]) -> str:
    """Says how many values are NaN, how many are infinite, and how many there are."""
    nan = sum(int(tensor.isnan().sum()) for tensor in bad)
    infinite = sum(int(tensor.isinf().sum()) for tensor in bad)
    return f"{nan} NaN and {infinite} infinite of {sum(tensor.numel() for tensor in bad)} values"


def describe(batch: Any) -> str:
    """The range of a batch's floating point values, in one line."""
    values = numbers(batch)
    if not values:
        return "no floating point tensor in the batch"
    bad = [tensor for tensor in values if not bool(tensor.isfinite().all())]
    if bad:
        return f"the batch itself holds {share(bad)}"
    return f"finite, from {min(float(t.min()) for t in values):.4g} to {max(float(t.max()) for t in values):.4g}"
