"""A run that is resumed at its end says so, trains nothing and shows its result; the summary names the run's folder."""

from __future__ import annotations

from pathlib import Path

import pytest

from manual_backprop.training import cli

from .runs import NET, arguments, assert_same_training, fit, last


@pytest.fixture(autouse=True)
def wide_screen(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "300")


ONCE = ("--run.pictures=false", "--trainer.max_epochs=1")


def accuracy(lines: list[str]) -> list[str]:
    return [line.split()[2] for line in lines if line.startswith("test accuracy")]


def resumed(folder: Path, capsys: pytest.CaptureFixture[str], *options: str) -> list[str]:
    """The lines that the resumed run prints."""
    capsys.readouterr()
    cli.main(arguments("fit", folder, "--ckpt_path=last", *options))
    return capsys.readouterr().out.splitlines()


def test_a_finished_run_says_so_in_one_line_and_is_tested_again(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = fit(tmp_path, *NET, *ONCE, "--run.test=true")
    before, metrics = last(run), (run / "metrics.csv").read_text()
    (told,) = accuracy(capsys.readouterr().out.splitlines())
    lines = resumed(tmp_path, capsys)
    assert lines[0] == f"digits_mlp, run folder {run}, is finished (1 of 1 epochs): nothing to train"
    assert lines[1].startswith("test finished")
    assert accuracy(lines) == [told]
    assert (run / "metrics.csv").read_text() == metrics
    assert_same_training(before, last(run))


def test_one_that_goes_on_does_not(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run = fit(tmp_path, *NET, *ONCE, "--run.checkpoint_every=5", "--model.scheduler=null")
    lines = resumed(tmp_path, capsys, "--trainer.max_epochs=2", "--run.test=false")
    assert lines[0] == f"continuing digits_mlp, run folder {run}"
    assert last(run)["epoch"] == 1


def test_by_steps_and_by_patience(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run = fit(tmp_path / "steps", *NET, "--trainer.max_steps=19", "--model.scheduler=null")
    assert f"{run}, is finished (19 of 19 steps)" in resumed(tmp_path / "steps", capsys, "--run.test=false")[0]
    stop = ("--run.patience=1", "--trainer.max_epochs=30", "--model.optimizer.lr=0.0", "--model.scheduler=null")
    run = fit(tmp_path / "patience", *NET, *stop)
    stopped = resumed(tmp_path / "patience", capsys, "--run.test=false")[0]
    assert f"is finished (stopped after epoch {last(run)['epoch'] + 1}: 1 epochs without a smaller val/loss)" in stopped


def test_without_validation_the_last_weights_are_measured(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    fit(tmp_path, *NET, *ONCE, "--trainer.limit_val_batches=0", "--run.test=true")
    (told,) = accuracy(capsys.readouterr().out.splitlines())
    assert accuracy(resumed(tmp_path, capsys)) == [told]


def test_the_summary_names_the_run_folder(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run = fit(tmp_path / "a", *NET, *ONCE, "--run.test=true")
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[2] for line in lines if line.startswith("run folder")] == [str(run)] * 2
