"""Small data for examples that would download theirs: written into the copy of an example before it runs."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import numpy
import torch
from numpy.typing import NDArray

MNIST = {"train": 640, "t10k": 500}
"""So many pictures of the training and of the test set."""

REQUESTS = '''"""Stands in for the package of this name: gives the made-up data instead of a download."""
import contextlib, types

def get(url, stream):
    return contextlib.closing(types.SimpleNamespace(raw=open("cora.tgz", "rb"), close=lambda: None))
'''


def cut_mnist(root: Path, folder: Path) -> None:
    """The first pictures of MNIST, which lies in `root` as torchvision keeps it."""
    raw = folder / "MNIST" / "raw"
    raw.mkdir(parents=True, exist_ok=True)
    for part, count in MNIST.items():
        for kind, header in (("images-idx3", 16), ("labels-idx1", 8)):
            name = f"{part}-{kind}-ubyte"
            content = (root / "MNIST" / "raw" / name).read_bytes()
            each = 28 * 28 if header == 16 else 1
            start = content[:4] + count.to_bytes(4, "big") + content[8:header]
            (raw / name).write_bytes(start + content[header : header + count * each])


def picture(generator: numpy.random.Generator, size: int) -> NDArray[numpy.uint8]:
    """Colours that change slowly, with a little noise."""
    coarse = torch.from_numpy(generator.uniform(0, 255, (1, 3, 6, 6)))
    smooth = torch.nn.functional.interpolate(coarse, size=(size, size), mode="bicubic")[0].permute(1, 2, 0).numpy()
    return (smooth + generator.normal(0, 8, smooth.shape)).clip(0, 255).astype(numpy.uint8)


def pictures(*folders: str, count: int = 4, size: int = 288) -> Callable[[Path], None]:
    """Writes `count` pictures into each folder."""

    def write(copy: Path) -> None:
        from PIL import Image

        generator = numpy.random.default_rng(1)
        for folder in folders:
            (copy / folder).mkdir(parents=True)
            for i in range(count):
                Image.fromarray(picture(generator, size)).save(copy / folder / f"{i}.png")

    return write


def style(copy: Path) -> None:
    """Pictures, and a VGG-16 where torchvision looks for a downloaded one: random features, a classifier of zeros."""
    import torchvision

    pictures("pictures/a", size=64)(copy)
    torch.manual_seed(1)
    with torch.device("meta"):
        state = torchvision.models.vgg16().state_dict()
    for name, tensor in state.items():
        if name.startswith("features") and tensor.dim() == 4:
            state[name] = torch.nn.init.kaiming_normal_(torch.empty(tensor.shape))
        else:
            state[name] = torch.zeros(1).expand(tensor.shape)  # one number in the file
    folder = copy / "torch_home" / "hub" / "checkpoints"
    folder.mkdir(parents=True)
    name = torchvision.models.VGG16_Weights.IMAGENET1K_V1.url.rpartition("/")[2]
    torch.save(state, folder / name)


def cora(copy: Path, papers: int = 1800, words: int = 64, classes: int = 5) -> None:
    """Papers that cite one another, mostly within a class: `cora/cora.content` and `cora/cora.cites`."""
    generator = numpy.random.default_rng(1)
    label = generator.integers(classes, size=papers)
    chance = generator.uniform(0, 0.2, (classes, words))[label]
    features = (generator.uniform(size=(papers, words)) < chance).astype(int)
    features[:, 0] = 1  # none is empty
    lines = [" ".join([str(i), *map(str, features[i]), f"class{label[i]}"]) for i in range(papers)]
    pairs = {(min(a, b), max(a, b)) for a, b in generator.integers(papers, size=(6 * papers, 2)).tolist() if a != b}
    kept = [f"{a} {b}" for a, b in sorted(pairs) if label[a] == label[b] or generator.uniform() < 0.1]
    folder = copy / "cora"
    folder.mkdir()
    (folder / "cora.content").write_text("\n".join(lines))
    (folder / "cora.cites").write_text("\n".join(kept))


def cora_by_request(copy: Path) -> None:
    """The same, for a script that always downloads: a module `requests` beside it hands it out."""
    import tarfile

    cora(copy)
    with tarfile.open(copy / "cora.tgz", "w:gz") as file:
        file.add(copy / "cora", "cora")
    (copy / "requests.py").write_text(REQUESTS)


def short_text(copy: Path) -> None:
    """The word language model's texts: lines of its test text."""
    folder = copy / "data" / "wikitext-2"
    lines = (folder / "test.txt").read_text(encoding="utf8").splitlines(keepends=True)
    for name, start, stop in (("train", 0, 240), ("valid", 240, 300), ("test", 300, 360)):
        (folder / f"{name}.txt").write_text("".join(lines[start:stop]), encoding="utf8")


def environment(copy: Path) -> dict[str, str]:
    return {"TORCH_HOME": os.fspath(copy / "torch_home")}
