"""DeltaFlow: its numbers against those of autograd and of plain loops here, and that training does not notice it."""

import copy
import math
import pickle
from pathlib import Path
from typing import Any

import pytest
import pytorch_lightning as pl
import torch
from pytorch_lightning.loggers import CSVLogger
from pytorch_lightning.loggers.logger import DummyLogger
from torch import Tensor, nn

import manual_backprop as mb
from manual_backprop.training.callbacks import DeltaFlow, FiniteWatch, Pictures
from manual_backprop.training.callbacks.delta_table import COLUMNS, read_table

from .callback_runs import Classifier, Images, cnn, fit, fp16, mlp

DIGITS = 1e-5  # relative: the table keeps six digits
ROUNDING = 1e-3  # relative: float32 sums of a few hundred terms in another order, then six digits


def rms(value: Tensor) -> float:
    return value.double().pow(2).mean().sqrt().item()


def norm(values: list[Tensor]) -> float:
    return math.sqrt(sum(value.double().pow(2).sum().item() for value in values))


def rows_at(folder: Path, step: int) -> dict[str, dict[str, Any]]:
    return {row["layer"]: row for row in read_table(folder / "deltas.csv") if row["step"] == step}


@pytest.mark.parametrize("activation", [nn.ReLU, nn.Tanh])
def test_numbers_equal_those_of_autograd_and_of_a_plain_training_loop(tmp_path: Path, activation: type) -> None:
    fit(tmp_path, Classifier(mlp(activation)), [DeltaFlow(1)], max_epochs=1)
    net, data = mlp(activation), Images()
    optimizer = torch.optim.SGD(net.parameters(), lr=0.1, momentum=0.9)
    for step, (images, labels) in enumerate(data.batches()):
        outputs, value = [], images
        for layer in net:
            value = layer(value)
            outputs.append(value)
        loss = nn.functional.cross_entropy(value, labels)
        deltas = torch.autograd.grad(loss, outputs[1:], retain_graph=True)
        optimizer.zero_grad()
        loss.backward()
        before = copy.deepcopy(net)
        optimizer.step()
        rows = rows_at(tmp_path, step)
        assert list(rows) == ["1", "2", "3", "4", "5"]  # in the order of the forward; Flatten is no layer
        for name, row in rows.items():
            place = int(name)
            assert row["kind"] == type(net[place]).__name__
            assert row["output_rms"] == pytest.approx(rms(outputs[place]), rel=DIGITS)
            assert row["delta_rms"] == pytest.approx(rms(deltas[place - 1]), rel=DIGITS)
            old, new = list(before[place].parameters()), list(net[place].parameters())
            if not new:
                assert row["gradient_to_weight"] is None
                assert row["update_to_weight"] is None
                continue
            gradients = [parameter.grad for parameter in new]
            assert row["gradient_to_weight"] == pytest.approx(norm(gradients) / norm(old), rel=DIGITS)
            moved = norm([b.detach() - a for a, b in zip(old, new, strict=True)])
            # the difference of two nearly equal float32 weights carries their rounding
            assert row["update_to_weight"] == pytest.approx(moved / norm(old), rel=1e-4)
            assert row["dead"] is None
            assert row["saturated"] is None
        for name in ("2", "4"):
            output = outputs[int(name)]
            if activation is nn.ReLU:
                assert rows[name]["dead"] == pytest.approx((output == 0).all(0).double().mean().item(), rel=DIGITS)
            else:
                flat = (1 - output.pow(2) < 0.01).double().mean().item()
                assert rows[name]["saturated"] == pytest.approx(flat, rel=DIGITS)


class Probe(pl.Callback):
    """Looks at the hooks of all modules in the middle of each step."""

    def __init__(self) -> None:
        self.hooks: list[int] = []

    def on_after_backward(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        self.hooks.append(sum(len(module._forward_hooks) for module in pl_module.modules()))


def test_hooks_are_there_in_logged_steps_only(tmp_path: Path) -> None:
    module, probe = Classifier(mlp()), Probe()
    fit(tmp_path, module, [DeltaFlow(3), probe])
    assert probe.hooks == [5, 0, 0, 5, 0, 0, 5, 0]
    assert not any(layer._forward_hooks for layer in module.modules())
    assert sorted({row["step"] for row in read_table(tmp_path / "deltas.csv")}) == [0, 3, 6]


def test_hooks_go_when_a_training_step_fails(tmp_path: Path) -> None:
    class Fails(Classifier):
        def training_step(self, batch: Any, batch_idx: int) -> Tensor:
            self.net(batch[0])
            raise ArithmeticError("on purpose")

    module = Fails(mlp())
    with pytest.raises(ArithmeticError):
        fit(tmp_path, module, [DeltaFlow(1)])
    assert not any(layer._forward_hooks for layer in module.modules())


class Shared(nn.Module):
    """One Linear and one ReLU used twice, at the same width, and the ReLU once more at another."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.twice, self.last = nn.Linear(64, 12), nn.Linear(12, 12), nn.Linear(12, 4)
        self.relu = nn.ReLU()
        self.alias = self.twice

    def forward(self, images: Tensor) -> Tensor:
        hidden = self.relu(self.first(images.flatten(1)))
        hidden = self.relu(self.twice(hidden))
        return self.relu(self.last(self.alias(hidden)) + 3)


def converted_cnn() -> nn.Module:
    return mb.convert(cnn())


@pytest.mark.parametrize("build", [mlp, cnn, Shared, converted_cnn])
@pytest.mark.parametrize("accumulate", [1, 3])
def test_training_does_not_change_by_one_bit(tmp_path: Path, build: Any, accumulate: int) -> None:
    results = []
    watchers = [DeltaFlow(2), FiniteWatch(gradients=True), *([Pictures()] if accumulate == 1 else [])]
    for name, callbacks in (("without", []), ("with", watchers)):
        torch.manual_seed(1)
        module = Classifier(build())
        torch.manual_seed(2)  # dropout
        fit(tmp_path / name, module, callbacks, accumulate_grad_batches=accumulate)
        results.append((module.state_dict(), torch.get_rng_state()))
    (plain, plain_random), (watched, watched_random) = results
    assert all(torch.equal(plain[key], watched[key]) for key in plain)
    assert torch.equal(plain_random, watched_random)


def test_a_shared_module_is_one_row_with_its_uses_together(tmp_path: Path) -> None:
    torch.manual_seed(1)
    net = Shared()
    twin, (images, labels) = copy.deepcopy(net), Images().batches()[0]
    fit(tmp_path, Classifier(net), [DeltaFlow(100)], max_epochs=1)
    rows = rows_at(tmp_path, 0)
    assert list(rows) == ["first", "relu", "twice", "last"]
    z1 = twin.first(images.flatten(1))
    a1 = torch.relu(z1)
    z2 = twin.twice(a1)
    a2 = torch.relu(z2)
    z3 = twin.twice(a2)
    a4 = torch.relu(twin.last(z3) + 3)
    loss = nn.functional.cross_entropy(a4, labels)
    d = dict(zip(("a1", "z2", "a2", "z3", "a4"), torch.autograd.grad(loss, (a1, z2, a2, z3, a4)), strict=True))
    assert rows["twice"]["output_rms"] == pytest.approx(rms(torch.cat((z2, z3))), rel=DIGITS)
    assert rows["twice"]["delta_rms"] == pytest.approx(rms(torch.cat((d["z2"], d["z3"]))), rel=DIGITS)
    uses = torch.cat([d[name].flatten() for name in ("a1", "a2", "a4")])
    assert rows["relu"]["delta_rms"] == pytest.approx(rms(uses), rel=DIGITS)
    dead = sum((a == 0).all(0).sum().item() for a in (a1, a2, a4)) / (12 + 12 + 4)
    assert rows["relu"]["dead"] == pytest.approx(dead, rel=DIGITS)


def test_our_layers_show_what_their_twins_show(tmp_path: Path) -> None:
    for name, build in (("twin", cnn), ("ours", converted_cnn)):
        torch.manual_seed(1)
        fit(tmp_path / name, Classifier(build()), [DeltaFlow(100)], max_epochs=1)
    twin, ours = (read_table(tmp_path / name / "deltas.csv") for name in ("twin", "ours"))
    assert len(twin) == len(ours) == 4
    for one, other in zip(twin, ours, strict=True):
        assert one["kind"] == other["kind"]
        for column in ("output_rms", "delta_rms", "gradient_to_weight", "update_to_weight", "dead"):
            assert other[column] == (one[column] and pytest.approx(one[column], rel=ROUNDING))


@pytest.mark.gpu
@pytest.mark.parametrize("precision", ["32-true", "16-mixed"])
def test_on_cuda_as_on_the_cpu(tmp_path: Path, precision: str) -> None:
    results = []
    for name, callbacks in (("plain", []), ("watched", [DeltaFlow(1), FiniteWatch(gradients=True), Pictures()])):
        module = Classifier(mlp())
        fit(tmp_path / name, module, callbacks, accelerator="cuda", precision=precision)
        results.append(module.state_dict())
    assert all(torch.equal(value, results[1][key]) for key, value in results[0].items())
    fit(tmp_path / "cpu", Classifier(mlp()), [DeltaFlow(1)], max_epochs=1)
    # the first step, from the same weights; float16 (and TF32) round at 2**-11 in each of five layers
    for name, row in rows_at(tmp_path / "cpu", 0).items():
        assert rows_at(tmp_path / "watched", 0)[name]["delta_rms"] == pytest.approx(row["delta_rms"], rel=0.01)


def test_frozen_layers_have_blanks_where_nothing_flows(tmp_path: Path) -> None:
    net = mlp()
    net[1].requires_grad_(False)
    net[5].requires_grad_(False)
    fit(tmp_path, Classifier(net), [DeltaFlow(100)], max_epochs=1)
    rows = rows_at(tmp_path, 0)
    assert rows["1"]["output_rms"] > 0
    assert [rows["1"][name] for name in ("delta_rms", "gradient_to_weight", "update_to_weight")] == [None] * 3
    assert rows["3"]["delta_rms"] > 0
    assert rows["3"]["gradient_to_weight"] > 0
    assert rows["5"]["delta_rms"] > 0  # it passes delta on, though it does not learn
    assert [rows["5"][name] for name in ("gradient_to_weight", "update_to_weight")] == [None] * 2


def test_an_accumulated_batch_shows_what_the_whole_batch_shows(tmp_path: Path) -> None:
    fit(tmp_path / "whole", Classifier(mlp()), [DeltaFlow(1)], Images(batch_size=64), max_epochs=1)
    fit(tmp_path / "parts", Classifier(mlp()), [DeltaFlow(1)], max_epochs=1, accumulate_grad_batches=4)
    whole, parts = (read_table(tmp_path / name / "deltas.csv") for name in ("whole", "parts"))
    assert len(whole) == len(parts) == 5
    assert any(row["dead"] for row in whole)
    for one, other in zip(whole, parts, strict=True):
        assert one["dead"] == other["dead"]
        for name in ("output_rms", "delta_rms", "gradient_to_weight", "update_to_weight"):
            assert other[name] == (one[name] and pytest.approx(one[name], rel=ROUNDING))


def test_a_scaled_loss_is_unscaled(tmp_path: Path) -> None:
    fit(tmp_path / "full", Classifier(mlp()), [DeltaFlow(100)], max_epochs=1)
    fit(tmp_path / "half", Classifier(mlp()), [DeltaFlow(100)], max_epochs=1, plugins=fp16(1024.0))
    full, half = rows_at(tmp_path / "full", 0), rows_at(tmp_path / "half", 0)
    for name, row in full.items():
        for column in ("output_rms", "delta_rms", "gradient_to_weight"):
            # float16 has 11 bits, one rounding in each of five layers forward and backward: well below 1 %
            assert half[name][column] == (row[column] and pytest.approx(row[column], rel=0.01))


def test_bfloat16_autocast(tmp_path: Path) -> None:
    fit(tmp_path / "full", Classifier(mlp()), [DeltaFlow(100)], max_epochs=1)
    fit(tmp_path / "bfloat16", Classifier(mlp()), [DeltaFlow(100)], max_epochs=1, precision="bf16-mixed")
    full, half = rows_at(tmp_path / "full", 0), rows_at(tmp_path / "bfloat16", 0)
    for name, row in full.items():
        assert half[name]["delta_rms"] == pytest.approx(row["delta_rms"], rel=0.05)  # 8 bits, five layers


class Dies(pl.Callback):
    def __init__(self, step: int) -> None:
        self.step = step

    def on_train_batch_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule, *args: Any) -> None:
        if trainer.global_step == self.step:
            trainer.save_checkpoint(Path(trainer.default_root_dir) / "dying.ckpt")
            raise InterruptedError("on purpose")


class SavesEpochs(pl.Callback):
    def on_train_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        trainer.save_checkpoint(Path(trainer.default_root_dir) / f"epoch{trainer.current_epoch}.ckpt")


def test_a_resumed_run_writes_the_same_table_as_an_uninterrupted_one(tmp_path: Path) -> None:
    whole, broken = tmp_path / "whole", tmp_path / "broken"
    fit(whole, Classifier(mlp()), [DeltaFlow(3)], max_epochs=4)
    with pytest.raises(InterruptedError):
        fit(broken, Classifier(mlp()), [DeltaFlow(3), SavesEpochs(), Dies(11)], max_epochs=4)
    with open(broken / "deltas.csv", "a") as file:
        file.write("9,2,1,Lin")  # the kill fell into the middle of a row
    torn = (broken / "deltas.csv").read_text()
    assert max(row["step"] for row in read_table(broken / "deltas.csv")) == 9
    fit(broken, Classifier(mlp()), [DeltaFlow(3)], max_epochs=4, ckpt_path=broken / "epoch0.ckpt")
    text = (broken / "deltas.csv").read_text()
    assert text == (whole / "deltas.csv").read_text() != torn
    assert text.splitlines()[0] == ",".join(COLUMNS)
    assert sorted(path.name for path in broken.iterdir() if path.name.startswith(".")) == []


def test_a_new_run_in_the_same_folder_starts_a_new_table(tmp_path: Path) -> None:
    fit(tmp_path, Classifier(mlp()), [DeltaFlow(1)], max_epochs=2)
    fit(tmp_path, Classifier(mlp()), [DeltaFlow(4)], max_epochs=1)
    assert {row["step"] for row in read_table(tmp_path / "deltas.csv")} == {0}


def test_it_can_be_pickled_and_copied_in_the_middle_of_a_logged_step(tmp_path: Path) -> None:
    class Copies(pl.Callback):
        def on_after_backward(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
            self.copies = [pickle.loads(pickle.dumps(flow)), copy.deepcopy(flow)]

    flow, copies = DeltaFlow(4), Copies()
    fit(tmp_path, Classifier(mlp()), [flow, copies], max_epochs=1)
    for twin in copies.copies:
        assert twin.every_n_steps == 4
        fit(tmp_path / "again", Classifier(mlp()), [twin], max_epochs=1)
        assert (tmp_path / "again" / "deltas.csv").read_text() == (tmp_path / "deltas.csv").read_text()


def test_other_loggers_get_a_few_scalars_and_the_csv_logger_none(tmp_path: Path) -> None:
    class Keeps(DummyLogger):
        def __init__(self) -> None:
            super().__init__()
            self.kept: dict[int, dict[str, float]] = {}

        def log_metrics(self, metrics: dict[str, float], step: int) -> None:
            if any(name.startswith("deltas/") for name in metrics):
                self.kept[step] = metrics

    keeps = Keeps()
    loggers = [CSVLogger(tmp_path, name="", version=""), keeps]
    fit(tmp_path, Classifier(mlp()), [DeltaFlow(4)], logger=loggers)
    assert list(keeps.kept) == [0, 4]
    rows = rows_at(tmp_path, 4)
    kept = keeps.kept[4]
    assert set(kept) == {
        "deltas/delta_rms_first_layer", "deltas/delta_rms_last_layer", "deltas/gradient_to_weight_median",
        "deltas/update_to_weight_median", "deltas/dead_largest",
    }  # fmt: skip
    assert kept["deltas/delta_rms_first_layer"] == pytest.approx(rows["1"]["delta_rms"], rel=DIGITS)
    assert kept["deltas/delta_rms_last_layer"] == pytest.approx(rows["5"]["delta_rms"], rel=DIGITS)
    ratios = sorted(rows[name]["update_to_weight"] for name in "135")
    assert kept["deltas/update_to_weight_median"] == pytest.approx(ratios[1], rel=DIGITS)
    assert "deltas/" not in (tmp_path / "metrics.csv").read_text()


def test_nothing_is_written_in_a_trial_run(tmp_path: Path) -> None:
    fit(tmp_path, Classifier(mlp()), [DeltaFlow(1)], fast_dev_run=True)
    assert not list(tmp_path.rglob("deltas.csv"))


def test_a_network_it_cannot_see_into_is_reported(tmp_path: Path) -> None:
    class Elsewhere(Classifier):
        def training_step(self, batch: Any, batch_idx: int) -> Tensor:
            weights = self.net[5].weight  # no module runs
            return nn.functional.cross_entropy(batch[0].flatten(1)[:, :12] @ weights.T, batch[1])

    with pytest.warns(UserWarning, match="DeltaFlow saw no layer run"):
        fit(tmp_path, Elsewhere(mlp()), [DeltaFlow(100)], max_epochs=1)


def test_a_full_disk_ends_the_table_and_not_the_training(tmp_path: Path, monkeypatch: Any) -> None:
    def full(*args: Any) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("manual_backprop.training.callbacks.delta_flow.append_rows", full)
    with pytest.warns(UserWarning, match="DeltaFlow stops, the training goes on: .*No space left on device"):
        run = fit(tmp_path, Classifier(mlp()), [DeltaFlow(1)])
    assert run.global_step == 8


@pytest.mark.parametrize("wrong", [0, -3, 2.5, True, "10"])
def test_a_wrong_interval_is_refused(wrong: Any) -> None:
    with pytest.raises(ValueError, match=r"every_n_steps must be a positive integer, got .*"):
        DeltaFlow(wrong)


def test_channels_are_told_from_the_layer_before(tmp_path: Path) -> None:
    net = cnn()
    net[0].weight.data[2:4] = 0
    net[0].bias.data[2:4] = -1
    net[1] = nn.Identity()  # a batch norm would bring the two channels back
    fit(tmp_path, Classifier(net), [DeltaFlow(100)], Images(), max_epochs=1)
    assert rows_at(tmp_path, 0)["2"]["dead"] == pytest.approx(2 / 6, rel=DIGITS)
