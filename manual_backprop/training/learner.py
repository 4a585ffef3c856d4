"""The LightningModule: a network, its loss and metrics, any optimizer and scheduler."""

import contextlib
import random
from collections.abc import Callable
from functools import partial
from typing import Any, Literal, cast

import numpy as np
import torch
from pytorch_lightning import LightningModule
from pytorch_lightning.cli import LRSchedulerCallable, OptimizerCallable, ReduceLROnPlateau
from torch import Tensor

import manual_backprop as mb

from ..errors import BadInput, require_at_least
from ..listing.step import Step
from .batches import Batch, mix
from .checkpoints import compare_weights
from .models import build
from .tasks import Classification, Metrics, Regression, Task, try_out

NEVER = 1 << 60


def made(option: str, maker: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
    """The optimizer or scheduler. Raises BadInput where torch refuses its options."""
    try:
        return maker(*args, **kwargs)
    except (TypeError, ValueError) as error:
        raise BadInput(f"model.{option} cannot be made with these options: {error}") from error


def pair(batch: Any) -> Batch:
    """Inputs and targets of a batch. Raises BadInput where it is not two tensors."""
    if isinstance(batch, list | tuple) and len(batch) == 2 and all(isinstance(part, Tensor) for part in batch):
        return batch[0], batch[1]
    got = f"of {len(batch)} parts" if isinstance(batch, list | tuple) else f"a {type(batch).__name__}"
    raise BadInput(f"A batch of the data is {got}, expected two tensors: inputs and targets.")


def converted(net: torch.nn.Module, whole: bool) -> torch.nn.Module:
    """Converts the network's layers to rules; with `whole` its functions, too. Raises BadInput where it cannot."""
    try:
        return mb.convert(net, whole=whole)
    except TypeError as error:
        raise BadInput(f"model.explicit: {error}") from error


class Learner(LightningModule):
    """Trains `net` to classify or to predict numbers. The layers of the network and the loss run on rules.

    Args:
        net: mlp, cnn, resnet, the import path of a class or function that returns a torch.nn.Module, or a module.
        net_args: arguments of that model; shape, classes, num_classes and in_channels are filled in if it has them.
        task: classification (cross-entropy, accuracy), or regression (squared error, R2), where the network has as many
            outputs as a target has numbers.
        shape: shape of an input, such as channels, height and width of an image (on the command line: the data's).
        classes: number of classes (on the command line: the data's; 0: as many as the network has outputs).
        targets: for regression, how many numbers a target has (on the command line: the data's).
        optimizer: any optimizer of torch.
        scheduler: any learning rate scheduler of torch; total_steps, where one has it, is filled in.
        scheduler_interval: step the scheduler after every epoch or every step (one with total_steps: every step).
        label_smoothing: for classification, share of the target probability that is spread over all classes.
        target_mean: for regression: the network learns (target - target_mean) / target_std, and the loss is computed on
            these values; predictions are converted back to the unit of the targets.
        target_std: see target_mean.
        convert: turn torch.nn layers of `net` into ours, where they have rules.
        explicit: run the forward of `net` inside mb.explicit(), so that its functions and operators are rules, too
            (mb.convert(net, whole=True)). On the command line also --explicit.
        channels_last: keep convolution weights and activations in channels_last memory format.
        written_out: run training steps as a written program (mb.write_out), except steps that a callback observes with
            hooks; not with autocast.
        saving: mode of mb.saving in training steps: exact, off, bf16, int8 or int4 (default: the process's current
            mode, which is exact if it was not changed).
        seed: for the random numbers drawn in training steps (default: the run's --seed_everything).

    Raises BadInput for a model, an optimizer or a scheduler that cannot be made, and for numbers out of range.
    """

    def __init__(
        self,
        net: str | torch.nn.Module = "mlp",
        net_args: dict[str, Any] | None = None,
        shape: tuple[int, ...] = (1, 8, 8),
        classes: int = 10,
        targets: int = 1,
        task: Literal["classification", "regression"] = "classification",
        optimizer: OptimizerCallable = lambda params: torch.optim.AdamW(params, lr=1e-3),
        scheduler: LRSchedulerCallable | None = None,
        scheduler_interval: Literal["epoch", "step"] = "epoch",
        label_smoothing: float = 0.0,
        target_mean: float = 0.0,
        target_std: float = 1.0,
        convert: bool = True,
        explicit: bool = False,
        channels_last: bool = False,
        written_out: bool = False,
        saving: Literal["exact", "off", "bf16", "int8", "int4"] | None = None,
        seed: int | None = None,
    ) -> None:
        super().__init__()
        require_at_least("model", 0, seed=seed)
        if written_out and saving is not None:
            raise BadInput("model.saving has no effect on a written step. Leave model.saving or model.written_out out.")
        if explicit and not convert:
            raise BadInput("model.explicit=true runs all of the network on rules. Leave model.convert=false out.")
        outputs = targets if task == "regression" else classes
        if isinstance(net, str):
            net = build(net, shape, outputs, net_args or {})
        outputs = try_out(net, shape, outputs, task)  # this also gives lazy layers their shapes
        self.task: Task = (
            Regression(outputs, target_mean, target_std)
            if task == "regression"
            else Classification(outputs, label_smoothing)
        )
        self.memory_format = torch.channels_last if channels_last else torch.preserve_format
        if convert or explicit:
            net = converted(net, explicit)
        self.net = net.to(memory_format=self.memory_format)
        self.seed, self.saving = seed or 0, saving
        self.optimizer, self.scheduler, self.scheduler_interval = optimizer, scheduler, scheduler_interval
        made("optimizer", optimizer, self.net.parameters())  # raises for bad options before anything else runs
        self.plateau: ReduceLROnPlateau | None = None
        self.loss = self.task.loss
        self.written = Step(self.net, self.loss, None) if written_out else None
        for stage in ("train", "val", "test"):
            self.add_module(f"{stage}_metrics", self.task.metrics())
        # a checkpoint in the middle of an epoch holds the sums of this epoch so far
        self.measured("train").persistent(True)

    def measured(self, stage: str) -> Metrics:
        """The metrics of the stage "train", "val" or "test", summed over this epoch so far."""
        return cast(Metrics, self.get_submodule(f"{stage}_metrics"))

    def forward(self, images: Tensor) -> Tensor:
        """Inputs, as images (N, C, H, W), normalized, to logits (N, V) or other outputs (N, K)."""
        return self.net(images.contiguous(memory_format=self.memory_format))

    # training

    def on_fit_start(self) -> None:
        if self.global_rank:  # a checkpoint holds rank 0's sums; other ranks must not add them again
            self.measured("train").reset()

    def on_train_start(self) -> None:
        """Raises BadInput where the learning rate schedule of a checkpoint ends before this run does."""
        run = self.trainer.estimated_stepping_batches
        for config in self.trainer.lr_scheduler_configs:
            steps = getattr(config.scheduler, "total_steps", None)
            if steps is not None and config.interval == "step" and steps < run < float("inf"):
                raise BadInput(
                    f"The checkpoint's {type(config.scheduler).__name__} ends after {steps} steps, this run after "
                    f"{int(run)}. Give no more --trainer.max_epochs than the run had, or --model.scheduler=null to go "
                    "on with its last learning rate."
                )

    def training_step(self, batch: Batch, batch_idx: int) -> Tensor:
        self._seed_step(batch_idx)
        images, labels = pair(batch)
        self.task.require(labels)
        with contextlib.nullcontext() if self.saving is None else mb.saving(self.saving):
            try:
                if self.written is not None and not self.written.hooked():
                    images = images.contiguous(memory_format=self.memory_format)
                    loss, logits = self.written.node(images, targets=labels)
                    assert logits is not None
                else:
                    logits = self(images)
                    loss = self.loss(logits, labels)
            except ValueError as error:
                if "more than 1 value per channel" not in str(error):
                    raise
                raise BadInput(
                    f"{len(images)} training image(s) on each device, of data.batch_size over all: a BatchNorm of this "
                    "model needs two or more to train. Give a larger --data.batch_size, or a model without it (of mlp: "
                    "--model.net_args.norm=false)."
                ) from error
        self.task.update(self.measured("train"), logits.detach(), labels, loss.detach())
        every = self.trainer.log_every_n_steps  # type: ignore[attr-defined]
        if every and (self.global_step + 1) % every == 0:
            self.log("train/loss_step", loss.detach(), prog_bar=True, batch_size=len(labels))
        return loss

    def _seed_step(self, batch_idx: int) -> None:
        """Seeds the random generators by the position in the run: a resumed run draws the same dropout masks."""
        seed = mix(self.seed, self.current_epoch, batch_idx, self.global_rank)
        torch.default_generator.manual_seed(seed)  # torch.manual_seed would also queue a seed for unused devices
        if self.device.type == "cuda":
            torch.cuda.manual_seed(seed)
        np.random.seed(seed % 2**32)  # noqa: NPY002 (models may use the global generator)
        random.seed(seed)

    def on_train_epoch_end(self) -> None:
        self._log_epoch("train")
        if self.plateau:
            self.plateau.step(self.trainer.callback_metrics[self.plateau.monitor])

    # evaluation

    def _evaluate(self, stage: str, batch: Batch) -> Any:
        images, labels = pair(batch)
        self.task.require(labels)
        logits = self(images)
        self.task.update(self.measured(stage), logits, labels, self.task.measured_loss(logits, labels))
        return self.task.evaluated(logits)

    def _log_epoch(self, stage: str) -> None:
        for name, value in self.measured(stage).compute().items():
            self.log(f"{stage}/{name}", value, prog_bar=True, sync_dist=True)  # equal in all processes already
        self.measured(stage).reset()

    def validation_step(self, batch: Batch, batch_idx: int) -> Any:
        return self._evaluate("val", batch)

    def on_validation_epoch_end(self) -> None:
        self._log_epoch("val")

    def test_step(self, batch: Batch, batch_idx: int) -> Any:
        return self._evaluate("test", batch)

    def on_test_epoch_end(self) -> None:
        self._log_epoch("test")

    def predict_step(self, batch: Any, batch_idx: int) -> Tensor:
        """Probabilities (N, V), or numbers (N, K). The batch is inputs alone, or a pair with targets."""
        return self.task.predictions(self(batch if isinstance(batch, Tensor) else batch[0]))

    # optimization and checkpoints

    def configure_optimizers(self) -> Any:
        optimizer = made("optimizer", self.optimizer, self.parameters())
        if self.scheduler is None:
            return optimizer
        interval = self.scheduler_interval
        # the command line passes a partial with every argument, total_steps=None among them: fill in the run's length
        wanted = self.scheduler.keywords if isinstance(self.scheduler, partial) else {}
        if "total_steps" in wanted and wanted["total_steps"] is None and not wanted.get("epochs"):
            interval = "step"
            steps = int(self.trainer.estimated_stepping_batches)
            scheduler = made("scheduler", self.scheduler, optimizer, total_steps=steps)
        else:
            scheduler = made("scheduler", self.scheduler, optimizer)
        config: dict[str, Any] = {"scheduler": scheduler, "interval": interval, "frequency": 1}
        if isinstance(scheduler, ReduceLROnPlateau):
            # Lightning would step it after the epoch's checkpoint; a run resumed from there would miss that step
            self.plateau = scheduler
            config.update(monitor=scheduler.monitor, interval="epoch", frequency=NEVER)
        return {"optimizer": optimizer, "lr_scheduler": config}

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Raises BadInput naming keys and shapes where the checkpoint belongs to another model."""
        path = self.trainer.ckpt_path if self._trainer else None
        compare_weights(checkpoint["state_dict"], self.state_dict(), path)
