"""Summary: what it prints, and that counting the backward nodes leaves the network alone."""

import copy
import io
import pickle
from pathlib import Path
from typing import Any

import pytest
import torch
from pytorch_lightning.callbacks import ModelCheckpoint
from rich.console import Console

import manual_backprop as mb
from manual_backprop.audit import audit
from manual_backprop.training.callbacks import Pictures, Summary
from manual_backprop.training.callbacks.summary import backward_nodes

from .callback_runs import Classifier, Images, cnn, fit, mlp, quiet, trainer


class Screen:
    """A console that keeps what was printed on it, block by block."""

    def __init__(self) -> None:
        self.console = Console(file=io.StringIO(), width=200)

    def blocks(self) -> list[dict[str, str]]:
        found: list[dict[str, str]] = []
        name = ""
        for line in self.console.file.getvalue().splitlines():  # type: ignore[attr-defined]
            if "finished" in line:
                found.append({"title": line.split("─")[0].strip()})
                continue
            words, _, text = line.partition("  ")
            name = words or name  # a line without a name goes on from the one above
            found[-1][name] = "\n".join(filter(None, [found[-1].get(name), text.strip()]))
        return found


def test_what_a_fit_and_a_test_print(tmp_path: Path) -> None:
    screen, pictures = Screen(), Pictures()
    keeper = ModelCheckpoint(tmp_path / "checkpoints", monitor="val/accuracy", mode="max")
    callbacks = [Summary(screen.console), pictures, keeper]
    run = fit(tmp_path, Classifier(mlp()), callbacks, test=True, enable_checkpointing=True)
    first, second = screen.blocks()
    assert first["title"] == "training finished"
    assert first["best val accuracy"] == f"{float(keeper.best_model_score):.2%}"
    assert "val accuracy" in first
    assert first["trained"] == "2 epochs, 8 steps"
    assert first["parameters"] == f"{sum(p.numel() for p in mlp().parameters()):,}"
    assert first["time"].endswith(" s")
    assert first["run folder"].rstrip("/") == str(tmp_path)
    assert first["pictures"].splitlines() == [
        "pictures/confusion_validation.png",
        "pictures/mistakes_validation.png",
        "pictures/learning_curves.png",
        "pictures/first_layer.png",
        "no delta_flow: no delta was logged (DeltaFlow is off, or no layer is trained)",
    ]
    assert second["title"] == "test finished"
    assert second["test accuracy"] == f"{float(run.callback_metrics['test/accuracy']):.2%}"
    assert second["pictures"].splitlines() == ["pictures/confusion_test.png", "pictures/mistakes_test.png"]
    assert not {"parameters", "backward nodes", "trained"} & set(second)  # said already


def test_a_test_by_itself_says_everything_it_knows(tmp_path: Path) -> None:
    screen = Screen()
    with quiet():
        trainer(tmp_path, [Summary(screen.console)]).test(Classifier(mlp()), Images(), verbose=False)
    (only,) = screen.blocks()
    assert {"test accuracy", "time", "parameters", "backward nodes", "run folder"} < set(only)
    assert "trained" not in only


def test_frozen_parameters_are_counted_apart(tmp_path: Path) -> None:
    net, screen = mlp(), Screen()
    net[1].requires_grad_(False)
    fit(tmp_path, Classifier(net), [Summary(screen.console)], max_epochs=1)
    frozen = 64 * 16 + 16
    total = sum(p.numel() for p in net.parameters())
    assert screen.blocks()[0]["parameters"] == f"{total - frozen:,} and {frozen:,} frozen"


def test_the_time_of_the_run_before_a_resume_is_added(tmp_path: Path) -> None:
    run = fit(tmp_path, Classifier(mlp()), [Summary(Screen().console)], max_epochs=1)
    run.save_checkpoint(tmp_path / "one.ckpt")
    checkpoint = torch.load(tmp_path / "one.ckpt", weights_only=True)
    assert 0 < checkpoint["callbacks"]["Summary"]["seconds"] < 600
    checkpoint["callbacks"]["Summary"]["seconds"] = 5000.0
    torch.save(checkpoint, tmp_path / "one.ckpt")
    screen = Screen()
    fit(tmp_path, Classifier(mlp()), [Summary(screen.console)], max_epochs=2, ckpt_path=tmp_path / "one.ckpt")
    time = screen.blocks()[0]["time"]
    assert 5000 <= float(time.split()[0]) < 5600
    assert "5000.0 s of it before the resume" in time


def test_a_test_of_a_checkpoint_takes_its_own_time(tmp_path: Path) -> None:
    screen = Screen()
    run = fit(tmp_path, Classifier(mlp()), [Summary(screen.console)], max_epochs=1)
    run.save_checkpoint(tmp_path / "one.ckpt")
    with quiet():
        run.test(Classifier(mlp()), Images(), ckpt_path=tmp_path / "one.ckpt", verbose=False)
    assert "before the resume" not in screen.blocks()[1]["time"]


def test_a_run_that_fails_prints_no_summary(tmp_path: Path) -> None:
    class Fails(Classifier):
        def training_step(self, batch: Any, batch_idx: int) -> Any:
            raise ArithmeticError("on purpose")

    screen = Screen()
    with pytest.raises(ArithmeticError):
        fit(tmp_path, Fails(mlp()), [Summary(screen.console)])
    assert screen.blocks() == []


def test_it_can_be_pickled() -> None:
    assert pickle.loads(pickle.dumps(Summary(Screen().console))).console is None


def test_backward_nodes_of_network_and_loss_are_counted_and_autograds_own_named(tmp_path: Path) -> None:
    screen = Screen()
    fit(tmp_path, Classifier(mlp()), [Summary(screen.console)], max_epochs=1)
    lines = screen.blocks()[0]["backward nodes"].splitlines()
    assert lines[0].startswith("0 explicit, ")
    assert "AddmmBackward0 in net.1" in lines
    assert lines[-1] == "..."
    module = Classifier(mb.convert(mlp()))
    module.loss = mb.nn.CrossEntropyLoss()
    screen = Screen()
    fit(tmp_path, module, [Summary(screen.console)], max_epochs=1)
    (line,) = screen.blocks()[0]["backward nodes"].splitlines()
    rules = [audit(module.net, Images().images[:2]).explicit, 1]  # the loss is one node
    assert line == f"{sum(rules)} explicit, 0 autograd"


def test_counting_leaves_the_module_as_it_is() -> None:
    module, (images, labels) = Classifier(cnn()), Images().batches()[0]
    before, random = copy.deepcopy(module.state_dict()), torch.get_rng_state()
    assert "explicit" in backward_nodes(module, (images, labels))
    assert all(torch.equal(before[name], value) for name, value in module.state_dict().items())
    assert all(parameter.grad is None for parameter in module.parameters())
    assert torch.equal(torch.get_rng_state(), random)
    assert list(dict(module.named_children())) == ["net", "loss"]


def test_without_a_batch_nothing_is_counted() -> None:
    assert backward_nodes(mlp(), None) == "not counted: no batch of tensors was seen"
