"""One's own data sets, data modules and network, as users write them: named by import path in tests."""

from __future__ import annotations

import random
from pathlib import Path

import numpy as np
import torch
from pytorch_lightning import LightningDataModule
from torch import Tensor
from torch.utils.data import DataLoader, Dataset, TensorDataset

from manual_backprop.training.table import read_rows

PATH = __name__


def spots(count: int = 240, seed: int = 0) -> tuple[Tensor, Tensor]:
    """Class k of three: noise, brighter in row k."""
    generator = torch.Generator().manual_seed(seed)
    labels = torch.arange(count) % 3
    images = torch.rand(count, 1, 6, 5, generator=generator)
    images[torch.arange(count), 0, labels] += 1
    return images, labels


class Spots(Dataset):
    """In two parts, as torchvision has them: arrays and numbers, with random noise, told where the files are."""

    classes = ("top", "middle", "bottom")

    def __init__(self, root: str, train: bool, noise: float = 0.0) -> None:
        self.root, self.noise = root, noise
        self.images, self.labels = spots(240 if train else 60, seed=int(train))

    def __len__(self) -> int:
        return len(self.labels)

    def __getitem__(self, place: int) -> tuple[np.ndarray, int]:
        draws = float(torch.rand(()) + np.random.rand() + random.random())  # noqa: NPY002 (as transforms do)
        return self.images[place].double().numpy() + self.noise * draws, int(self.labels[place])


def table() -> TensorDataset:
    return TensorDataset(*spots())


class Module(LightningDataModule):
    """What a user of Lightning has: options of its own, nothing that this package asks for."""

    def __init__(self, batch_size: int = 24, count: int = 240, folder: str = "none") -> None:
        super().__init__()
        self.batch_size, self.count, self.folder = batch_size, count, folder

    def setup(self, stage: str) -> None:
        self.parts = {"train": TensorDataset(*spots(self.count, 1)), "rest": TensorDataset(*spots(60, 2))}

    def train_dataloader(self) -> DataLoader:
        return DataLoader(self.parts["train"], self.batch_size, shuffle=True)

    def val_dataloader(self) -> DataLoader:
        return DataLoader(self.parts["rest"], 30)

    test_dataloader = val_dataloader

    def predict_dataloader(self) -> DataLoader:
        return DataLoader(TensorDataset(self.parts["rest"].tensors[0]), batch_size=30)  # inputs alone


class Told(Module):
    """It tells its sizes, so that nothing is read before the run; one cannot read it before."""

    shape, classes = (1, 6, 5), ("a", "b", "c")

    def setup(self, stage: str) -> None:
        assert self.trainer is not None
        super().setup(stage)


class OnlyTraining(LightningDataModule):
    def train_dataloader(self) -> DataLoader:
        return DataLoader(TensorDataset(*spots()), batch_size=24)


class Silent(Module):
    def train_dataloader(self) -> DataLoader:
        raise OSError("no such disk")


class Triples(Module):
    def train_dataloader(self) -> DataLoader:
        images, labels = spots(60)
        return DataLoader(TensorDataset(images, labels, labels), 30)


class Net(torch.nn.Module):
    """Knows its sizes by itself."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = torch.nn.Linear(30, 3)

    def forward(self, x: Tensor) -> Tensor:
        return self.layer(x.flatten(1))


def strings() -> list[str]:
    return ["a", "b", "c", "d", "e", "f"]


def triples() -> TensorDataset:
    images, labels = spots(60)
    return TensorDataset(images, labels, labels)


def empty() -> list[int]:
    return []


def broken() -> TensorDataset:
    raise OSError("no such disk")


def accuracy(run: Path, stage: str = "val") -> float:
    return [float(row[f"{stage}/accuracy"]) for row in read_rows(run / "metrics.csv") if f"{stage}/accuracy" in row][-1]
