"""The LightningDataModule: a dataset by name, living on the training device, cut into batches."""

import torch
from pytorch_lightning import LightningDataModule

from ..errors import BadInput, require_at_least
from . import datasets
from .batches import Augment, Batches
from .images import read_images


class DataModule(LightningDataModule):
    """Images of one of the named datasets, as batches of (images (B, C, H, W) float32 normalized, labels (B,) int64).

    Args:
        dataset: digits, mnist, fashion_mnist, kmnist, emnist, qmnist or cifar10.
        root: folder that holds the files of every dataset but digits.
        download: fetch missing files.
        batch_size: training images per step, over all devices together.
        eval_batch_size: images per step when validating, testing or predicting.
        held_out: training images set aside for validation (default 5000; 180 of digits).
        split_seed: which ones are set aside.
        seed: order and augmentation of the training images (default: the run's --seed_everything).
        augment: random changes to the training images.
        resident: keep the images on the training device and make batches there; otherwise keep them in main memory and
            make batches in `workers` processes of a DataLoader. The batches are the same.
        workers: processes of the DataLoader when not resident.
        images: image files or folders to predict.
        resize: let those have any size.
        invert: exchange black and white in them (the datasets of digits and letters are white on black).

    Raises BadInput for an unknown dataset and for numbers out of range.
    """

    def __init__(
        self,
        dataset: str = "digits",
        root: str = "data",
        download: bool = False,
        batch_size: int = 64,
        eval_batch_size: int = 1000,
        held_out: int | None = None,
        split_seed: int = 0,
        seed: int | None = None,
        augment: Augment = Augment(),  # noqa: B008 (never changed)
        resident: bool = True,
        workers: int = 2,
        images: list[str] | None = None,
        resize: bool = False,
        invert: bool = False,
    ) -> None:
        super().__init__()
        self.spec = datasets.spec(dataset)
        require_at_least("data", 1, batch_size=batch_size, eval_batch_size=eval_batch_size)
        require_at_least("data", 0, split_seed=split_seed, seed=seed, workers=workers)
        if split_seed >= 2**32:  # numpy's limit
            raise BadInput(f"data.split_seed={split_seed}: give 0 to {2**32 - 1}.")
        self.dataset, self.root, self.download = dataset, root, download
        self.batch_size, self.eval_batch_size = batch_size, eval_batch_size
        self.held_out = held_out if held_out is not None else (180 if dataset == "digits" else 5000)
        self.split_seed, self.seed, self.augment = split_seed, seed or 0, augment
        self.resident, self.workers = resident, workers
        self.images, self.resize, self.invert = images, resize, invert
        self.splits: dict[str, datasets.Split] = {}
        self.training: Batches | None = None
        self.position: dict[str, int] = {}

    @property
    def classes(self) -> tuple[str, ...]:
        """Names of the classes, in the order of their labels."""
        return self.spec.classes

    def load(self, stage: str) -> None:
        """Read the files, unless that is done. Raises BadInput."""
        if stage == "predict" and "predict" not in self.splits:
            self.files, pixels = read_images(self.images or [], self.spec, self.resize, self.invert)
            self.splits["predict"] = datasets.Split(pixels, torch.zeros(len(pixels), dtype=torch.long))
        elif stage != "predict" and "train" not in self.splits:
            read = datasets.read(self.dataset, self.root, self.download, self.held_out, self.split_seed)
            self.splits.update(read)

    def setup(self, stage: str) -> None:
        """Read the files and move the images to the training device. Raises BadInput."""
        self.load(stage)
        world = self.trainer.world_size if self.trainer else 1
        if self.batch_size % world:
            raise BadInput(f"data.batch_size={self.batch_size} cannot be shared evenly by {world} devices.")
        if self.resident and self.trainer:
            device = self.trainer.strategy.root_device
            self.splits = {key: datasets.Split(*(t.to(device) for t in s)) for key, s in self.splits.items()}

    def batches(self, key: str) -> Batches:
        """The batches of split `key`: "train" shuffled and augmented, the others as they are."""
        training = key == "train"
        return Batches(
            self.splits[key],
            self.spec,
            self.batch_size if training else self.eval_batch_size,
            shuffle=training,
            augment=self.augment if training else None,
            seed=self.seed,
            rank=self.trainer.global_rank if self.trainer else 0,
            world=self.trainer.world_size if self.trainer else 1,
            workers=None if self.resident else self.workers,
        )

    def train_dataloader(self) -> Batches:
        self.training = self.batches("train")
        if self.position:
            self.training.load_state_dict(self.position)
        return self.training

    def val_dataloader(self) -> Batches:
        return self.batches("val")

    def test_dataloader(self) -> Batches:
        return self.batches("test")

    def predict_dataloader(self) -> Batches:
        return self.batches("predict")

    # Lightning also restores the position of a loader by itself, but not where the optimizer's schedule asks for the
    # number of steps: the loader is made then, ahead of the restoring.

    def state_dict(self) -> dict[str, int]:
        """How far into the epoch the training batches are."""
        return self.training.state_dict() if self.training else {}

    def load_state_dict(self, state: dict[str, int]) -> None:
        self.position = state
