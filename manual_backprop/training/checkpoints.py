"""Checkpoint files: written atomically, so that none is ever incomplete, and loaded without running code from them."""

import io
import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import torch
from pytorch_lightning import Trainer
from pytorch_lightning.callbacks import Checkpoint, EarlyStopping, ModelCheckpoint
from pytorch_lightning.plugins.io import TorchCheckpointIO

from .._files import write_atomically
from ..errors import BadInput

# torch's error for an object in a pickle that is neither a tensor nor plain data
FORBIDDEN = re.compile(r"GLOBAL ([\w.]+)")


# the parts of a checkpoint that Lightning writes, and reads without checking them
PARTS: dict[str, type] = {
    "state_dict": dict,
    "loops": dict,
    "epoch": int,
    "global_step": int,
    "pytorch-lightning_version": str,
}
TRAINING_PARTS: dict[str, type] = {"callbacks": dict, "optimizer_states": list, "lr_schedulers": list}
LOOPS = ("fit_loop", "validate_loop", "test_loop", "predict_loop")


def require_parts(checkpoint: dict[str, Any], parts: Mapping[str, type], path: Any) -> None:
    """Raises BadInput where a part of a checkpoint is missing or has the wrong type."""
    kinds = {key: checkpoint.get(key) for key in parts}
    wrong = [f"{key} is {type(part).__name__}" for key, part in kinds.items() if not isinstance(part, parts[key])]
    if not wrong and parts is PARTS:
        loops, weights, version = (checkpoint[key] for key in ("loops", "state_dict", "pytorch-lightning_version"))
        if not all(isinstance(loops.get(loop), dict) for loop in LOOPS):
            wrong.append(f"loops holds {', '.join(map(str, loops)) or 'none'}")
        if not all(isinstance(key, str) and isinstance(t, torch.Tensor) for key, t in weights.items()):
            wrong.append("state_dict holds more than tensors")
        if not re.match(r"\d+(\.\d+)*", version):
            wrong.append(f"pytorch-lightning_version is {version}")
    if wrong:
        raise BadInput(
            f"{path} is not a checkpoint of such a run: {', '.join(wrong)}. Give one that `fit` has written."
        )


def finished(checkpoint: dict[str, Any], trainer: Any, patience: int | None) -> str:
    """Why the run of a checkpoint is finished; "" where the trainer's options leave something to train."""
    epochs = checkpoint["loops"]["fit_loop"]["epoch_progress"]["current"]["processed"]
    steps = checkpoint["global_step"]
    for unit, done, end in (("epochs", epochs, trainer.max_epochs), ("steps", steps, trainer.max_steps)):
        if end is not None and 0 <= end <= done:
            return f"{done} of {end} {unit}"
    waited = [state["wait_count"] for state in checkpoint["callbacks"].values() if "wait_count" in state]
    if patience is not None and max(waited, default=0) >= max(patience, 1) and epochs >= (trainer.min_epochs or 0):
        return f"stopped after epoch {epochs}: {max(waited)} epochs without a smaller val/loss"
    return ""


class AtomicCheckpointIO(TorchCheckpointIO):
    """Lightning's checkpoint files, written atomically and synced, loaded with weights_only=True unless `trusted`."""

    def __init__(self, trusted: bool = False) -> None:
        super().__init__()
        self.trusted = trusted

    def save_checkpoint(self, checkpoint: dict[str, Any], path: Any, storage_options: Any = None) -> None:
        buffer = io.BytesIO()  # in memory first: a full disk then raises a plain OSError in one write
        torch.save(checkpoint, buffer)
        write_atomically(Path(path), buffer.getvalue())

    def load_checkpoint(
        self, path: Any, map_location: Callable | None = lambda storage, _: storage, weights_only: bool | None = None
    ) -> dict[str, Any]:
        if not Path(path).is_file():
            raise BadInput(f"No checkpoint file {path}.")
        try:
            safe = not self.trusted and weights_only is not False
            checkpoint = torch.load(path, map_location=map_location, weights_only=safe)
        except Exception as error:  # for a damaged file zipfile, pickle and torch raise many kinds
            if name := FORBIDDEN.search(str(error)):
                raise BadInput(
                    f"{path} holds the pickled object {name.group(1)}, expected tensors, numbers and strings: "
                    "loading it could run code. If you trust its source, add --trust."
                ) from error
            raise BadInput(f"{path} is not a checkpoint that can be read: {_why(error)}") from error
        if not isinstance(checkpoint, dict) or "state_dict" not in checkpoint:
            raise BadInput(f"{path} is no training checkpoint: it holds no state_dict. Give one that `fit` wrote.")
        require_parts(checkpoint, PARTS, path)
        return checkpoint


def _why(error: Exception) -> str:
    """The first line of an error, without torch's advice to load with weights_only=False."""
    text = str(error).rpartition("WeightsUnpickler error:")[2].strip() or type(error).__name__
    return text.splitlines()[0]


class LastCheckpoint(Checkpoint):
    """Saves last.ckpt after every epoch and, where `every` is not 0, after every `every` batches of an epoch.

    Lightning logs the metrics of an epoch after the hooks of its end. So the checkpoint of an epoch's end becomes
    last.ckpt in the next hook: a run that is killed in between, and resumed, logs those metrics again.
    """

    def __init__(self, folder: Path, every: int = 0) -> None:
        self.path, self.every, self.due = folder / "last.ckpt", every, False
        self.aside, self.waits = folder / "last.ckpt.new", False

    def on_train_batch_end(self, trainer: Any, module: Any, outputs: Any, batch: Any, batch_idx: int) -> None:
        done = batch_idx + 1
        self.due = self.due or (self.every > 0 and done % self.every == 0)
        # not while gradients accumulate, which no checkpoint holds, and not at the epoch's end, which saves one anyway
        if self.due and done % trainer.accumulate_grad_batches == 0 and not trainer.is_last_batch:
            self.due = False
            if not trainer.fast_dev_run:
                trainer.save_checkpoint(self.path)

    def on_train_epoch_end(self, trainer: Any, module: Any) -> None:
        if not trainer.fast_dev_run:
            trainer.save_checkpoint(self.aside)
            self.waits = trainer.is_global_zero

    def on_train_epoch_start(self, trainer: Any, module: Any) -> None:
        if self.waits:
            self.waits = False
            self.aside.replace(self.path)

    def on_train_end(self, trainer: Any, module: Any) -> None:
        self.on_train_epoch_start(trainer, module)


class Patience(EarlyStopping):
    """Early stopping. A run that it stopped stays stopped when it is resumed from its last checkpoint."""

    def on_train_start(self, trainer: Trainer, module: Any) -> None:
        trainer.should_stop = trainer.should_stop or self.wait_count >= max(self.patience, 1)


class BestCheckpoint(ModelCheckpoint):
    """Saves best.ckpt at the highest validation accuracy or R2; of several equal epochs, the last one."""

    def __init__(self, folder: Path, metric: str = "accuracy") -> None:
        super().__init__(folder, filename="best", monitor=f"val/{metric}", mode="max", enable_version_counter=False)

    def check_monitor_top_k(self, trainer: Any, current: torch.Tensor | None = None) -> bool:
        return super().check_monitor_top_k(trainer, current) or current == self.best_model_score


def compare_weights(saved: dict[str, torch.Tensor], expected: dict[str, torch.Tensor], path: Any = None) -> None:
    """Raises BadInput naming the keys and shapes in which a checkpoint differs from the model."""
    lines = [f"  missing in the checkpoint: {key} {tuple(t.shape)}" for key, t in expected.items() if key not in saved]
    lines += [f"  only in the checkpoint:    {key} {tuple(t.shape)}" for key, t in saved.items() if key not in expected]
    lines += [
        f"  {key}: checkpoint {tuple(saved[key].shape)}, model {tuple(t.shape)}"
        for key, t in expected.items()
        if key in saved and saved[key].shape != t.shape
    ]
    if lines:
        more = [f"  ... and {len(lines) - 12} more"] if len(lines) > 12 else []
        advice = "Name the run's own config.yaml with --config, or another checkpoint with --ckpt_path."
        raise BadInput("\n".join([f"The checkpoint {path or ''} is of another model:", *lines[:12], *more, advice]))
