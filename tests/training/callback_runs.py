"""Small Lightning runs for the tests of the callbacks: seconds in all, on tensors made here."""

import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytorch_lightning as pl
import torch
from pytorch_lightning.loggers import CSVLogger
from torch import Tensor, nn
from torch.utils.data import DataLoader, TensorDataset
from torchmetrics.functional import accuracy

# Lightning's advice on things these tests do on purpose, and its own use of a deprecated torch class
EXPECTED_WARNINGS = (
    ".*does not have many workers",
    ".*exists and is not empty",
    "GPU available but not used",
    "The number of training batches .* is smaller than the logging interval",
    "`isinstance\\(treespec, LeafSpec\\)` is deprecated",
    "The `srun` command is available",
    ".*and have no logger configured",
)


class Images(pl.LightningDataModule):
    """Class k: noise with a bright spot at place k. Normalized like a real dataset."""

    classes = ("zero", "one", "two", "three")
    mean, std = 0.3, 0.4

    def __init__(self, shape: tuple[int, ...] = (1, 8, 8), count: int = 64, batch_size: int = 16) -> None:
        super().__init__()
        generator = torch.Generator().manual_seed(5)
        self.labels = torch.randint(4, (count,), generator=generator)
        pixels = torch.rand(count, *shape, generator=generator)
        pixels.flatten(1)[torch.arange(count), self.labels] += 0.5
        self.images = (pixels - self.mean) / self.std
        self.batch_size = batch_size

    def batches(self) -> list[tuple[Tensor, Tensor]]:
        return list(zip(self.images.split(self.batch_size), self.labels.split(self.batch_size), strict=True))

    def _loader(self) -> DataLoader:
        return DataLoader(TensorDataset(self.images, self.labels), self.batch_size)

    train_dataloader = val_dataloader = test_dataloader = _loader


class Classifier(pl.LightningModule):
    def __init__(self, net: nn.Module, lr: float = 0.1, momentum: float = 0.9) -> None:
        super().__init__()
        self.net, self.loss, self.lr, self.momentum = net, nn.CrossEntropyLoss(), lr, momentum

    def training_step(self, batch: Any, batch_idx: int) -> Tensor:
        images, labels = batch
        loss = self.loss(self.net(images), labels)
        self.log("train/loss", loss, on_step=True, on_epoch=True)
        return loss

    def _evaluate(self, stage: str, batch: Any) -> Tensor:
        images, labels = batch
        logits = self.net(images)
        self.log(f"{stage}/loss", self.loss(logits, labels))
        self.log(f"{stage}/accuracy", accuracy(logits, labels, task="multiclass", num_classes=4))
        return logits

    def validation_step(self, batch: Any, batch_idx: int) -> Any:
        return self._evaluate("val", batch)

    def test_step(self, batch: Any, batch_idx: int) -> Any:
        return self._evaluate("test", batch)

    def configure_optimizers(self) -> Any:
        trained = [parameter for parameter in self.parameters() if parameter.requires_grad]
        return torch.optim.SGD(trained, lr=self.lr, momentum=self.momentum)


def mlp(activation: type[nn.Module] = nn.ReLU) -> nn.Sequential:
    torch.manual_seed(0)
    hidden = [nn.Linear(64, 16), activation(), nn.Linear(16, 12), activation()]
    return nn.Sequential(nn.Flatten(), *hidden, nn.Linear(12, 4))


def cnn() -> nn.Sequential:
    torch.manual_seed(0)
    features = [nn.Conv2d(1, 6, 3), nn.BatchNorm2d(6), nn.ReLU(inplace=True), nn.Dropout(0.2)]
    return nn.Sequential(*features, nn.Flatten(), nn.Linear(6 * 36, 4))


def trainer(folder: Path, callbacks: list[pl.Callback], **options: Any) -> pl.Trainer:
    settings: dict[str, Any] = {
        "accelerator": "cpu",
        "devices": 1,
        "max_epochs": 2,
        "logger": CSVLogger(folder, name="", version=""),
        "log_every_n_steps": 1,
        "enable_checkpointing": False,
        "enable_progress_bar": False,
        "enable_model_summary": False,
        "callbacks": callbacks,
        "default_root_dir": folder,
    }
    return pl.Trainer(**(settings | options))


@contextmanager
def quiet() -> Iterator[None]:
    with warnings.catch_warnings():
        for message in EXPECTED_WARNINGS:
            warnings.filterwarnings("ignore", message)
        yield


def fit(
    folder: Path,
    module: pl.LightningModule,
    callbacks: list[pl.Callback],
    data: pl.LightningDataModule | None = None,
    ckpt_path: Path | None = None,
    test: bool = False,
    **options: Any,
) -> pl.Trainer:
    """One fit, and a test where asked for; two epochs of four batches where nothing else is said."""
    data = data or Images()
    with quiet():
        run = trainer(folder, callbacks, **options)
        run.fit(module, datamodule=data, ckpt_path=ckpt_path)
        if test:
            run.test(module, datamodule=data, verbose=False)
    return run


def fp16(scale: float) -> Any:
    """Float16 autocast with a scaled loss on the CPU; Lightning itself would choose it on CUDA only."""
    from pytorch_lightning.plugins.precision import MixedPrecision

    return MixedPrecision("16-mixed", "cpu", torch.amp.GradScaler("cpu", init_scale=scale))
