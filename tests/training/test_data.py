"""Datasets, their splits and batches: what comes out, in which order, and what damaged files say."""

import os
import pickle
import struct
from itertools import chain
from pathlib import Path

import numpy as np
import pytest
import torch

from manual_backprop.errors import BadInput
from manual_backprop.training import datasets
from manual_backprop.training.batches import Augment, Batches
from manual_backprop.training.data import DataModule
from manual_backprop.training.datasets import Split

REAL = Path(os.environ.get("MNIST_ROOT", Path(__file__).parents[3] / "shared" / "data"))


def idx(array: np.ndarray) -> bytes:
    """An array in the idx format of MNIST: big endian, magic number from dtype and dimensions."""
    kind = {"uint8": 8, "int32": 12}[array.dtype.name]
    head = struct.pack(f">{1 + array.ndim}I", kind * 256 + array.ndim, *array.shape)
    return head + array.astype(array.dtype.newbyteorder(">")).tobytes()


def write_idx(root: Path, name: str, train: int = 60, test: int = 20) -> tuple[np.ndarray, np.ndarray]:
    """Small random files of one of the datasets that come in MNIST's format; returns training images and labels."""
    rng = np.random.default_rng(0)
    row = datasets.spec(name)
    folder = root / row.source / "raw"
    folder.mkdir(parents=True)
    files = datasets._files(row)[1].split(", ")
    parts = []
    for count, images_name, labels_name in ((train, files[0], files[1]), (test, files[2], files[3])):
        images = rng.integers(0, 256, (count, 28, 28), dtype=np.uint8)
        labels = rng.integers(0, len(row.classes), count).astype(np.uint8)
        (folder / images_name).write_bytes(idx(images))
        stored = np.stack([labels] * 8, 1).astype(np.int32) if name == "qmnist" else labels
        (folder / labels_name).write_bytes(idx(stored))
        parts.append((images, labels))
    return parts[0]


@pytest.fixture(scope="module")
def digits() -> dict[str, Split]:
    return datasets.read("digits", "", False, 180, seed=0)


def test_digits_split_is_stratified_disjoint_and_fixed_by_the_seed(digits):
    assert [len(digits[key].labels) for key in ("train", "val", "test")] == [1257, 180, 360]
    for split in digits.values():
        share = torch.bincount(split.labels, minlength=10) / len(split.labels)
        assert (share - 0.1).abs().max() < 0.01  # the dataset's own classes are 9.7 to 10.2 %
    rows = torch.cat([split.images.flatten(1) for split in digits.values()])
    assert len(rows.unique(dim=0)) == 1797
    again, other = (datasets.read("digits", "", False, 180, seed=seed) for seed in (0, 1))
    assert torch.equal(again["train"].images, digits["train"].images)
    assert not torch.equal(other["train"].images, digits["train"].images)


@pytest.mark.parametrize("name", ["mnist", "fashion_mnist", "kmnist", "emnist", "qmnist"])
def test_files_in_mnist_format(tmp_path, name):
    images, labels = write_idx(tmp_path, name)
    read = datasets.read(name, str(tmp_path), False, 10, seed=3)
    assert [len(read[key].labels) for key in ("train", "val", "test")] == [50, 10, 20]
    order = torch.cat([read["val"].labels, read["train"].labels])
    shuffled = torch.randperm(60, generator=torch.Generator().manual_seed(3))
    assert torch.equal(order, torch.from_numpy(labels).long()[shuffled])
    first = torch.from_numpy(images)[shuffled[0]]
    assert torch.equal(read["val"].images[0, 0], first.T if name == "emnist" else first)


def test_cifar10(tmp_path, monkeypatch):
    from torchvision.datasets import CIFAR10

    monkeypatch.setattr(CIFAR10, "_check_integrity", lambda self: True)
    monkeypatch.setattr(CIFAR10, "_load_meta", lambda self: None)
    folder = tmp_path / "cifar-10-batches-py"
    folder.mkdir()
    pixels = np.random.default_rng(0).integers(0, 256, (6, 3072), dtype=np.uint8)
    for file in [f"data_batch_{k}" for k in range(1, 6)] + ["test_batch"]:
        (folder / file).write_bytes(pickle.dumps({"data": pixels, "labels": [0, 1, 2, 3, 4, 9]}))
    read = datasets.read("cifar10", str(tmp_path), False, 6, seed=0)
    assert read["test"].images.shape == (6, 3, 32, 32)
    assert torch.equal(read["test"].images, torch.from_numpy(pixels).view(6, 3, 32, 32))
    assert len(read["train"].labels) == 24


@pytest.mark.skipif(not (REAL / "MNIST" / "raw").is_dir(), reason="no real MNIST at hand (MNIST_ROOT)")
def test_real_mnist():
    read = datasets.read("mnist", str(REAL), False, 5000, seed=0)
    assert [len(read[key].labels) for key in ("train", "val", "test")] == [55000, 5000, 10000]
    images, _ = Batches(read["train"], datasets.spec("mnist"), 55000)[0]
    # the table's mean and std are those of all 60,000 images, rounded to four digits
    assert abs(images.mean()) < 0.01
    assert abs(images.std() - 1) < 0.01


# batches


def batches(split: Split, size: int = 32, **options) -> Batches:
    return Batches(split, datasets.spec("digits"), size, shuffle=True, **options)


def numbered(count: int = 100) -> Split:
    """Image n is full of the number n."""
    numbers = torch.arange(count)
    return Split(numbers.to(torch.uint8).view(-1, 1, 1, 1).expand(-1, 1, 8, 8).contiguous(), numbers)


def labels_of(batches: Batches) -> list[list[int]]:
    return [labels.tolist() for _, labels in batches]


def flat(lists: list[list[int]]) -> list[int]:
    return list(chain.from_iterable(lists))


def test_an_epoch_shows_every_image_once_in_an_order_of_its_own():
    loader = batches(numbered(), 25, seed=4)
    first = labels_of(loader)
    assert sorted(flat(first)) == list(range(100))
    assert labels_of(loader) == first
    loader.set_epoch(1)
    assert labels_of(loader) != first
    loader.set_epoch(0)
    assert labels_of(loader) == first
    assert labels_of(batches(numbered(), 25, seed=5)) != first


def test_images_stay_with_their_labels_and_are_normalized():
    spec = datasets.spec("digits")
    for images, labels in batches(numbered()):
        expected = (labels / 255 - spec.mean[0]) / spec.std[0]
        torch.testing.assert_close(images[:, 0, 3, 3], expected.float(), rtol=1e-5, atol=1e-6)  # float32, two roundings


def test_incomplete_last_batch_is_left_out_unless_it_is_the_only_one():
    assert [len(b) for b in labels_of(batches(numbered(), 32))] == [32, 32, 32]
    assert [len(b) for b in labels_of(batches(numbered(), 1000))] == [100]


def test_evaluation_keeps_every_image_in_order():
    loader = Batches(numbered(), datasets.spec("digits"), 32)
    assert flat(labels_of(loader)) == list(range(100))


@pytest.mark.parametrize("shuffle", [True, False])
def test_ranks_share_each_global_batch(shuffle):
    whole = Batches(numbered(), datasets.spec("digits"), 30, shuffle=shuffle)
    shares = [Batches(numbered(), datasets.spec("digits"), 30, shuffle=shuffle, rank=r, world=2) for r in (0, 1)]
    for one, zero, first in zip(*map(labels_of, (whole, *shares)), strict=True):
        assert sorted(zero + first) == sorted(one)
        assert abs(len(zero) - len(first)) <= 1


@pytest.mark.parametrize("augment", [Augment(), Augment(shift=2), Augment(shift=1, rotate=10, scale=0.1, flip=True)])
@pytest.mark.filterwarnings("ignore:This process .* is multi-threaded, use of fork:DeprecationWarning")
def test_dataloader_path_gives_the_same_batches(digits, augment):
    for workers in (0, 1):
        for (x, y), (u, v) in zip(
            batches(digits["train"], 300, augment=augment),
            batches(digits["train"], 300, augment=augment, workers=workers),
            strict=True,
        ):
            assert torch.equal(x, u)
            assert torch.equal(y, v)


@pytest.mark.parametrize("workers", [None, 0])
def test_position_is_restored_for_one_epoch_only(workers):
    loader = batches(numbered(), 25)
    whole, iterator = labels_of(loader), iter(loader)
    next(iterator), next(iterator)
    resumed = batches(numbered(), 25, workers=workers)
    resumed.load_state_dict(loader.state_dict())
    assert labels_of(resumed) == whole[2:]
    assert labels_of(resumed) == whole
    assert resumed.state_dict() == {"next": 0}


def test_batches_leave_the_global_random_stream_alone(digits):
    before = torch.get_rng_state()
    list(batches(digits["train"], augment=Augment(shift=1, rotate=5), workers=0))
    assert torch.equal(before, torch.get_rng_state())


# augmentation


def test_shift_moves_images_over_a_black_ground(digits):
    loader = batches(digits["train"], 200, augment=Augment(shift=2))
    plain = batches(digits["train"], 200)
    assert torch.equal(loader.parts[0], plain.parts[0])
    images, originals = loader[0][0], plain[0][0]
    padded = torch.nn.functional.pad(originals, [2] * 4, value=float(originals.min()))  # black is the smallest value
    seen = set()
    for image, original in zip(images, padded, strict=True):
        places = [(i, j) for i in range(5) for j in range(5) if torch.equal(image, original[:, i : i + 8, j : j + 8])]
        assert places
        seen.update(places)
    assert len(seen) == 25, "all shifts up to two pixels happen among 200 images"


def test_rotation_by_a_right_angle():
    image = torch.rand(1, 1, 9, 9)
    draws = torch.tensor([[0.5, 0.5, 1.0, 0.5, 0.5, 0.5]])  # the largest angle, nothing else
    turned = Augment(rotate=90).warp(image, draws)
    torch.testing.assert_close(turned, torch.rot90(image, 1, (2, 3)), rtol=0, atol=1e-5)  # bilinear weights in float32


def test_zoom_by_two():
    image = torch.rand(1, 1, 8, 8)
    draws = torch.tensor([[0.5, 0.5, 0.5, 1.5, 0.5, 0.5]])  # beyond the largest draw, 1, which zooms by 1.5
    zoomed = Augment(scale=0.5).warp(image, draws)
    expected = torch.nn.functional.interpolate(image[:, :, 2:6, 2:6], scale_factor=2.0, mode="bilinear")
    # inside; along the edge interpolate repeats pixels where a zoom shows the neighbours
    torch.testing.assert_close(zoomed[..., 1:-1, 1:-1], expected[..., 1:-1, 1:-1], rtol=0, atol=1e-5)


def test_flip_mirrors_half_of_the_images(digits):
    images, originals = (
        batches(digits["train"], 1000, augment=Augment(flip=True))[0][0],
        batches(digits["train"], 1000)[0][0],
    )
    same = (images == originals).flatten(1).all(1)
    mirrored = (images == originals.flip(3)).flatten(1).all(1)
    assert (same | mirrored).all()
    assert 400 < mirrored.sum() < 600  # 1000 fair coins: six standard deviations


def test_evaluation_is_never_augmented(digits):
    data = DataModule(augment=Augment(shift=2))
    data.setup("fit")
    assert torch.equal(data.val_dataloader()[0][0], Batches(digits["val"], data.spec, 1000)[0][0])


# bad input


def test_unknown_dataset_names_the_nearest():
    with pytest.raises(BadInput, match=r"Unknown dataset 'fashion-mnist'. Did you mean 'fashion_mnist'"):
        DataModule("fashion-mnist")


@pytest.mark.parametrize("name", [n for n in datasets.DATASETS if n != "digits"])
def test_missing_files_say_where_to_put_them(tmp_path, name):
    folder, files = datasets._files(datasets.spec(name))
    with pytest.raises(BadInput) as error:
        datasets.read(name, str(tmp_path), False, 10, 0)
    assert str(tmp_path / folder) in str(error.value)
    assert files in str(error.value)
    assert "--data.download=true" in str(error.value)


def damage(what: str, path: Path) -> None:
    data = path.read_bytes()
    changed = {
        "truncated": data[: len(data) // 2],
        "empty": b"",
        "magic": b"\xff\xff\xff\xff" + data[4:],
        "shape": data[:4] + struct.pack(">3I", 60, 28, 27) + data[16 : -60 * 28],
        "labels": data[:8] + b"\x63" * (len(data) - 8),
        "count": data[:4] + struct.pack(">I", 30) + data[8:38],
    }
    path.write_bytes(changed[what])


@pytest.mark.parametrize(
    ("what", "file", "why"),
    [
        ("truncated", "train-images-idx3-ubyte", "train-images-idx3-ubyte has 23,528 bytes, its header says 47,056"),
        ("empty", "train-images-idx3-ubyte", "train-images-idx3-ubyte, 0 bytes, does not begin with the header"),
        ("magic", "train-images-idx3-ubyte", "train-images-idx3-ubyte, 47,056 bytes, does not begin with the header"),
        ("shape", "train-images-idx3-ubyte", r"torch.uint8 images of shape \(60, 1, 28, 27\), expected"),
        ("truncated", "train-labels-idx1-ubyte", "train-labels-idx1-ubyte has 34 bytes, its header says 68"),
        ("empty", "train-labels-idx1-ubyte", "train-labels-idx1-ubyte, 0 bytes, does not begin with the header"),
        ("magic", "train-labels-idx1-ubyte", "train-labels-idx1-ubyte, 68 bytes, does not begin with the header"),
        ("labels", "train-labels-idx1-ubyte", "found labels from 99 to 99, expected 0 to 9"),
        ("count", "train-labels-idx1-ubyte", "found 30 labels for torch.uint8 images of shape"),
    ],
)
def test_damaged_files_are_named(tmp_path, what, file, why):
    write_idx(tmp_path, "mnist")
    damage(what, tmp_path / "MNIST" / "raw" / file)
    message = rf"files of mnist in .* are damaged \(.*{why}.*\). Delete them and fetch them again"
    with pytest.raises(BadInput, match=message):
        datasets.read("mnist", str(tmp_path), False, 10, 0)


def test_damaged_cifar10(tmp_path):
    (tmp_path / "cifar-10-batches-py").mkdir()
    (tmp_path / "cifar-10-batches-py" / "data_batch_1").write_bytes(b"no pickle")
    with pytest.raises(BadInput, match="cifar10 is not complete in"):
        datasets.read("cifar10", str(tmp_path), False, 10, 0)


@pytest.mark.parametrize("name", ["mnist", "emnist", "qmnist", "cifar10"])
def test_download_without_a_network(tmp_path, monkeypatch, name):
    def no_network(*_, **__):
        raise OSError("Name or service not known")

    monkeypatch.setattr("urllib.request.urlopen", no_network)
    folder, _ = datasets._files(datasets.spec(name))
    with pytest.raises(BadInput) as error:
        datasets.read(name, str(tmp_path), True, 10, 0)
    assert "Downloading" in str(error.value)
    assert "Without a network" in str(error.value)
    assert str(tmp_path / folder) in str(error.value)


@pytest.mark.parametrize("held_out", [0, 60, 1000])
def test_held_out_beyond_the_dataset(tmp_path, held_out):
    write_idx(tmp_path, "mnist")
    with pytest.raises(BadInput, match=f"held_out={held_out}: mnist has 60 training images, so give 1 to 59"):
        datasets.read("mnist", str(tmp_path), False, held_out, 0)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"batch_size": 0}, "data.batch_size=0: give 1 or more"),
        ({"eval_batch_size": 0}, "data.eval_batch_size=0: give 1 or more"),
        ({"workers": -1}, "data.workers=-1: give 0 or more"),
        ({"split_seed": -1}, "data.split_seed=-1: give 0 or more"),
        ({"seed": -1}, "data.seed=-1: give 0 or more"),
    ],
)
def test_numbers_out_of_range(options, message):
    with pytest.raises(BadInput, match=message):
        DataModule(**options)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"shift": -1}, "data.augment.shift=-1: give 0 or more"),
        ({"scale": 1.0}, "data.augment.scale=1.0: give at least 0 and less than 1"),
        ({"shear": 90}, "data.augment.shear=90: give at least 0 and less than 90"),
    ],
)
def test_augmentation_out_of_range(options, message):
    with pytest.raises(BadInput, match=message):
        Augment(**options)
