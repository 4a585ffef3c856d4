"""A LightningDataModule of one's own: --data mymodule.MyData."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from manual_backprop.errors import BadInput
from manual_backprop.training import cli
from manual_backprop.training.own_data import Sizes, sizes

from .own import PATH, Module, Told, accuracy
from .runs import fit, last

QUICK = ("--model.optimizer.lr=0.01", "--trainer.max_epochs=4")


def test_a_data_module_with_its_own_options(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    own = (f"--data={PATH}.Module", "--data.batch_size=48", "--data.count=192", f"--model.net={PATH}.Net")
    run = fit(tmp_path, *own, *QUICK, "--run.test=true", "--run.pictures=true")
    assert run.parent.name == "Module_Net"
    assert last(run)["global_step"] == 4 * 4
    assert accuracy(run, "test") > 0.8
    assert (run / "pictures" / "confusion_test.png").is_file()
    assert yaml.safe_load((run / "config.yaml").read_text())["data"] == {
        "class_path": f"{PATH}.Module",
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
    section = {"class_path": f"{PATH}.Module", "init_args": {"count": 72}}
    (tmp_path / "mine.yaml").write_text(yaml.safe_dump({"data": section, "model": {"net": f"{PATH}.Net"}}))
    run = fit(tmp_path / "runs", f"--config={tmp_path / 'mine.yaml'}", "--data.batch_size=36")
    assert run.parent.name == "mine"
    assert last(run)["global_step"] == 2 * 2


def test_a_packaged_network_learns_its_sizes_from_the_first_batch_or_from_attributes(tmp_path: Path) -> None:
    found = sizes(Module())
    assert found == Sizes((1, 6, 5), 3, 1)
    assert sizes(Told()) == Sizes((1, 6, 5), 3)
    for name in ("Module", "Told"):
        run = fit(tmp_path / name, f"--data={PATH}.{name}", "--model.net=mlp", *QUICK)
        assert accuracy(run) > 0.8, name


@pytest.mark.filterwarnings("ignore:You defined a `validation_step` but have no `val_dataloader`")
def test_without_validation_and_test_it_trains(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    own = (f"--data={PATH}.OnlyTraining", f"--model.net={PATH}.Net", "--run.test=true")
    run = fit(tmp_path, *own)
    assert last(run)["global_step"] == 20
    assert not (run / "checkpoints" / "best.ckpt").exists()
    assert "not tested: OnlyTraining has no test_dataloader" in capsys.readouterr().out
    with pytest.raises(BadInput, match=r"run.patience=1 waits for a smaller val/loss, and nothing is validated"):
        fit(tmp_path / "patience", *own, "--run.patience=1")


def test_a_file_with_that_section_is_still_read(tmp_path: Path) -> None:
    (tmp_path / "d.yaml").write_text("{dataset: digits, batch_size: 629}")
    run = fit(tmp_path / "runs", f"--data={tmp_path / 'd.yaml'}", "--trainer.max_epochs=1")
    assert last(run)["global_step"] == 1257 // 629


def test_its_options_are_in_the_help(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        cli.main(["fit", f"--data.help={PATH}.Module"])
    shown = capsys.readouterr().out
    assert "--data.count" in shown
    assert "--data.augment" not in shown


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (
            [f"--data={PATH}.Silent"],
            r"Silent gives no training batch before the run: OSError: no such disk.*`shape`",
        ),
        ([f"--data={PATH}.Triples"], r"first training batch is a list of Tensor, Tensor, Tensor, expected tensors"),
        (
            [f"--data={PATH}.Module", "--data.cout=3"],
            r"^data: Option 'cout' .* Did you mean count in place of c",
        ),
        ([f"--data={PATH}.Module", "--data.count=x"], r"^data.count: Expected a <class 'int'>. Got value: x.$"),
        ([f"--data={PATH}.Nothing"], r"^data=.*Nothing: .* has no attribute 'Nothing'.$"),
        ([f"--data={PATH}.Net"], r"^data=.*Net: Import path does not correspond to a subclass of LightningDataMod"),
        (["--data=no.such.Module"], r"^data=no.such.Module: .*No module named 'no'.$"),
        ([f"--data={PATH}.Module", "--data.dataset=digits"], r"--data.dataset=digits is one of .* one of the two"),
        ([f"--data={PATH}.Module", "--config=digits_mlp"], r"digits_mlp.yaml has options .* a config without that"),
    ],
)
def test_data_modules_that_cannot_be_used(tmp_path: Path, options: list[str], message: str) -> None:
    with pytest.raises(BadInput, match=message):
        fit(tmp_path, *options)
    assert not list(tmp_path.iterdir())
