"""A run that was stopped anywhere and started again ends as if it had never stopped."""

import random
import shutil
import signal
import time
from pathlib import Path

import pytest

from manual_backprop.errors import BadInput
from manual_backprop.training.table import MetricsTable

from .runs import NET, arguments, assert_same_training, fit, last, saved_checkpoints, start

EVERY = "--run.checkpoint_every=5"  # of 19 batches an epoch: in the middle, never at the end

PLATEAU = (
    "--model.optimizer={class_path: torch.optim.SGD, init_args: {lr: 0.1, momentum: 0.9}}",
    "--model.scheduler={class_path: pytorch_lightning.cli.ReduceLROnPlateau, init_args: "
    "{monitor: val/loss, patience: 0, threshold: 0.5}}",
)


@pytest.mark.parametrize(
    "options",
    [
        pytest.param(NET, id="onecycle"),
        pytest.param((*NET, *PLATEAU), id="plateau"),
        pytest.param((*NET, "--data.resident=false", "--data.workers=0"), id="dataloader"),
        pytest.param((*NET, "--trainer.accumulate_grad_batches=2", "--run.patience=0"), id="accumulate"),
    ],
)
def test_resumed_from_any_checkpoint_ends_the_same(tmp_path, monkeypatch, options):
    saved = saved_checkpoints(monkeypatch)
    run = fit(tmp_path, EVERY, *options)
    whole, metrics = last(run), (run / "metrics.csv").read_text()
    assert len(saved) == 8  # three inside and one at the end of each of two epochs

    for index, data in list(enumerate(saved))[:: 1 if options == NET else 3]:
        (run / "checkpoints" / "last.ckpt").write_bytes(data)
        assert fit(tmp_path, EVERY, *options, "--ckpt_path=last") == run
        assert_same_training(whole, last(run))
        assert (run / "metrics.csv").read_text() == metrics, f"metrics after resuming from save {index}"


def killed_and_resumed(folder: Path, options: list[str], kills: int, rng: random.Random) -> Path:
    """Kill -9 a run at random moments, so many times, and start it again until it ends; returns its folder."""
    for number in range(kills + 1):
        with start(*options, *(["--ckpt_path=last"] if number else [])) as process:
            if number < kills and process.stdout is not None:
                # what a run prints measures it better than seconds: that it is about to train, then a line an epoch
                for _ in range(rng.randint(1, 3)):
                    process.stdout.readline()
                time.sleep(rng.uniform(0.0, 0.03))
                process.send_signal(signal.SIGKILL)
            output, _ = process.communicate(timeout=300)
        assert process.returncode == (-signal.SIGKILL if number < kills else 0), output
    return next(folder.glob("*/*"))


def _kill_and_compare(folder, kills, seed):
    options = ("--trainer.max_epochs=10", "--run.checkpoint_every=3", *NET)
    quick = ("--run.pictures=false", "--run.test=false")
    rng = random.Random(seed)
    killed = killed_and_resumed(folder / "killed", arguments("fit", folder / "killed", *quick, *options), kills, rng)
    assert len(list((folder / "killed").glob("*/*"))) == 1, "a resumed run continues in its own folder"
    whole = fit(folder / "whole", *options)
    assert_same_training(last(whole), last(killed))
    assert (killed / "metrics.csv").read_text() == (whole / "metrics.csv").read_text()


@pytest.mark.slow  # three processes that import Lightning: 13 seconds
def test_killed_at_a_random_moment_ends_the_same(tmp_path):
    _kill_and_compare(tmp_path, kills=1, seed=0)


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(1, 9))
def test_killed_three_times_at_random_moments_ends_the_same(tmp_path, seed):
    _kill_and_compare(tmp_path, kills=3, seed=seed)


def test_stopped_before_the_metrics_of_an_epoch_are_logged(tmp_path, monkeypatch):
    """A checkpoint of that epoch's end would be resumed behind them."""
    whole = fit(tmp_path / "whole", EVERY, *NET)
    log = MetricsTable.log_metrics

    def stopped(self, metrics, step=None):
        if "train/loss" in metrics and metrics["epoch"] == 1:
            raise KeyError("stopped")
        log(self, metrics, step)

    monkeypatch.setattr(MetricsTable, "log_metrics", stopped)
    with pytest.raises(KeyError, match="stopped"):
        fit(tmp_path / "stopped", EVERY, *NET)
    monkeypatch.undo()
    run = fit(tmp_path / "stopped", EVERY, *NET, "--ckpt_path=last")
    assert_same_training(last(whole), last(run))
    assert (run / "metrics.csv").read_text() == (whole / "metrics.csv").read_text()
    assert sorted(path.name for path in (run / "checkpoints").iterdir()) == ["best.ckpt", "last.ckpt"]


def test_nothing_saved_yet_starts_from_the_beginning(tmp_path):
    run = fit(tmp_path / "a", *NET)
    whole = last(run)
    shutil.rmtree(run / "checkpoints")
    assert fit(tmp_path / "a", *NET, "--ckpt_path=last") == run
    assert_same_training(whole, last(run))


def test_a_finished_run_resumed_changes_nothing(tmp_path):
    run = fit(tmp_path, *NET)
    whole, metrics = last(run), (run / "metrics.csv").read_text()
    assert fit(tmp_path, "--ckpt_path=last") == run
    assert_same_training(whole, last(run))
    assert (run / "metrics.csv").read_text() == metrics


def test_another_end_than_the_run_had(tmp_path):
    run = fit(tmp_path, *NET, "--trainer.max_epochs=3")
    whole = last(run)
    with pytest.raises(
        BadInput, match=r"max_epochs=1: .*last.ckpt was saved in epoch 3. Give at least 3, or start a new"
    ):
        fit(tmp_path, "--ckpt_path=last", "--trainer.max_epochs=1")
    with pytest.raises(BadInput, match=r"max_steps=20: .*last.ckpt was saved in step 57. Give at least 57"):
        fit(tmp_path, "--ckpt_path=last", "--trainer.max_epochs=3", "--trainer.max_steps=20")
    with pytest.raises(BadInput, match=r"OneCycleLR ends after 57 steps, this run after 76. .*--model.scheduler=null"):
        fit(tmp_path, "--ckpt_path=last", "--trainer.max_epochs=4")
    assert_same_training(whole, last(run))
    fit(tmp_path, "--ckpt_path=last", "--trainer.max_epochs=4", "--model.scheduler=null")
    assert last(run)["global_step"] == 76


def test_stopped_early_stays_stopped(tmp_path):
    stop = ("--run.patience=1", "--trainer.max_epochs=30", "--model.optimizer.lr=0.0", "--model.scheduler=null")
    run = fit(tmp_path, *NET, *stop)
    whole = last(run)
    assert whole["epoch"] < 29
    fit(tmp_path, "--ckpt_path=last")
    assert_same_training(whole, last(run))


def test_another_seed_is_another_run(tmp_path):
    one, other = fit(tmp_path / "1", *NET), fit(tmp_path / "2", *NET, "--seed_everything=1")
    with pytest.raises(AssertionError):
        assert_same_training(last(one), last(other))
