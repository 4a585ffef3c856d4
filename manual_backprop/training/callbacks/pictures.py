"""Pictures: draws the results of a run into `<run>/pictures/` when it ends."""

import csv
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from matplotlib.figure import Figure
from pytorch_lightning import Callback, LightningModule, Trainer
from pytorch_lightning.loggers import CSVLogger
from pytorch_lightning.trainer.states import TrainerFn
from pytorch_lightning.utilities import rank_zero_warn
from torch import Tensor
from torchmetrics.classification import MulticlassConfusionMatrix

from ...errors import BadInput
from ..own_data import class_names
from . import plots, plots_images
from ._layers import network
from .delta_table import FILE, read_table
from .style import NothingToShow, save, styled

KEPT_MISTAKES = 24


class Pictures(Callback):
    """Writes PNG pictures into `<run>/pictures/`.

    After a fit: learning_curves, confusion_validation and mistakes_validation (both of the last validation), delta_flow
    (from the `deltas.csv` of DeltaFlow), first_layer. After a test: confusion_test, mistakes_test. After a validation
    by itself: confusion_validation, mistakes_validation. A regression gets predicted_validation or predicted_test in
    place of confusion and mistakes.

    `written` lists the files; `skipped` gives the reason for each picture that was not drawn. Summary prints both.
    Needs a validation_step or test_step that returns the logits (N, V), or a dict with them under "logits", and batches
    (input, labels). Of several dataloaders only the first is used. The learning curves come from the CSVLogger's
    metrics.csv. In DDP all processes count and rank zero draws.
    """

    def __init__(self) -> None:
        self.written: list[Path] = []
        self.skipped: dict[str, str] = {}
        self._seen = _Predictions()

    def on_validation_epoch_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self._seen = _Predictions()

    def on_test_epoch_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self._seen = _Predictions()

    def on_validation_batch_end(
        self,
        trainer: Trainer,
        pl_module: LightningModule,
        outputs: Any,
        batch: Any,
        batch_idx: int,
        dataloader_idx: int = 0,
    ) -> None:
        if not trainer.sanity_checking and dataloader_idx == 0:
            self._seen.add(outputs, batch)

    def on_test_batch_end(
        self,
        trainer: Trainer,
        pl_module: LightningModule,
        outputs: Any,
        batch: Any,
        batch_idx: int,
        dataloader_idx: int = 0,
    ) -> None:
        if dataloader_idx == 0:
            self._seen.add(outputs, batch)

    def on_train_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        folder = self._start(trainer)
        self._draw_predictions(trainer, folder, "validation")
        if folder is not None:
            model, shape = network(pl_module), self._seen.shape
            self._draw(folder, "learning_curves", lambda: plots.learning_curves(*read_metrics(trainer)))
            self._draw(folder, "delta_flow", lambda: plots.delta_flow(read_table(folder.parent / FILE)))
            self._draw(folder, "first_layer", lambda: plots_images.first_layer(model, shape))

    def on_validation_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        if trainer.state.fn == TrainerFn.VALIDATING:
            self._draw_predictions(trainer, self._start(trainer), "validation")

    def on_test_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self._draw_predictions(trainer, self._start(trainer), "test")

    def _start(self, trainer: Trainer) -> Path | None:
        """The folder to draw into; None in processes that only count."""
        self.written, self.skipped = [], {}
        folder = trainer.log_dir  # a collective call: all processes must make it
        if folder is None or trainer.fast_dev_run or not trainer.is_global_zero:  # type: ignore[attr-defined]
            return None
        return Path(folder) / "pictures"

    def _draw_predictions(self, trainer: Trainer, folder: Path | None, stage: str) -> None:
        seen = self._seen
        counts = seen.gather(trainer)  # a collective call: all processes must make it
        if folder is None:
            return
        if seen.numbers:
            self._draw(folder, f"predicted_{stage}", lambda: plots.predicted(*seen.true_and_predicted(), stage))
            return
        data = getattr(trainer, "datamodule", None)
        names = list(class_names(data))
        if len(names) != len(counts):
            names = [str(label) for label in range(len(counts))]
        spec = getattr(data, "spec", data)
        total, wrong = int(counts.sum()), int(counts.sum() - counts.trace())

        def confusion() -> Figure:
            if seen.unusable:
                raise NothingToShow(seen.unusable)
            return plots.confusion_matrix(counts.numpy(), names, stage)

        def mistakes() -> Figure:
            if seen.unusable:
                raise NothingToShow(seen.unusable)
            images, true, predicted, confidence = seen.mistakes()
            if images.dim() == 4:
                images = plots_images.unnormalized(images, getattr(spec, "mean", None), getattr(spec, "std", None))
            true_names, predicted_names = [names[label] for label in true], [names[label] for label in predicted]
            return plots_images.mistakes(images, true_names, predicted_names, confidence, wrong, total, stage)

        self._draw(folder, f"confusion_{stage}", confusion)
        self._draw(folder, f"mistakes_{stage}", mistakes)

    def _draw(self, folder: Path, name: str, draw: Callable[[], Figure]) -> None:
        try:
            with styled():
                self.written.append(save(draw(), folder / f"{name}.png"))
        except NothingToShow as reason:
            self.skipped[name] = str(reason)
            (folder / f"{name}.png").unlink(missing_ok=True)  # left by an earlier run in this folder
        except BadInput as error:
            self.skipped[name] = str(error)
            rank_zero_warn(f"{error} The training itself is complete.")


class _Predictions:
    """The predictions of one pass over a dataset: counts of (true, predicted), and the mistakes of highest confidence.

    Adding a batch does not wait for the device.
    """

    def __init__(self) -> None:
        self.unusable = ""
        self.shape: tuple[int, ...] | None = None
        self._counts: MulticlassConfusionMatrix | None = None
        self.numbers: list[tuple[Tensor, Tensor]] = []  # for a regression: targets and predictions, (N, K)
        self._kept: list[Tensor] = []  # images, true, predicted, confidence; confidence -1 marks an empty place

    def add(self, outputs: Any, batch: Any) -> None:
        if isinstance(outputs, dict) and isinstance(numbers := outputs.get("predictions"), Tensor):
            self.numbers.append((batch[1].reshape(numbers.shape), numbers.detach()))
            return
        logits = outputs.get("logits") if isinstance(outputs, dict) else outputs
        if not isinstance(logits, Tensor) or logits.dim() != 2:
            self.unusable = "the evaluation step returns no logits (N, V)"
            return
        images, labels = batch if isinstance(batch, (list, tuple)) and len(batch) == 2 else (None, None)
        if not isinstance(images, Tensor) or not isinstance(labels, Tensor) or labels.shape != logits.shape[:1]:
            self.unusable = "the batches are no pairs of inputs and class indices (N,)"
            return
        self.shape = tuple(images.shape[1:])
        if self._counts is None:
            self._counts = MulticlassConfusionMatrix(logits.shape[1], validate_args=False).to(logits.device)
        confidence, predicted = logits.detach().float().softmax(1).max(1)
        self._counts.update(predicted, labels)
        confidence = torch.where(predicted == labels, -1.0, confidence)
        fresh = [images.detach(), labels, predicted, confidence]
        self._keep([torch.cat(pair) for pair in zip(self._kept, fresh, strict=True)] if self._kept else fresh)

    def _keep(self, values: list[Tensor]) -> None:
        surest = values[-1].topk(min(KEPT_MISTAKES, len(values[-1]))).indices
        self._kept = [value[surest] for value in values]

    def gather(self, trainer: Trainer) -> Tensor:
        """Counts (V, V) over all processes, on the host. The mistakes kept become those of all processes, too."""
        if self._counts is None:
            return torch.zeros(1, 1, dtype=torch.long)
        if trainer.world_size > 1:
            empty = [value[:1].expand(KEPT_MISTAKES, *value.shape[1:]) for value in self._kept]
            empty[-1] = torch.full_like(empty[-1], -1.0)
            same_length = [torch.cat(pair)[:KEPT_MISTAKES] for pair in zip(self._kept, empty, strict=True)]
            self._keep([trainer.strategy.all_gather(value).flatten(0, 1) for value in same_length])
        return self._counts.compute().cpu()

    def true_and_predicted(self) -> tuple[np.ndarray, np.ndarray]:
        """Targets and predictions of a regression, flattened, on the host."""
        true, predicted = (
            torch.cat(parts).flatten().float().cpu().numpy() for parts in zip(*self.numbers, strict=True)
        )
        return true, predicted

    def mistakes(self) -> tuple[Tensor, list[int], list[int], list[float]]:
        """Images, true labels, predicted labels and confidences on the host, highest confidence first."""
        if not self._kept:
            return torch.empty(0), [], [], []
        wrong = self._kept[-1] >= 0
        images, true, predicted, confidence = (value[wrong].cpu() for value in self._kept)
        return images, true.tolist(), predicted.tolist(), confidence.tolist()


def read_metrics(trainer: Trainer) -> tuple[plots.Curves, list[tuple[int, int]]]:
    """The curves in the metrics.csv of this run's CSVLogger, and (last step, epochs done) for each epoch."""
    files = [Path(logger.log_dir) / "metrics.csv" for logger in trainer.loggers if isinstance(logger, CSVLogger)]
    file = next((file for file in files if file.exists()), None)
    if file is None:
        raise NothingToShow("there is no metrics.csv (no CSVLogger, or nothing was logged)")
    curves: plots.Curves = {}
    ends: dict[int, int] = {}
    with open(file, newline="") as lines:
        for row in csv.DictReader(lines):
            step = int(float(row["step"]))
            if row.get("epoch"):
                ends[int(float(row["epoch"])) + 1] = step
            for name, text in row.items():
                if name not in ("step", "epoch") and text and math.isfinite(float(text)):
                    curves.setdefault(name.removesuffix("_epoch"), []).append((step, float(text)))
    return curves, sorted((step, epoch) for epoch, step in ends.items())
