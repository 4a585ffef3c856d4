"""One line per epoch, for output that is not a terminal: a log file, a container, a pipe."""

import time

from pytorch_lightning import Callback, LightningModule, Trainer


class EpochLines(Callback):
    """Prints the last training loss, validation loss and accuracy (or R2), and seconds after each epoch."""

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self._started = time.monotonic()  # a run resumed within an epoch does not call on_train_epoch_start

    def on_train_epoch_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self._started = time.monotonic()

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        if not trainer.is_global_zero:
            return
        names = ("train/loss_step", "val/loss", "val/accuracy", "val/r2")
        measured = {name: trainer.callback_metrics.get(name) for name in names}
        parts = [f"{name} {float(value):.4f}" for name, value in measured.items() if value is not None]
        epoch = f"epoch {trainer.current_epoch + 1}/{trainer.max_epochs}"
        print("  ".join([epoch, *parts, f"{time.monotonic() - self._started:.1f} s"]), flush=True)
