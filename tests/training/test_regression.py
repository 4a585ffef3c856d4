"""Regression: squared error by our rule, R2, predictions as numbers; the packaged run on scikit-learn's diabetes."""

from __future__ import annotations

import csv
from pathlib import Path
from typing import Any

import pytest
import torch
from sklearn.linear_model import LinearRegression
from sklearn.metrics import r2_score
from torch import Tensor
from torch.utils.data import TensorDataset

import manual_backprop as mb
from manual_backprop import rules
from manual_backprop.errors import BadInput
from manual_backprop.training import cli
from manual_backprop.training.data import DataModule
from manual_backprop.training.learner import Learner
from manual_backprop.training.table import read_rows
from manual_backprop.training.tasks import Classification, Regression

from .runs import arguments, assert_same_training, fit, last, saved_checkpoints

DIABETES = ("--config=diabetes_mlp", "--run.pictures=false")


def plane(columns: int = 1) -> TensorDataset:
    """Targets far from zero, a plane over the inputs."""
    generator = torch.Generator().manual_seed(0)
    inputs = torch.randn(300, 5, generator=generator, dtype=torch.float64)
    weights = torch.randn(5, columns, generator=generator, dtype=torch.float64)
    return TensorDataset(inputs, 1000 + 50 * (inputs @ weights).squeeze(1))


@pytest.fixture(scope="module")
def diabetes(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The run of the packaged configuration."""
    folder = tmp_path_factory.mktemp("diabetes")
    cli.main(arguments("fit", folder, "--config=diabetes_mlp"))
    (run,) = folder.glob("*/*")
    return run


def scores(run: Path, name: str) -> list[float]:
    return [float(row[name]) for row in read_rows(run / "metrics.csv") if name in row]


def test_the_packaged_run_learns(diabetes: Path) -> None:
    assert diabetes.parent.name == "diabetes_mlp"
    (tested,) = scores(diabetes, "test/r2")
    validated = scores(diabetes, "val/r2")
    data = DataModule("diabetes")
    data.load("fit")
    train, test = data.splits["train"], data.splits["test"]
    plain = LinearRegression().fit(train.images, train.labels).score(test.images, test.labels)
    assert plain > 0.4
    assert tested > plain - 0.1, "a network is to be about as good as a plane on this table"
    assert max(validated) > 0.4 > validated[0]
    for name in ("predicted_validation", "predicted_test", "learning_curves", "delta_flow"):
        assert (diabetes / "pictures" / f"{name}.png").stat().st_size > 10_000, name
    assert not (diabetes / "pictures" / "confusion_test.png").exists()


def test_predictions_are_numbers_in_the_unit_of_the_targets(
    diabetes: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    cli.main(["predict", f"--ckpt_path={diabetes / 'checkpoints' / 'best.ckpt'}", f"--run.output={tmp_path}"])
    with open(tmp_path / "predictions.csv", newline="") as file:
        rows = list(csv.DictReader(file))
    data = DataModule("diabetes")
    data.load("predict")
    targets = data.splits["test"].labels
    assert [row["example"] for row in rows] == [str(number) for number in range(len(targets))]
    (tested,) = scores(diabetes, "test/r2")
    # six digits of a number in the table
    assert abs(r2_score(targets, [float(row["prediction"]) for row in rows]) - tested) < 1e-4
    assert f"0: {rows[0]['prediction']}" in capsys.readouterr().out


def test_what_is_printed(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run = fit(tmp_path, *DIABETES, "--run.test=true")
    shown = capsys.readouterr().out
    assert "0 autograd" in shown
    for stage in ("val", "best val", "test"):
        assert f"\n{stage} r2 " in shown
    assert f"val/r2 {scores(run, 'val/r2')[-1]:.4f}" in shown


def test_the_loss_is_our_rule_on_standardized_targets() -> None:
    task = Regression(1, mean=10.0, std=2.0)
    outputs = torch.randn(6, 1, requires_grad=True)
    targets = torch.arange(6) + 8
    loss = task.loss(outputs, targets)
    assert issubclass(mb.rule_of(loss.grad_fn), rules.MSELoss)
    torch.testing.assert_close(loss, ((outputs[:, 0] - (targets - 10) / 2) ** 2).mean())
    torch.testing.assert_close(task.predictions(outputs), outputs * 2 + 10)


@pytest.mark.parametrize("columns", [1, 3])
def test_r2_is_that_of_scikit_learn(columns: int) -> None:
    task, generator = Regression(columns, mean=100.0, std=3.0), torch.Generator().manual_seed(0)
    outputs, noise = (torch.randn(50, columns, generator=generator) for _ in range(2))
    targets = 100 + 3 * (outputs + noise)
    metrics = task.metrics()
    sizes = {name: tensor.shape for name, tensor in metrics.state_dict().items()}
    for part in (slice(0, 7), slice(7, 50)):
        task.update(metrics, outputs[part], targets[part].squeeze(1), task.loss(outputs[part], targets[part]))
    assert {name: tensor.shape for name, tensor in metrics.state_dict().items()} == sizes
    # float32, sums in another order
    assert abs(float(metrics.compute()["r2"]) - r2_score(targets, 3 * outputs + 100)) < 1e-4
    metrics.reset()
    task.update(metrics, outputs[:1], targets[:1], task.loss(outputs[:1], targets[:1]))
    assert metrics.compute()["r2"].isnan()


@pytest.mark.parametrize("columns", [1, 2])
@pytest.mark.parametrize("options", [(), ("--model.written_out=true",), ("--trainer.accumulate_grad_batches=3",)])
def test_several_numbers_and_lightnings_features(tmp_path: Path, columns: int, options: tuple[str, ...]) -> None:
    own = (
        f"--data.dataset={__name__}.plane",
        f"--data.dataset_args={{columns: {columns}}}",
        "--model.task=regression",
        "--model.target_mean=1000",
        "--model.target_std=100",
        "--model.optimizer.lr=0.01",
        "--trainer.max_epochs=6",
        "--run.checkpoint_every=2",
    )
    run = fit(tmp_path, *own, *options)
    assert scores(run, "val/r2")[-1] > 0.8


def test_resumed_in_the_middle_it_ends_the_same(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    saved = saved_checkpoints(monkeypatch)
    options = (*DIABETES, "--run.checkpoint_every=3")
    run = fit(tmp_path, *options)
    whole, metrics = last(run), (run / "metrics.csv").read_text()
    (run / "checkpoints" / "last.ckpt").write_bytes(saved[1])  # the sixth batch of eight
    assert fit(tmp_path, *options, "--ckpt_path=last") == run
    assert_same_training(whole, last(run))
    assert (run / "metrics.csv").read_text() == metrics


def test_patience_and_the_best_checkpoint_watch_what_a_regression_has(tmp_path: Path) -> None:
    run = fit(tmp_path, *DIABETES, "--trainer.max_epochs=40", "--run.patience=2", "--model.optimizer.lr=0.05")
    best = torch.load(run / "checkpoints" / "best.ckpt", weights_only=True)
    assert last(run)["epoch"] < 39
    found = [state["best_model_score"] for state in best["callbacks"].values() if "best_model_score" in state]
    assert float(found[0]) == pytest.approx(max(scores(run, "val/r2")))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (
            ["--model.task=classification"],
            r"mlp needs to know how many classes .* To predict numbers add --model.task=regress",
        ),
        (["--model.target_std=0"], r"model.target_std=0.0: give more than 0"),
        (["--model.net=cnn", "--model.net_args=null"], r"Model cnn reads images .* inputs of shape \(10,\). Use mlp"),
        (["--data.augment.shift=1"], r"data.augment is for the named sets of images, not for diabetes"),
        (["--data.held_out=400"], r"data.held_out=400: diabetes has 354 training examples, so give 1 to 353"),
        (["--model.task=regresion"], r"Did you mean|regression"),
    ],
)
def test_bad_input(tmp_path: Path, options: list[str], message: str) -> None:
    with pytest.raises(BadInput, match=message):
        fit(tmp_path, *DIABETES, *options)


def test_networks_and_targets_that_do_not_fit() -> None:
    def net(outputs: int) -> torch.nn.Module:
        return torch.nn.Linear(10, outputs)

    with pytest.raises(BadInput, match=r"Linear gives \(2, 3\) for 2 inputs, expected numbers of shape \(2, 1\)"):
        Learner(net(3), shape=(10,), task="regression")
    learner = Learner(net(2), shape=(10,), targets=2, task="regression")
    with pytest.raises(BadInput, match=r"targets have shape \(4, 3\), expected \(4, 2\)"):
        learner.task.require(torch.zeros(4, 3))
    with pytest.raises(BadInput, match=r"targets are torch.int64 of shape \(4, 1\), expected class indices"):
        Classification(3).require(torch.zeros(4, 1, dtype=torch.int64))

    class Flat(torch.nn.Linear):
        def forward(self, x: Tensor) -> Any:
            return super().forward(x).squeeze(1)

    flat = Learner(Flat(10, 1), shape=(10,), task="regression")
    assert flat.predict_step([torch.zeros(4, 10), torch.zeros(4)], 0).shape == (4, 1)
