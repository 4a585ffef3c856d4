"""`fit --explicit`: the functions and operators of one's own network run on rules, in every command."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import Tensor
from torch.overrides import _get_current_function_mode_stack as modes

import manual_backprop as mb
from manual_backprop.errors import BadInput
from manual_backprop.training import cli
from manual_backprop.training.learner import Learner

from .runs import fit, last

NET = f"--model.net={__name__}.Net"
LIGHTNING = (
    "--trainer.accumulate_grad_batches=2",
    "--trainer.gradient_clip_val=0.5",
    "--delta_flow.every_n_steps=3",
    "--finite_watch.gradients=true",
)
inside: list[tuple[bool, bool]] = []
"""Of each forward: whether it trains, and whether torch's functions lead to rules in it."""


class Net(torch.nn.Module):
    def __init__(self, classes: int = 10) -> None:
        super().__init__()
        self.convolution, self.linear = torch.nn.Conv2d(1, 8, 3), torch.nn.Linear(8, classes)

    def forward(self, x: Tensor) -> Tensor:
        inside.append((self.training, any(getattr(mode, "leads_to_rules", False) for mode in modes())))
        return self.linear(torch.relu(self.convolution(x)).mean((2, 3)))


def test_functions_are_rules_in_a_training_step() -> None:
    images, labels = torch.randn(4, 1, 8, 8), torch.arange(4)
    for explicit in (False, True):
        classifier = Learner(Net(), explicit=explicit)
        report = mb.audit(classifier.net, images)
        assert (report.autograd == 0) is explicit
        loss = classifier.loss(classifier(images), labels)
        names = [row.node for row in report.rows if row.kind == "autograd"]
        assert names == ([] if explicit else ["ReluBackward0", "MeanBackward1"])
        assert loss.requires_grad


@pytest.mark.parametrize("written", ["false", "true"])
def test_it_trains_as_without_whatever_lightning_adds(tmp_path: Path, written: str) -> None:
    plain = last(fit(tmp_path / "plain", NET, *LIGHTNING))["state_dict"]
    inside.clear()
    run = fit(tmp_path / "explicit", NET, *LIGHTNING, "--explicit", f"--model.written_out={written}")
    for name, tensor in last(run)["state_dict"].items():
        # float32 over 20 steps, sums in another order
        torch.testing.assert_close(tensor, plain[name], rtol=1e-4, atol=1e-5, msg=name)
    assert {within for _, within in inside[1:]} == {True}  # the first one: sizes are tried before it is converted
    assert {trains for trains, _ in inside} == {True, False}
    assert len((run / "deltas.csv").read_text().splitlines()) > 3


def test_the_other_commands_and_a_resumed_run_keep_it(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run = fit(tmp_path, NET, "--explicit=true", "--trainer.max_epochs=1", "--model.scheduler=null")
    assert ", 0 autograd" in capsys.readouterr().out
    for command in ("validate", "test"):
        inside.clear()
        cli.main([command, f"--run.folder={tmp_path}", NET, "--run.pictures=false"])
        assert (False, True) in inside, command
    inside.clear()
    assert fit(tmp_path, NET, "--ckpt_path=last", "--trust") == run
    assert (True, True) in inside


def test_what_cannot_be_explicit() -> None:
    with pytest.raises(BadInput, match=r"model.explicit=true .* Leave model.convert=false out"):
        Learner(Net(), convert=False, explicit=True)
    replaced = Net()
    replaced.forward = lambda x: x.flatten(1)[:, :10]  # type: ignore[method-assign]
    with pytest.raises(BadInput, match=r"model.explicit: .* whose forward was replaced on the instance"):
        Learner(replaced, explicit=True)
