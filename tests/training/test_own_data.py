"""A data set of one's own by import path, and what a stranger's config may not name."""

from __future__ import annotations

import csv
import random
from pathlib import Path

import pytest
import torch
import yaml
from PIL import Image
from torch import Tensor

from manual_backprop.errors import BadInput
from manual_backprop.training import cli
from manual_backprop.training.data import DataModule
from manual_backprop.training.own_data import Sizes

from .own import PATH, Spots, accuracy, spots
from .runs import arguments, assert_same_training, fit, last

HERE = f"--data.dataset={PATH}"
QUICK = ("--model.optimizer.lr=0.01", "--trainer.max_epochs=4")
EVERY = "--run.checkpoint_every=3"


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
        data = DataModule(f"{PATH}.{name}", **options)
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
    data = DataModule(f"{PATH}.Spots", {"noise": 0.5}, root="somewhere")
    assert data.sizes == Sizes((1, 6, 5), 3, 1)
    assert data.classes == ("top", "middle", "bottom")
    assert data.splits["test"].root == "somewhere"
    assert DataModule(f"{PATH}.table").sizes == Sizes((1, 6, 5), 3, 1)


@pytest.mark.parametrize("workers", [None, 2])
def test_random_numbers_of_a_dataset_are_those_of_the_batch(workers: int | None) -> None:
    def batches(seed: int, start: int = 0) -> list[Tensor]:
        options = {"resident": False, "workers": workers} if workers else {}
        data = DataModule(f"{PATH}.Spots", {"noise": 1.0}, seed=seed, batch_size=64, **options)
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
        ("Spots", ("--data.dataset_args={train: true}",), r"data.dataset_args.train is filled in: .* Leave it out"),
        ("strings", (), r"the first item is a str, expected a pair \(input, target\)"),
        ("triples", (), r"the first item is a tuple of Tensor, Tensor, Tensor, expected a pair"),
        ("empty", (), r"Dataset .*empty is empty"),
        ("broken", (), r"Dataset .*broken cannot be made: no such disk"),
        ("PATH", (), r"is a str, expected a class or function giving a Dataset"),
        ("Module", (), r"gave a Module, expected a torch.utils.data.Dataset .* --data mymodule.MyData"),
    ],
)
def test_datasets_that_cannot_be_used(tmp_path: Path, name: str, options: tuple[str, ...], message: str) -> None:
    with pytest.raises(BadInput, match=message):
        fit(tmp_path, f"{HERE}.{name}", *options)
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
    module = (f"--data={PATH}.Module", "--model.net=mlp")
    fit(tmp_path / "module", *module, "--trainer.max_epochs=1")
    with pytest.raises(BadInput, match=r"data.class_path: .*Module"):
        cli.main(arguments("test", tmp_path / "module"))
    cli.main(arguments("test", tmp_path / "module", module[0], "--run.pictures=false"))
