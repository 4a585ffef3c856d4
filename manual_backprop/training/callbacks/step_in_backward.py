"""StepInBackward: runs the optimizer's step inside the backward of a Lightning run."""

from typing import Any

from pytorch_lightning import Callback, LightningModule, Trainer
from torch import Tensor

from ...errors import BadInput
from ...optim import StepInBackward as Handle
from ...optim import step_in_backward


class StepInBackward(Callback):
    """Updates each parameter as soon as its gradient is complete and then frees the gradient: `mb.step_in_backward`.

    The training gives the same result as without it. The trainer's accumulate_grad_batches and
    gradient_clip_algorithm="value" work as usual. At the start of a fit it raises BadInput for what needs all gradients
    at once: clipping by norm, several processes, a gradient scaler (precision "16-mixed"), manual optimization, LBFGS.
    """

    def __init__(self) -> None:
        self._handles: list[Handle] = []

    def on_fit_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        clip = trainer.gradient_clip_val
        if clip and trainer.gradient_clip_algorithm != "value":
            raise BadInput(
                f"StepInBackward cannot clip the norm of all gradients (gradient_clip_val={clip}): "
                'set gradient_clip_algorithm="value", or leave the callback out'
            )
        if trainer.world_size > 1:
            raise BadInput(f"StepInBackward works in one process, this run has {trainer.world_size}: set devices=1")
        if getattr(trainer.precision_plugin, "scaler", None) is not None:
            raise BadInput(
                f'StepInBackward does not work with scaled gradients (precision {trainer.precision}): use "bf16-mixed"'
            )
        if not pl_module.automatic_optimization:
            raise BadInput("StepInBackward needs automatic optimization: call mb.step_in_backward in training_step")

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self._clip: Any = trainer.gradient_clip_val
        trainer.gradient_clip_val = None  # the trainer would clip gradients that are freed by then
        self._handles = [step_in_backward(optimizer, self._clip or None) for optimizer in trainer.optimizers]

    def on_before_backward(self, trainer: Trainer, pl_module: LightningModule, loss: Tensor) -> None:
        for handle in self._handles:
            handle.holding = trainer.fit_loop._should_accumulate()

    def teardown(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        for handle in self._handles:
            handle.remove()
        if self._handles:
            trainer.gradient_clip_val = self._clip
        self._handles = []
