"""The image datasets: one table, one reader. Every dataset becomes three pairs of (uint8 images, labels)."""

import math
import struct
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor

from ..errors import BadInput, unknown

DIGITS = tuple("0123456789")


@dataclass(frozen=True)
class Spec:
    """What is known of a dataset before reading it.

    mean and std normalize pixels in [0, 1], one value per channel. They are constants, not computed from a split.
    """

    source: str  # class in torchvision.datasets, or "sklearn"
    shape: tuple[int, int, int]  # C, H, W
    classes: tuple[str, ...]
    mean: tuple[float, ...]
    std: tuple[float, ...]


BALANCED_EMNIST = tuple("0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabdefghnqrt")
CLOTHES = ("T-shirt", "Trouser", "Pullover", "Dress", "Coat", "Sandal", "Shirt", "Sneaker", "Bag", "Ankle boot")
KUZUSHIJI = ("o", "ki", "su", "tsu", "na", "ha", "ma", "ya", "re", "wo")
CIFAR = ("airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck")

DATASETS = {
    "digits": Spec("sklearn", (1, 8, 8), DIGITS, (0.2873,), (0.3539,)),
    "mnist": Spec("MNIST", (1, 28, 28), DIGITS, (0.1307,), (0.3081,)),
    "fashion_mnist": Spec("FashionMNIST", (1, 28, 28), CLOTHES, (0.2860,), (0.3530,)),
    "kmnist": Spec("KMNIST", (1, 28, 28), KUZUSHIJI, (0.1918,), (0.3483,)),
    "emnist": Spec("EMNIST", (1, 28, 28), BALANCED_EMNIST, (0.1751,), (0.3332,)),
    "qmnist": Spec("QMNIST", (1, 28, 28), DIGITS, (0.1307,), (0.3081,)),
    "cifar10": Spec("CIFAR10", (3, 32, 32), CIFAR, (0.4914, 0.4822, 0.4465), (0.2470, 0.2435, 0.2616)),
}


class Split(NamedTuple):
    images: Tensor  # (N, C, H, W) uint8
    labels: Tensor  # (N,) int64


def spec(name: str) -> Spec:
    """The table row of a dataset. Raises BadInput with the nearest match for an unknown name."""
    if name not in DATASETS:
        raise unknown("dataset", name, DATASETS)
    return DATASETS[name]


def read(name: str, root: str, download: bool, held_out: int, seed: int) -> dict[str, Split]:
    """Reads a dataset into {"train", "val", "test"}; the same seed gives the same split.

    Raises BadInput where files are missing (the message says where to put them), damaged, or cannot be downloaded.
    """
    row = spec(name)
    if row.source == "sklearn":
        return _digits(held_out, seed)
    train, test = (_torchvision(name, row, root, is_train, download) for is_train in (True, False))
    total = len(train.labels)
    if not 0 < held_out < total:
        raise BadInput(f"data.held_out={held_out}: {name} has {total} training images, so give 1 to {total - 1}.")
    order = torch.randperm(total, generator=torch.Generator().manual_seed(seed))
    val, kept = order[:held_out], order[held_out:]
    return {
        "train": Split(train.images[kept], train.labels[kept]),
        "val": Split(train.images[val], train.labels[val]),
        "test": test,
    }


def _digits(held_out: int, seed: int) -> dict[str, Split]:
    """scikit-learn's 1797 handwritten digits, 8 x 8, 17 grey levels: a fifth for testing, stratified."""
    from sklearn.datasets import load_digits
    from sklearn.model_selection import train_test_split

    pixels, labels = load_digits(return_X_y=True)
    images = torch.from_numpy(pixels).to(torch.uint8).reshape(-1, 1, 8, 8) * 15  # 0..16 becomes 0..240, exactly
    targets = torch.from_numpy(labels).long()
    if not 10 <= held_out <= 1400:
        raise BadInput(f"data.held_out={held_out}: digits has 1437 images beside the test set, so give 10 to 1400.")
    rest, test = train_test_split(range(len(labels)), test_size=360, stratify=labels, random_state=seed)
    train, val = train_test_split(rest, test_size=held_out, stratify=labels[rest], random_state=seed)
    return {key: Split(images[rows], targets[rows]) for key, rows in (("train", train), ("val", val), ("test", test))}


def _torchvision(name: str, row: Spec, root: str, train: bool, download: bool) -> Split:
    from torchvision import datasets

    maker = getattr(datasets, row.source)
    part: dict[str, Any] = {"what": "train" if train else "test"} if name == "qmnist" else {"train": train}
    if name == "emnist":
        part["split"] = "balanced"
    where = Path(root).absolute()
    try:
        data = maker(str(where), download=False, **part)
    except Exception as error:  # torchvision raises many kinds: a broken header, a short file, a bad pickle
        if "not found" not in str(error):
            why = _fault(row, where) or error or type(error).__name__
            raise _damaged(name, row, where, why) from error
        if not download:
            raise BadInput(f"{_absent(name, row, where)} Or download them: --data.download=true.") from error
        data = _download(name, row, where, lambda: maker(str(where), download=True, **part))

    images, labels = torch.as_tensor(data.data), torch.as_tensor(data.targets)
    if name == "qmnist" and labels.ndim == 2:  # the extended targets keep the class in their first column
        labels = labels[:, 0]
    images = images.permute(0, 3, 1, 2) if images.ndim == 4 else images.unsqueeze(1)
    if name == "emnist":  # stored transposed
        images = images.transpose(2, 3)
    count = len(row.classes)
    if images.shape[1:] != row.shape or images.dtype != torch.uint8 or not 0 < len(images) == len(labels):
        found = f"{len(labels)} labels for {images.dtype} images of shape {tuple(images.shape)}"
        raise _damaged(name, row, where, f"found {found}, expected uint8 images of shape (N, {row.shape})")
    if not 0 <= int(labels.min()) <= int(labels.max()) < count:
        found = f"labels from {int(labels.min())} to {int(labels.max())}"
        raise _damaged(name, row, where, f"found {found}, expected 0 to {count - 1}")
    return Split(images.contiguous(), labels.long())


def _download(name: str, row: Spec, where: Path, fetch: Any) -> Any:
    try:
        return fetch()
    except PermissionError as error:
        raise BadInput(f"Cannot write to {where}: {error}. Choose another folder with --data.root.") from error
    except Exception as error:  # no network, no such host, a refused or broken transfer
        why = " ".join(str(error).split())
        raise BadInput(f"Downloading {name} failed ({why}). Without a network: {_absent(name, row, where)}") from error


def _files(row: Spec) -> tuple[str, str]:
    """Folder below the root, and the files expected in it."""
    if row.source == "CIFAR10":
        return "cifar-10-batches-py", "data_batch_1 ... data_batch_5, test_batch, batches.meta (cifar-10-python.tar.gz)"
    stem = {"EMNIST": "emnist-balanced-{}", "QMNIST": "qmnist-{}"}.get(row.source, "{}")
    kinds = ("train", "test") if row.source in ("EMNIST", "QMNIST") else ("train", "t10k")
    names = [f"{stem.format(kind)}-{part}-ubyte" for kind in kinds for part in ("images-idx3", "labels-idx1")]
    if row.source == "QMNIST":
        names = [n.replace("labels-idx1-ubyte", "labels-idx2-int") for n in names]
    return f"{row.source}/raw", ", ".join(names)


def _absent(name: str, row: Spec, where: Path) -> str:
    folder, files = _files(row)
    place = f"put {files} (unpacked) into {where / folder}, or name another --data.root."
    return f"{name} is not complete in {where}: {place}"


def _fault(row: Spec, where: Path) -> str:
    """Says which file in MNIST's format is not as long as its header says; "" where all are."""
    folder, files = _files(row)
    for name in files.split(", ") if row.source != "CIFAR10" else ():
        data = (where / folder / name).read_bytes()
        dimensions = data[3] if len(data) > 3 else 0
        item = {8: 1, 12: 4}.get(data[2]) if len(data) > 3 and data[:2] == b"\0\0" else None
        if item is None or len(data) < 4 + 4 * dimensions:
            return f"{name}, {len(data):,} bytes, does not begin with the header of an IDX file"
        expected = 4 + 4 * dimensions + item * math.prod(struct.unpack_from(f">{dimensions}I", data, 4))
        if len(data) != expected:
            return f"{name} has {len(data):,} bytes, its header says {expected:,}"
    return ""


def _damaged(name: str, row: Spec, where: Path, why: Any) -> BadInput:
    folder, files = _files(row)
    return BadInput(
        f"The files of {name} in {where / folder} are damaged ({why}). "
        f"Delete them and fetch them again (--data.download=true, or by hand: {files})."
    )
