"""`manual-backprop write`: the file runs with torch alone, and bad input is said clearly."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from manual_backprop.cli import main
from manual_backprop.errors import BadInput
from manual_backprop.listing.cli import main as write
from tests.running_alone import agreeing, alone

SMALL = ["--model", "mlp", "--model-args", '{"hidden": [6]}', "--input", "3,1,4,4"]


class OfAutograd(torch.autograd.Function):
    @staticmethod
    def forward(ctx, input):
        return 2 * input

    @staticmethod
    def backward(ctx, delta):
        return 2 * delta


class Foreign(torch.nn.Module):
    """A layer with a backward that is nobody's formula."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = torch.nn.Parameter(torch.ones(16, 10))

    def forward(self, input):
        return OfAutograd.apply(input.flatten(1) @ self.weight)


@pytest.mark.parametrize("level", ["formulas", "torch"])
def test_the_file_runs_with_torch_alone_and_agrees_with_finite_differences(tmp_path: Path, level: str) -> None:
    path = tmp_path / "step.py"
    assert main(["write", *SMALL, "--level", level, "--out", str(path)]) == 0
    assert ("class Linear" in path.read_text()) == (level == "formulas")
    assert sorted(agreeing(alone(path))) == ["1.bias", "1.weight", "3.bias", "3.weight"]


def test_without_a_file_it_is_printed_and_the_same_each_time(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    assert main(["write", *SMALL]) == 0
    printed = capsys.readouterr().out
    assert printed.startswith('"""One training step of MLP, written out: x (3, 1, 4, 4), t (3,)')
    assert main(["write", *SMALL, "--out", str(tmp_path / "step.py")]) == 0
    lines = len(printed.splitlines())
    assert capsys.readouterr().out == f"{tmp_path / 'step.py'}: {lines} lines\n"
    assert (tmp_path / "step.py").read_text() == printed


def test_the_labels_of_the_file_are_of_all_classes(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["write", *SMALL]) == 0
    assert "t = torch.randint(10, (3,))" in capsys.readouterr().out


def test_the_random_state_of_the_caller_stays() -> None:
    before = torch.get_rng_state()
    assert main(["write", *SMALL, "--level", "torch"]) == 0
    assert torch.equal(torch.get_rng_state(), before)


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--model", "mlpp"], r"mlp"),
        (["--model", "mlp", "--input", "2,x"], "expected positive sizes with commas"),
        (["--model", "mlp", "--model-args", "{"], "not valid JSON"),
        (["--model", "mlp", "--model-args", '{"hiden": [4]}'], "hidden"),
        (["--model", "cnn", "--input", "2,1,2,2"], "nothing is left of 2 x 2 images"),
        (
            ["--model", "tests.test_write_command.Foreign", "--input", "2,1,4,4"],
            r"got: OfAutogradBackward 1\. expected",
        ),
        (["--model", "mlp", "--out", "/proc/nowhere/step.py"], "Cannot write"),
    ],
)
def test_bad_input_is_said_clearly(options: list[str], said: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(BadInput, match=said):
        write(options)
    assert main(["write", *options]) == 2
    assert re.search(said, capsys.readouterr().err)


def test_a_level_that_is_none_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        write([*SMALL, "--level", "kernels"])
    assert "invalid choice: 'kernels'" in capsys.readouterr().err


@pytest.mark.slow
def test_a_network_of_torchvision(tmp_path: Path) -> None:
    path = tmp_path / "step.py"
    command = ["write", "--model", "torchvision.models.resnet18", "--input", "2,3,64,64", "--out", str(path)]
    done = subprocess.run([sys.executable, "-m", "manual_backprop.cli", *command], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert len(agreeing(alone(path))) == 6, "every eleventh of the 62 gradients"
