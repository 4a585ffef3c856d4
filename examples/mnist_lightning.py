"""The digits of mnist_plain.py with Lightning, which needs no change: our layers are subclasses of torch's layers.

`manual-backprop fit` is the ready-made version, with checkpoints, pictures and data loading.
"""

import argparse
import logging
import warnings

import pytorch_lightning as lightning
import torch
from mnist_plain import Split, load
from torch.utils.data import BatchSampler, DataLoader, RandomSampler, SequentialSampler, TensorDataset

import manual_backprop.nn as nn


class Digits(lightning.LightningModule):
    """A net with one hidden layer, its loss and its optimizer."""

    def __init__(self, pixels: int) -> None:
        super().__init__()
        self.net = nn.Sequential(nn.Linear(pixels, 256), nn.ReLU(), nn.Linear(256, 10))
        self.loss = nn.CrossEntropyLoss()

    def training_step(self, batch: Split, batch_idx: int) -> torch.Tensor:
        images, labels = batch
        return self.loss(self.net(images), labels)

    def test_step(self, batch: Split, batch_idx: int) -> None:
        images, labels = batch
        right = (self.net(images).argmax(1) == labels).float().mean()
        self.log("accuracy", right, batch_size=len(labels))

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return torch.optim.Adam(self.parameters(), lr=2e-3)


def batches(split: Split, size: int, shuffle: bool) -> DataLoader:
    """Batches that are indexed at once, in place of image by image."""
    data = TensorDataset(*split)
    order = RandomSampler(data) if shuffle else SequentialSampler(data)
    return DataLoader(data, batch_size=None, sampler=BatchSampler(order, size, drop_last=False))


def main(argv: list[str] | None = None) -> dict[str, object]:
    """Train, test; returns the accuracy and the dataset's name."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--root", default="data", help="folder that holds MNIST/raw")
    name, train, test = load(parser.parse_args(argv).root)
    logging.getLogger("pytorch_lightning").setLevel(logging.WARNING)
    warnings.filterwarnings("ignore", ".*does not have many workers")  # a batch is one indexing: workers would not help
    warnings.filterwarnings("ignore", ".*LeafSpec.* is deprecated")  # Lightning's own use of torch's pytree

    lightning.seed_everything(0, verbose=False)
    trainer = lightning.Trainer(
        max_epochs=3 if name == "MNIST" else 30,
        accelerator="auto",
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
    )
    model = Digits(train[0].shape[1])
    trainer.fit(model, batches(train, 100, shuffle=True))
    accuracy = trainer.test(model, batches(test, len(test[1]), shuffle=False), verbose=False)[0]["accuracy"]
    print(f"{name}: {accuracy:.2%} of {len(test[1])} test images right, after {trainer.global_step} steps")
    return {"accuracy": accuracy, "dataset": name}


if __name__ == "__main__":
    main()
