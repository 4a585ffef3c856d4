"""One's own data: a Dataset by import path, and a LightningDataModule with --data."""

from __future__ import annotations

import csv
import random
from pathlib import Path

import numpy as np
import pytest
import torch
import yaml
from PIL import Image
from pytorch_lightning import LightningDataModule
from torch import Tensor
from torch.utils.data import DataLoader, Dataset, TensorDataset

from manual_backprop.errors import BadInput
from manual_backprop.training import cli
from manual_backprop.training.data import DataModule
from manual_backprop.training.own_data import Sizes, sizes
from manual_backprop.training.table import read_rows

from .runs import arguments, assert_same_training, fit, last

HERE = f"--data.dataset={__name__}"
QUICK = ("--model.optimizer.lr=0.01", "--trainer.max_epochs=4")
EVERY = "--run.checkpoint_every=3"


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


# a Dataset by import path


@pytest.mark.parametrize("resident", ["true", "false"])
@pytest.mark.parametrize("name", ["Spots", "table"])
def test_a_dataset_trains_a_packaged_network(tmp_path: Path, name: str, resident: str) -> None:
    workers = (f"--data.resident={resident}", "--data.workers=0")
    run = fit(tmp_path, f"{HERE}.{name}", *QUICK, *workers, "--run.test=true")
    assert run.parent.name == f"{name}_mlp"
    assert accuracy(run) > 0.9
    assert accuracy(run, "test") > 0.9


def test_its_parts_are_disjoint_and_fixed_by_the_seed() -> None:
    def parts(name: str, **options) -> dict[str, list]:
        data = DataModule(f"{__name__}.{name}", **options)
        data.load("fit")
        return {key: [tuple(x.flatten()[:6].tolist()) for x, _ in _pairs(split)] for key, split in data.splits.items()}

    for name, lengths in (("table", [154, 38, 48]), ("Spots", [192, 48, 60])):
        found = parts(name)
        assert [len(found[key]) for key in ("train", "val", "test")] == lengths
        assert len({row for rows in found.values() for row in rows}) == sum(lengths)
        assert parts(name) == found
        assert parts(name, split_seed=1)["val"] != found["val"]
    assert len(parts("table", held_out=7)["val"]) == 7


def _pairs(split):
    return zip(*split, strict=True) if isinstance(split, tuple) else (split[place] for place in range(len(split)))


def test_what_it_is_told_and_what_it_tells(tmp_path: Path) -> None:
    data = DataModule(f"{__name__}.Spots", {"noise": 0.5}, root="somewhere")
    assert data.sizes == Sizes((1, 6, 5), 3, 1)
    assert data.classes == ("top", "middle", "bottom")
    assert data.splits["test"].root == "somewhere"
    assert DataModule(f"{__name__}.table").sizes == Sizes((1, 6, 5), 3, 1)


@pytest.mark.parametrize("workers", [None, 2])
def test_random_numbers_of_a_dataset_are_those_of_the_batch(workers: int | None) -> None:
    def batches(seed: int, start: int = 0) -> list[Tensor]:
        options = {"resident": False, "workers": workers} if workers else {}
        data = DataModule(f"{__name__}.Spots", {"noise": 1.0}, seed=seed, batch_size=64, **options)
        data.load("fit")
        loader = data.train_dataloader()
        loader.load_state_dict({"next": start})
        return [inputs for inputs, _ in loader]

    before = torch.get_rng_state(), random.getstate()
    whole = batches(0)
    assert len(whole) == 3
    assert whole[0].dtype == torch.float32
    torch.testing.assert_close(batches(0, 1), whole[1:], rtol=0, atol=0)
    assert not torch.equal(batches(1)[0], whole[0])
    assert torch.equal(before[0], torch.get_rng_state())
    assert before[1] == random.getstate()


def test_a_resumed_run_ends_the_same(tmp_path: Path) -> None:
    own = (f"{HERE}.Spots", "--data.dataset_args={noise: 1.0}", "--model.net_args={dropout: 0.3}")
    run = fit(tmp_path / "one", *own, EVERY)
    fit(tmp_path / "two", *own, EVERY, "--trainer.max_epochs=1")
    resumed = fit(tmp_path / "two", "--ckpt_path=last", "--trust", "--trainer.max_epochs=2")
    assert_same_training(last(run), last(resumed))


def test_predictions_of_its_test_part(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run = fit(tmp_path, f"{HERE}.Spots", *QUICK)
    cli.main(["predict", f"--run.folder={tmp_path}", "--trust"])
    with open(run / "predictions" / "predictions.csv", newline="") as file:
        rows = list(csv.DictReader(file))
    right = [Spots.classes[label] == row["class"] for label, row in zip(spots(60)[1], rows, strict=True)]
    assert sum(right) > 54
    assert f"0: {rows[0]['class']}  ({float(rows[0]['confidence']):.1%})" in capsys.readouterr().out
    Image.new("L", (5, 6)).save(tmp_path / "a.png")
    with pytest.raises(BadInput, match=r"data.images is for the named sets of images"):
        cli.main(["predict", f"--run.folder={tmp_path}", "--trust", "--images", str(tmp_path / "a.png")])


@pytest.mark.parametrize(
    ("name", "options", "message"),
    [
        ("Spot", (), r"Unknown name in .*'Spot'. Did you mean 'Spots'"),
        ("Spots", ("--data.dataset_args={nois: 1}",), r"Unknown option of dataset .* 'nois'. Did you mean 'noise'"),
        ("Spots", ("--data.dataset_args={train: true}",), r"data.dataset_args.train: it is called with true and with"),
        ("strings", (), r"the first item is a str, expected a pair \(input, target\)"),
        ("triples", (), r"the first item is a tuple of Tensor, Tensor, Tensor, expected a pair"),
        ("empty", (), r"Dataset .*empty is empty"),
        ("broken", (), r"Dataset .*broken cannot be made: no such disk"),
        ("HERE", (), r"is a str, expected a class or function giving a Dataset"),
        ("Module", (), r"gave a Module, expected a torch.utils.data.Dataset .* --data mymodule.MyData"),
    ],
)
def test_datasets_that_cannot_be_used(tmp_path: Path, name: str, options: tuple[str, ...], message: str) -> None:
    with pytest.raises(BadInput, match=message):
        fit(tmp_path, f"{HERE}.{name}", *options)
    assert not list(tmp_path.iterdir())


# a LightningDataModule


def test_a_data_module_with_its_own_options(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    own = (f"--data={__name__}.Module", "--data.batch_size=48", "--data.count=192", f"--model.net={__name__}.Net")
    run = fit(tmp_path, *own, *QUICK, "--run.test=true", "--run.pictures=true")
    assert run.parent.name == "Module_Net"
    assert last(run)["global_step"] == 4 * 4
    assert accuracy(run, "test") > 0.8
    assert (run / "pictures" / "confusion_test.png").is_file()
    assert yaml.safe_load((run / "config.yaml").read_text())["data"] == {
        "class_path": f"{__name__}.Module",
        "init_args": {"batch_size": 48, "count": 192, "folder": "none"},
    }
    for command in ("validate", "test"):
        cli.main([command, f"--run.folder={tmp_path}", "--trust", "--run.pictures=false"])
    assert "test accuracy" in capsys.readouterr().out
    cli.main(["predict", f"--run.folder={tmp_path}", "--trust"])
    assert len((run / "predictions" / "predictions.csv").read_text().splitlines()) == 61
    assert fit(tmp_path, "--ckpt_path=last", "--trust", "--trainer.max_epochs=5") == run
    assert last(run)["global_step"] == 5 * 4


def test_in_a_file_as_lightning_has_it(tmp_path: Path) -> None:
    section = {"class_path": f"{__name__}.Module", "init_args": {"count": 72}}
    (tmp_path / "mine.yaml").write_text(yaml.safe_dump({"data": section, "model": {"net": f"{__name__}.Net"}}))
    run = fit(tmp_path / "runs", f"--config={tmp_path / 'mine.yaml'}", "--data.batch_size=36")
    assert run.parent.name == "mine"
    assert last(run)["global_step"] == 2 * 2


def test_a_packaged_network_learns_its_sizes_from_the_first_batch_or_from_attributes(tmp_path: Path) -> None:
    found = sizes(Module())
    assert found == Sizes((1, 6, 5), 3, 1)
    assert sizes(Told()) == Sizes((1, 6, 5), 3)
    for name in ("Module", "Told"):
        run = fit(tmp_path / name, f"--data={__name__}.{name}", "--model.net=mlp", *QUICK)
        assert accuracy(run) > 0.8, name


def test_a_file_with_that_section_is_still_read(tmp_path: Path) -> None:
    (tmp_path / "d.yaml").write_text("{dataset: digits, batch_size: 629}")
    run = fit(tmp_path / "runs", f"--data={tmp_path / 'd.yaml'}", "--trainer.max_epochs=1")
    assert last(run)["global_step"] == 1257 // 629


def test_its_options_are_in_the_help(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        cli.main(["fit", f"--data.help={__name__}.Module"])
    shown = capsys.readouterr().out
    assert "--data.count" in shown
    assert "--data.augment" not in shown


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (
            [f"--data={__name__}.Silent"],
            r"Silent gives no training batch before the run: OSError: no such disk.*`shape`",
        ),
        ([f"--data={__name__}.Triples"], r"first training batch is a list of Tensor, Tensor, Tensor, expected tensors"),
        (
            [f"--data={__name__}.Module", "--data.cout=3"],
            r"^data: Option 'cout' .* Did you mean count in place of cout",
        ),
        ([f"--data={__name__}.Module", "--data.count=x"], r"^data.count: Expected a <class 'int'>. Got value: x.$"),
        ([f"--data={__name__}.Nothing"], r"^data=.*Nothing: .* has no attribute 'Nothing'.$"),
        ([f"--data={__name__}.Net"], r"^data=.*Net: Import path does not correspond to a subclass of LightningDataMod"),
        (["--data=no.such.Module"], r"^data=no.such.Module: .*No module named 'no'.$"),
        ([f"--data={__name__}.Module", "--data.dataset=digits"], r"--data.dataset=digits is one of .* one of the two"),
        ([f"--data={__name__}.Module", "--config=digits_mlp"], r"digits_mlp.yaml has options .* a config without that"),
    ],
)
def test_data_modules_that_cannot_be_used(tmp_path: Path, options: list[str], message: str) -> None:
    with pytest.raises(BadInput, match=message):
        fit(tmp_path, *options)
    assert not list(tmp_path.iterdir())


# from a stranger


@pytest.mark.parametrize(
    "section",
    [
        {"dataset": "mine.make"},
        {"class_path": "mine.Data", "init_args": {}},
        {"dataset": "digits", "dataset_args": "{a: {class_path: mine.Data}}"},
    ],
)
def test_a_config_beside_a_checkpoint_names_no_data_of_ones_own(tmp_path: Path, section: dict) -> None:
    run = fit(tmp_path, "--model.net_args={hidden: [8]}", "--trainer.max_epochs=1")
    config = yaml.safe_load((run / "config.yaml").read_text())
    config["data"] = section
    (run / "config.yaml").write_text(yaml.safe_dump(config))
    with pytest.raises(BadInput, match=r"config.yaml lies beside a checkpoint, and could run any code by data\."):
        cli.main(arguments("test", tmp_path))


def test_data_named_by_the_user_needs_no_trust(tmp_path: Path) -> None:
    fit(tmp_path, f"{HERE}.table", "--trainer.max_epochs=1")
    with pytest.raises(BadInput, match=r"data.dataset: .*table"):
        cli.main(arguments("test", tmp_path))
    cli.main(arguments("test", tmp_path, f"{HERE}.table", "--run.pictures=false"))
    module = (f"--data={__name__}.Module", "--model.net=mlp")
    fit(tmp_path / "module", *module, "--trainer.max_epochs=1")
    with pytest.raises(BadInput, match=r"data.class_path: .*Module"):
        cli.main(arguments("test", tmp_path / "module"))
    cli.main(arguments("test", tmp_path / "module", module[0], "--run.pictures=false"))
