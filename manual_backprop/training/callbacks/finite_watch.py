"""FiniteWatch: stops a training whose loss became NaN or infinite before the weights are updated, and says where."""

import math
from typing import Any

import torch
from pytorch_lightning import Callback, LightningModule, Trainer
from torch import Tensor

from ._rerun import RandomState, Rerun, rerun


class NonFiniteLossError(RuntimeError):
    """The training loss (or, where that is watched, a gradient) became NaN or infinite.

    Attributes: `step`, `epoch` and `batch_idx` say where. `loss` is the loss of this batch, `last_loss` the last finite
    one or None. `forward` and `backward` name the modules whose output and whose delta were the first that are not
    finite, or are None. `parameters` names the parameters that were not finite before this batch.
    """

    step: int
    epoch: int
    batch_idx: int
    loss: float
    last_loss: float | None
    forward: str | None
    backward: str | None
    parameters: list[str]


class FiniteWatch(Callback):
    """Stops with NonFiniteLossError in the first step whose training loss is NaN or infinite.

    It stops between the backward and the optimizer step, so the weights are those from before the step. To find the
    place, it runs the failing batch once more, with the same random numbers, on a copy of the LightningModule with
    hooks on every module. They find the first output and, in the backward, the first delta that is not finite.

    Cost while the loss is finite: per batch, one number is read and the state of the random generator is saved (a few
    microseconds). On CUDA the number is copied before the backward is queued and read after. The host then waits for
    the forward only, while the device runs the backward. Several processes sum one number per batch, so that all of
    them stop together.

    A layer can have a finite output and a delta that is not finite. Its weights are then spoiled one step before the
    loss shows it, and the error names these parameters. `gradients=True` checks the norm of all gradients in every step
    (a pass over them; on CUDA a wait for the backward) and stops before the weights are spoiled, with the exact place.
    It has no effect under float16 AMP, whose scaler makes infinite gradients and skips their steps by design.
    """

    def __init__(self, gradients: bool = False) -> None:
        self.gradients = gradients
        self._forget()

    def __getstate__(self) -> dict[str, Any]:
        return {"gradients": self.gradients}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.gradients = state["gradients"]
        self._forget()

    def _forget(self) -> None:
        self._batch: Any = None
        self._batch_idx = 0
        self._random: RandomState | None = None
        self._loss: Tensor | None = None
        self._last: Tensor | None = None
        self._probe: Tensor | None = None
        self._host: Tensor | None = None
        self._copied: torch.cuda.Event | None = None

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self._forget()

    def on_train_batch_start(self, trainer: Trainer, pl_module: LightningModule, batch: Any, batch_idx: int) -> None:
        self._batch, self._batch_idx = batch, batch_idx
        self._random = RandomState(pl_module.device)

    def on_before_backward(self, trainer: Trainer, pl_module: LightningModule, loss: Tensor) -> None:
        self._loss = loss.detach()
        probe = _sum_over_processes(self._loss.float() * 0)  # 0 for a finite number, NaN for any other
        self._probe, self._copied = probe, None
        if probe.is_cuda:
            if self._host is None:
                self._host = torch.empty((), pin_memory=True)
            self._probe = self._host.copy_(probe, non_blocking=True)
            self._copied = torch.cuda.Event()
            self._copied.record()

    def on_after_backward(self, trainer: Trainer, pl_module: LightningModule) -> None:
        if self._copied is not None:
            self._copied.synchronize()
        assert self._probe is not None
        scaled = getattr(trainer.precision_plugin, "scaler", None) is not None
        if self._probe.item() != 0:
            found = self._rerun(trainer, pl_module)
            # The scaler's factor can make a finite float16 loss infinite; the scaler then skips the step by itself.
            if not scaled or _sum_over_processes(torch.tensor(found.loss, device=pl_module.device) * 0) != 0:
                raise self._error(trainer, pl_module, found, "loss")
        elif self.gradients and not scaled:
            norms = [parameter.grad for parameter in pl_module.parameters() if parameter.grad is not None]
            if not torch.nn.utils.get_total_norm(norms).isfinite():
                raise self._error(trainer, pl_module, self._rerun(trainer, pl_module), "gradient")

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        loss = outputs.get("loss") if isinstance(outputs, dict) else outputs
        if isinstance(loss, Tensor):
            self._last = loss  # stays on its device: it is read only for an error report
        self._batch = self._random = self._loss = self._probe = None

    def on_train_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self._forget()

    def _rerun(self, trainer: Trainer, pl_module: LightningModule) -> Rerun:
        assert self._random is not None
        assert self._loss is not None
        found = rerun(trainer, pl_module, self._batch, self._batch_idx, self._random)
        if found.failed:
            found.loss = float(self._loss)
        return found

    def _error(self, trainer: Trainer, pl_module: LightningModule, found: Rerun, what: str) -> NonFiniteLossError:
        assert self._loss is not None
        accumulated = trainer.accumulate_grad_batches if pl_module.automatic_optimization else 1
        last = None if self._last is None else float(self._last) * accumulated
        first = float(self._loss)
        lines = [_what(trainer, self._batch_idx, what, first, found.loss), *_where(found)]
        lines.append(f"  last loss: {'none was finite' if last is None else f'{last:g}, one batch earlier'}")
        error = NonFiniteLossError("\n".join([*lines, _advice(trainer)]))
        error.step, error.epoch, error.batch_idx = trainer.global_step, trainer.current_epoch, self._batch_idx
        error.loss, error.last_loss = found.loss if math.isfinite(first) else first, last
        error.forward = found.forward.name if found.forward else None
        error.backward = found.backward.name if found.backward else None
        error.parameters = found.parameters
        self._forget()
        return error


def _sum_over_processes(number: Tensor) -> Tensor:
    if torch.distributed.is_available() and torch.distributed.is_initialized():
        torch.distributed.all_reduce(number)
    return number


def _what(trainer: Trainer, batch_idx: int, what: str, first: float, again: float) -> str:
    subject = "training loss" if what == "loss" else "gradient of a parameter"
    value = "non-finite" if math.isfinite(first) else f"{first:g}"
    where = f"step {trainer.global_step} (epoch {trainer.current_epoch}, batch {batch_idx})"
    line = f"the {subject} became {value} at {where}. The weights are as they were before this step."
    if what == "loss" and math.isfinite(first):
        line += f"\n  elsewhere: in another process; in this one the loss is {again:g}"
    elif math.isfinite(again) and not math.isfinite(first):
        line += (
            f"\n  again:     run once more, the batch gives a loss of {again:g}: something in it is not deterministic"
        )
    return line


def _where(found: Rerun) -> list[str]:
    if found.failed:
        lines = [f"  place:     not found, {found.failed}"]
    else:
        lines = [f"  forward:   {found.forward or 'every output is finite'}"]
        lines.append(f"  backward:  {found.backward or 'every delta is finite'}")
    if found.parameters:
        shown = ", ".join(found.parameters[:4]) + (", ..." if len(found.parameters) > 4 else "")
        lines.append(f"  weights:   {len(found.parameters)} parameters were not finite before this batch: {shown}")
    if found.spoiled_last:
        lines += [
            f"             of their layers `{found.spoiled_last}` runs last: in the step that spoiled them",
            "             its delta went first, unless clipping by norm spread the damage;",
            "             FiniteWatch(gradients=True), in a command --finite_watch.gradients=true,",
            "             stops in that very step",
        ]
    return [*lines, f"  input:     {found.input}"]


def _advice(trainer: Trainer) -> str:
    rates = ", ".join(sorted({f"{group['lr']:g}" for one in trainer.optimizers for group in one.param_groups}))
    now = trainer.gradient_clip_val
    clip = f"lower (now {now:g})" if now else "(gradient_clip_val=1.0 of the Trainer)"
    return f"What to do: lower the learning rate (now {rates}), clip gradients {clip}, check the range of the inputs."
