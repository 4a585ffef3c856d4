"""Batches of examples. Order, augmentation and normalization depend on (seed, epoch, batch index) alone.

Nothing here draws from the global random generator. A run that is resumed in the middle of an epoch sees the batches
that an uninterrupted run would have seen, and every rank of a distributed run can compute its share.
"""

import math
import random
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from pytorch_lightning.utilities.seed import isolate_rng
from torch import Tensor
from torch.utils.data import DataLoader, Dataset, default_collate

from ..errors import BadInput, require_at_least
from .datasets import Spec, Split

Batch = tuple[Tensor, Tensor]


def mix(*numbers: int) -> int:
    """One 63-bit seed from several numbers; small and similar numbers, too, give very different seeds."""
    return int(np.random.SeedSequence(numbers).generate_state(1, np.uint64)[0] >> np.uint64(1))


@dataclass
class Augment:
    """Random changes to each training image; all off by default.

    shift: move by up to this many pixels in each direction (pad with background, then crop at random).
    rotate: turn by up to this many degrees either way.
    scale: zoom by a factor between 1 - scale and 1 + scale.
    shear: slant by up to this many degrees either way.
    flip: mirror left to right, with probability 1/2 (wrong for digits and letters).

    Raises BadInput for numbers out of range.
    """

    shift: int = 0
    rotate: float = 0.0
    scale: float = 0.0
    shear: float = 0.0
    flip: bool = False

    def __post_init__(self) -> None:
        require_at_least("data.augment", 0, shift=self.shift)
        for name, value, end in (("scale", self.scale, 1), ("shear", self.shear, 90)):
            if not 0 <= value < end:
                raise BadInput(f"data.augment.{name}={value}: give at least 0 and less than {end}.")

    @property
    def warps(self) -> bool:
        return bool(self.rotate or self.scale or self.shear)

    def draw(self, count: int, generator: torch.Generator) -> Tensor:
        """Six numbers in [0, 1) for each of `count` images: row and column shift, angle, scale and shear, flip."""
        return torch.rand(count, 6, generator=generator)

    def warp(self, images: Tensor, draws: Tensor) -> Tensor:
        """Rotate, zoom and slant (B, C, H, W) float images about their centre, bilinear, black outside.

        Output pixel p shows input pixel A p, with A = rotation(angle) shear(slant) / zoom.
        """
        angle, zoom, slant = (draws[:, k] * 2 - 1 for k in (2, 3, 4))
        angle, zoom = angle * math.radians(self.rotate), 1 + zoom * self.scale
        slant = torch.tan(slant * math.radians(self.shear))
        cos, sin, none = angle.cos() / zoom, angle.sin() / zoom, torch.zeros_like(angle)
        rows = [torch.stack((cos, cos * slant - sin, none), 1), torch.stack((sin, sin * slant + cos, none), 1)]
        grid = F.affine_grid(torch.stack(rows, 1), list(images.shape), align_corners=False)
        return F.grid_sample(images, grid, align_corners=False)


class Order:
    """An iterable of batches. Chooses which examples are in which batch, and knows where a resumed run continues.

    batch_size counts the examples of all `world` ranks together; each batch is the share of rank `rank`.
    shuffle: reorder every epoch and leave out the incomplete last batch; otherwise keep the order and every example.
    workers: None makes batches here; a number makes them in that many DataLoader processes (0: in this one).

    Follows Lightning's protocols for iterables: `sampler.set_epoch` before each epoch, `state_dict` in each checkpoint.
    """

    def __init__(
        self,
        count: int,
        batch_size: int,
        shuffle: bool = False,
        seed: int = 0,
        rank: int = 0,
        world: int = 1,
        workers: int | None = None,
        device: torch.device | None = None,
    ) -> None:
        self.count, self.batch_size, self.shuffle, self.device = count, batch_size, shuffle, device
        self.seed, self.rank, self.world, self.workers = seed, rank, world, workers
        if shuffle:
            self.sampler = self
        self.next = self.start = 0
        self.set_epoch(0)

    def set_epoch(self, epoch: int) -> None:
        """Draws the order of this epoch and its other random numbers."""
        self.epoch = epoch
        if not self.shuffle:
            # equal parts, so that no rank is left with an empty last batch
            order, parts = torch.arange(self.count), math.ceil(self.count / self.batch_size)
            self.parts = torch.tensor_split(order.to(self.device), parts)
            return
        generator = torch.Generator().manual_seed(mix(self.seed, epoch))
        order, size = torch.randperm(self.count, generator=generator), min(self.batch_size, self.count)
        self.parts = order.to(self.device).split(size)
        if len(self.parts) > 1 and len(self.parts[-1]) < self.batch_size:
            self.parts = self.parts[:-1]
        self.draw(generator, size)

    def draw(self, generator: torch.Generator, size: int) -> None:
        """Draws the other random numbers of an epoch, for batches of this size. Subclasses override it."""

    def __len__(self) -> int:
        return len(self.parts)

    def __getitem__(self, index: int) -> Batch:
        raise NotImplementedError

    def __iter__(self) -> Iterator[Batch]:
        start, self.start = self.start, 0
        indices = range(start, len(self))
        batches: Iterator[Batch]
        if self.workers is None:
            batches = (self[index] for index in indices)
        else:
            # DataLoader draws the seeds of its workers from this generator; without one, from the global generator
            batches = iter(
                DataLoader(
                    self,  # type: ignore[arg-type]
                    batch_size=None,
                    sampler=indices,
                    num_workers=self.workers,
                    pin_memory=torch.cuda.is_available(),
                    generator=torch.Generator(),
                )
            )
        for index, batch in zip(indices, batches, strict=True):
            self.next = index + 1
            yield batch

    def state_dict(self) -> dict[str, int]:
        return {"next": self.next % len(self)}

    def load_state_dict(self, state: dict[str, int]) -> None:
        self.start = state["next"]


class Batches(Order):
    """Batches made by indexing two tensors.

    split: images (N, C, H, W) uint8 and labels (N,), or other inputs and targets of N examples. Batches are made on the
    device of these tensors.
    spec: how images are normalized (None: inputs stay as they are).
    """

    def __init__(
        self,
        split: Split,
        spec: Spec | None,
        batch_size: int,
        shuffle: bool = False,
        augment: Augment | None = None,
        **options: Any,
    ) -> None:
        self.images, self.labels = split
        self.augment = augment if spec else None
        self.mean = self.std = None
        self.windows: Tensor | None = None
        device = self.images.device
        if spec:
            self.mean = torch.tensor(spec.mean, device=device).mul(255).view(-1, 1, 1)
            self.std = torch.tensor(spec.std, device=device).mul(255).view(-1, 1, 1)
        if self.augment and (pad := self.augment.shift):
            height, width = self.images.shape[2:]
            # all crops of all images as a view: windows[n, :, i, j] is image n with i rows above, j columns left of it
            self.windows = F.pad(self.images, [pad] * 4).unfold(2, height, 1).unfold(3, width, 1)
        super().__init__(len(self.labels), batch_size, shuffle, device=device, **options)

    def draw(self, generator: torch.Generator, size: int) -> None:
        if self.augment:
            self.draws = self.augment.draw(self.count, generator).to(self.device).split(size)

    def __getitem__(self, index: int) -> Batch:
        share = slice(self.rank, None, self.world)
        rows = self.parts[index][share]
        labels = self.labels[rows]
        if not (self.shuffle and self.augment):
            return self.normalize(self.images[rows]), labels
        draws, augment = self.draws[index][share], self.augment
        if self.windows is None:
            images = self.images[rows].float()
        else:
            offsets = (draws[:, :2] * (2 * augment.shift + 1)).long()
            images = self.windows[rows, :, offsets[:, 0], offsets[:, 1]].float()
        if augment.warps:
            images = augment.warp(images, draws)
        if augment.flip:
            images = torch.where((draws[:, 5] < 0.5).view(-1, 1, 1, 1), images.flip(3), images)
        return self.normalize(images), labels

    def normalize(self, images: Tensor) -> Tensor:
        """(pixels - mean) / std as float, for images in [0, 255]; other inputs are returned unchanged."""
        if self.mean is None or self.std is None:
            return images
        return images.float().sub_(self.mean).div_(self.std)


class Items(Order):
    """Batches of the (input, target) pairs of a map-style Dataset. Its random numbers are seeded per batch."""

    def __init__(self, dataset: Dataset, batch_size: int, **options: Any) -> None:
        self.dataset = dataset
        super().__init__(len(dataset), batch_size, **options)  # type: ignore[arg-type]

    def __getitem__(self, index: int) -> Batch:
        rows = self.parts[index][self.rank :: self.world].tolist()
        with isolate_rng(include_cuda=False):
            seed = mix(self.seed, self.epoch, index, self.rank)
            torch.default_generator.manual_seed(seed)
            np.random.seed(seed % 2**32)  # noqa: NPY002 (data sets may use the global generator)
            random.seed(seed)
            items = [self.dataset[row] for row in rows]
        try:
            inputs, targets = default_collate(items)
        except (TypeError, ValueError, RuntimeError) as error:
            raise BadInput(
                f"data.dataset: items {rows[:2]} ... cannot be put into one batch: {error}. Expected pairs (input, "
                "target) of tensors, arrays or numbers, of one shape each."
            ) from error
        return (inputs.float() if inputs.dtype == torch.float64 else inputs), targets  # numpy's default is float64
