"""The LightningDataModule: a dataset by name or import path, stored on the training device and cut into batches."""

from pathlib import Path
from typing import Any

import torch
from pytorch_lightning import LightningDataModule
from torch import Tensor

from ..errors import BadInput, require_at_least, unknown
from . import datasets, own_data
from .batches import Augment, Batches, Items, Order
from .images import read_images
from .own_data import Sizes


class DataModule(LightningDataModule):
    """A named dataset of images, in batches (images (B, C, H, W) float32 normalized, labels (B,) int64), or your own.

    Args:
        dataset: digits, mnist, fashion_mnist, kmnist, emnist, qmnist, cifar10, diabetes (a table, for regression), or
            the import path of a class or function that returns a torch.utils.data.Dataset of pairs (input, target). If
            it has an argument `train`, it is called with true and with false; otherwise a fifth of it is for testing.
        dataset_args: arguments of your own dataset; root and download are passed on if it has such arguments.
        root: folder that holds the files of every dataset but digits and diabetes.
        download: fetch missing files.
        batch_size: training images per step, counted over all devices.
        eval_batch_size: images per step when validating, testing or predicting.
        held_out: training images set aside for validation (default 5000; 180 of digits; a fifth of your own data).
        split_seed: chooses which training images are set aside.
        seed: for order and augmentation of the training images (default: the run's --seed_everything).
        augment: random changes to the training images.
        resident: keep the images on the training device and make batches there; otherwise keep them in main memory and
            make batches in `workers` processes of a DataLoader. The batches are the same.
        workers: processes of the DataLoader when not resident.
        images: image files or folders to predict. Without a named dataset of images, the test part is predicted.
        resize: accept images to predict of any size.
        invert: exchange black and white in images to predict (datasets of digits and letters are white on black).

    Raises BadInput for an unknown dataset and for numbers out of range.
    """

    def __init__(
        self,
        dataset: str = "digits",
        dataset_args: dict[str, Any] | None = None,
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
        self.spec = datasets.DATASETS.get(dataset)
        if self.spec is None and "." not in dataset and dataset not in own_data.TABLES:
            raise unknown("dataset", dataset, [*datasets.DATASETS, *own_data.TABLES, "any.import.path"])
        require_at_least("data", 1, batch_size=batch_size, eval_batch_size=eval_batch_size)
        require_at_least("data", 0, split_seed=split_seed, seed=seed, workers=workers)
        if split_seed >= 2**32:  # numpy's limit
            raise BadInput(f"data.split_seed={split_seed}: give 0 to {2**32 - 1}.")
        if self.spec is None and (images or augment != Augment()):
            option = "images" if images else "augment"
            raise BadInput(f"data.{option} is for the named sets of images, not for {dataset}. Leave it out.")
        if self.spec is not None and dataset_args:
            raise BadInput(f"data.dataset_args is for datasets by import path, not for {dataset}. Leave it out.")
        self.dataset, self.dataset_args = dataset, dataset_args or {}
        self.root, self.download = root, download
        self.batch_size, self.eval_batch_size = batch_size, eval_batch_size
        self.held_out = held_out
        self.split_seed, self.seed, self.augment = split_seed, seed or 0, augment
        self.resident, self.workers = resident, workers
        self.images, self.resize, self.invert = images, resize, invert
        self.files: list[Path] = []  # image files to predict; `pixels` holds them, (N, C, H, W) uint8
        self.pixels: Tensor | None = None
        self.splits: own_data.Splits = {}
        self.training: Order | None = None
        self.position: dict[str, int] = {}

    @property
    def classes(self) -> tuple[str, ...]:
        """Names of the classes, in the order of their labels; () where they have no names."""
        return self.spec.classes if self.spec else own_data.class_names(self.splits.get("train"))

    @property
    def sizes(self) -> Sizes:
        """The sizes that the model needs to know. Raises BadInput where the data cannot be read."""
        if self.spec:
            return Sizes(self.spec.shape, len(self.spec.classes))
        self.load("fit")
        counts = [own_data.count_of_classes(split) for split in self.splits.values()]
        return own_data.sizes_of(own_data.first_pair(self.splits["train"]), max(counts))

    def load(self, stage: str) -> None:
        """Reads the files, unless they have been read. Raises BadInput."""
        if stage == "predict" and self.spec:
            if "predict" not in self.splits:
                self.files, self.pixels = read_images(self.images or [], self.spec, self.resize, self.invert)
                labels = torch.zeros(len(self.files), dtype=torch.long)
                self.splits["predict"] = datasets.Split(self.pixels, labels)
        elif "train" not in self.splits:
            if self.spec:
                held_out = self.held_out if self.held_out is not None else (180 if self.dataset == "digits" else 5000)
                self.splits.update(datasets.read(self.dataset, self.root, self.download, held_out, self.split_seed))
            else:
                common = {"root": self.root, "download": self.download}
                own = own_data.read(self.dataset, self.dataset_args, common, self.held_out, self.split_seed)
                self.splits.update(own)

    def setup(self, stage: str) -> None:
        """Reads the files and moves the images to the training device if `resident`. Raises BadInput."""
        self.load(stage)
        world = self.trainer.world_size if self.trainer else 1
        if self.batch_size % world:
            raise BadInput(f"data.batch_size={self.batch_size} cannot be shared evenly by {world} devices.")
        if self.resident and self.trainer:
            device = self.trainer.strategy.root_device
            for key, split in self.splits.items():
                if isinstance(split, datasets.Split):
                    self.splits[key] = datasets.Split(*(tensor.to(device) for tensor in split))

    def batches(self, key: str) -> Order:
        """The batches of split `key`: "train" shuffled and augmented, the others as they are."""
        training, split = key == "train", self.splits[key]
        size = self.batch_size if training else self.eval_batch_size
        options: dict[str, Any] = {
            "shuffle": training,
            "seed": self.seed,
            "rank": self.trainer.global_rank if self.trainer else 0,
            "world": self.trainer.world_size if self.trainer else 1,
            "workers": None if self.resident else self.workers,
        }
        if isinstance(split, datasets.Split):
            return Batches(split, self.spec, size, augment=self.augment if training else None, **options)
        return Items(split, size, **options)

    def train_dataloader(self) -> Order:
        self.training = self.batches("train")
        if self.position:
            self.training.load_state_dict(self.position)
        return self.training

    def val_dataloader(self) -> Order:
        return self.batches("val")

    def test_dataloader(self) -> Order:
        return self.batches("test")

    def predict_dataloader(self) -> Order:
        return self.batches("predict" if self.spec else "test")

    # Lightning restores the position of a loader, too, but too late where a learning rate schedule needs the number of
    # steps: the loader has been made before.

    def state_dict(self) -> dict[str, int]:
        """How far into the epoch the training batches are."""
        return self.training.state_dict() if self.training else {}

    def load_state_dict(self, state: dict[str, int]) -> None:
        self.position = state
