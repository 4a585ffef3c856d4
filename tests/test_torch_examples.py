"""The command that compares scripts of pytorch/examples with and without our imports, on a small script."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.torch_examples import EXACT, FACTS, FIRST, Result, Run, compared, replaced, run
from tests.torch_examples_compare import apart, differing_line, numbers
from tests.torch_examples_page import write_page
from tests.torch_examples_table import EXAMPLES, LEFT_OUT, Example

SCRIPT = """
import torch
import torch.nn as nn
import torch.nn.functional as F
from layers import Scaled

net = nn.Sequential(nn.Linear(3, 4), torch.nn.Tanh(), Scaled())
optimizer = torch.optim.SGD(net.parameters(), lr=0.1)
x = torch.randn(8, 3)
for step in range(4):
    optimizer.zero_grad()
    loss = F.mse_loss(net(x), torch.ones(8, 4)) + x.sum() * net[0].bias.sum()
    loss.backward()
    optimizer.step()
    print(f"step {step} loss {loss.item():.4f}")
"""

RIGHT = """
from torch import nn

class Scaled(nn.Module):
    def forward(self, x):
        return x
"""

WRONG = """
from torch import nn

class Scaled(nn.Module):
    def forward(self, x):
        if "manual_backprop" in nn.__name__ and x.requires_grad:
            x.register_hook(lambda delta: delta * 1.001)
        return x
"""


def ran(folder: Path, layers: str, ours: bool) -> Run:
    """A run in float64 of the script with these layers."""
    checkout = folder / "checkout"
    (checkout / "tiny").mkdir(parents=True)
    (checkout / "tiny" / "main.py").write_text(SCRIPT)
    (checkout / "tiny" / "layers.py").write_text(layers)
    return run(Example("tiny", ("main.py",)), checkout, None, folder, ours, dtype="float64")


@pytest.fixture(scope="module")
def theirs(tmp_path_factory: pytest.TempPathFactory) -> Run:
    return ran(tmp_path_factory.mktemp("theirs"), RIGHT, ours=False)


def test_both_runs_of_a_script_are_equal(theirs: Run, tmp_path: Path) -> None:
    ours = ran(tmp_path, RIGHT, ours=True)
    difference, wrong = compared(Example("tiny", ("main.py",)), theirs, ours, EXACT, EXACT)
    assert (wrong, theirs.errors, ours.errors) == ("", "", "")
    assert difference <= EXACT
    assert len(ours.losses) == 4
    assert theirs.notes[0]["rules"] == 0
    assert ours.notes[0]["rules"] == 3  # Linear, Tanh, MSELoss
    assert sorted(ours.notes[0]["autograd"]) == ["AddBackward0", "MulBackward0", "SumBackward0"]


def test_a_wrong_backward_is_found(theirs: Run, tmp_path: Path) -> None:
    ours = ran(tmp_path, WRONG, ours=True)
    assert ours.losses[0] == pytest.approx(theirs.losses[0], rel=EXACT)  # the forward is right
    difference, wrong = compared(Example("tiny", ("main.py",)), theirs, ours, EXACT, EXACT)
    assert difference > FIRST
    assert wrong.startswith("differs by")


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("import torch.nn as nn", "import manual_backprop.nn as nn"),
        ("import torch.nn.functional as F", "import manual_backprop.nn.functional as F"),
        ("from torch.nn import functional as F", "from manual_backprop.nn import functional as F"),
        ("from torch import nn", "from manual_backprop import nn"),
        ("from torch import nn, optim", "from manual_backprop import nn; from torch import optim"),
        ("    relu = torch.nn.ReLU()", "    relu = manual_backprop.nn.ReLU()"),
        ("from torch.distributed.nn import RemoteModule", "from torch.distributed.nn import RemoteModule"),
    ],
)
def test_replaced_lines(line: str, expected: str) -> None:
    assert replaced(line) == (expected, [line.strip()] if line != expected else [])


def test_the_full_name_is_imported_where_a_script_says_it() -> None:
    assert replaced("import torch\nnet = torch.nn.ReLU()")[0].startswith("import torch, manual_backprop.nn\n")
    assert replaced("import torch\nimport torch.nn as nn")[0].startswith("import torch\n")


def test_times_do_not_count_and_numbers_are_compared() -> None:
    a, b = "loss 0.5 took 3.20s\n", "loss 0.25 took 1.1s\n"
    assert differing_line(a, b) == ""
    assert (numbers(a), numbers(b)) == ([0.5], [0.25])
    assert differing_line("loss 1", "nothing 1") != ""
    assert differing_line("one\ntwo", "one") != ""
    assert apart(100.0, 101.0) == pytest.approx(1 / 101)
    assert apart(float("nan"), float("nan")) == 0


def test_no_example_is_both_run_and_left_out() -> None:
    assert not {example.folder for example in EXAMPLES} & set(LEFT_OUT)


def test_the_page_has_a_row_and_the_nodes_of_each_example(tmp_path: Path) -> None:
    equal = Result(Example("tiny", ("main.py",)), same_text=True, losses=4, autograd=["AddBackward0", "AddBackward0"])
    write_page([equal, Result(Example("wrong", ("main.py",)), wrong="differs by 1e-03")], tmp_path, tmp_path, FACTS)
    text = (tmp_path / "pytorch_examples.md").read_text()
    assert "| tiny | `main.py` |  | same text | 4 |" in text
    assert "* tiny, `main.py`: Add 2" in text
    assert "| wrong | `main.py` |  | differs by 1e-03 |" in text
