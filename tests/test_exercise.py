"""`manual-backprop exercise`: the file says which of the student's lines is the first wrong one, and why."""

from __future__ import annotations

import re
import runpy
import sys
from pathlib import Path

import pytest
import torch

from manual_backprop.cli import main
from manual_backprop.errors import BadInput
from manual_backprop.listing.exercise import main as exercise
from tests.running_alone import ran

RIGHT = {
    "delta_z_fc3": "(log_probs.exp() - F.one_hot(t, 3)) / 7",
    "delta_a_relu2": 'delta_z_fc3 @ p["fc3.weight"]',
    'grad["fc3.weight"]': "delta_z_fc3.T @ a_relu2",
    'grad["fc3.bias"]': "delta_z_fc3.sum(0)",
    "delta_z_fc2": "delta_a_relu2 * (a_relu2 > 0)",
    "delta_a_tanh1": 'delta_z_fc2 @ p["fc2.weight"]',
    'grad["fc2.weight"]': "delta_z_fc2.T @ a_tanh1",
    'grad["fc2.bias"]': "delta_z_fc2.sum(0)",
    "delta_z_fc1": "delta_a_tanh1 * (1 - a_tanh1 ** 2)",
    'grad["fc1.weight"]': "delta_z_fc1.T @ x",
    'grad["fc1.bias"]': "delta_z_fc1.sum(0)",
}
"""What a student writes."""


@pytest.fixture(scope="module")
def text(tmp_path_factory: pytest.TempPathFactory) -> str:
    """The exercise with every line left out."""
    path = tmp_path_factory.mktemp("exercise") / "exercise.py"
    assert main(["exercise", "--model", "mlp", "--blank", "all", "--out", str(path)]) == 0
    return path.read_text()


def solved(text: str, **others: str) -> str:
    """With the right lines, but for those of `others`: by the name of a value, what stands in its place."""
    for name, right in RIGHT.items():
        key = re.sub(r"\W+", "_", name).strip("_")
        text = re.sub(rf"^    {re.escape(name)} = TODO.*\n", lambda _, n=name, k=key, r=right: (
            f"    {others.get(k, f'{n} = {r}')}\n"), text, flags=re.MULTILINE)  # fmt: skip
    return text


@pytest.fixture
def check(tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch):
    """check(text, *arguments) -> exit status and what the file prints."""

    def run(text: str, *arguments: str) -> tuple[int, str]:
        path = tmp_path / "exercise.py"
        path.write_text(text)
        monkeypatch.setattr(sys, "argv", ["exercise.py", *arguments])
        dtype = torch.get_default_dtype()
        try:
            with torch.random.fork_rng(), pytest.raises(SystemExit) as ended:
                runpy.run_path(str(path), run_name="__main__")
        finally:
            torch.set_default_dtype(dtype)
        return int(ended.value.code or 0), capsys.readouterr().out

    return run


def line_of(text: str, words: str) -> int:
    return next(k for k, line in enumerate(text.splitlines(), 1) if words in line)


def test_unsolved_it_names_the_first_todo_with_its_formula(text: str, check) -> None:
    status, said = check(text)
    assert status == 1
    assert f"in line {line_of(text, 'delta_z_fc3 = TODO')}:\n  delta_z_fc3: still TODO\n" in said
    assert "CrossEntropyLoss, l_n = - w_t log p_nt" in said
    assert "delta_input = w_t (p - onehot(t)) delta" in said
    assert "solution, in" not in said


def test_solved_by_hand_it_says_so(text: str, check) -> None:
    assert check(solved(text)) == (0, "All right: 11 values, each as expected.\n")


WRONG = {
    "value": (
        "delta_z_fc2",
        "delta_z_fc2 = delta_a_relu2 * (a_relu2 < 1)",
        r"wrong value at \[\d, \d\]\. got: \S+\. expected: \S+",
        "ReLU, y = max(0, x)\n           delta_input = delta where y > 0",
    ),
    "a factor": (
        "grad_fc2_bias",
        'grad["fc2.bias"] = delta_z_fc2.sum(0) / 7',
        r"wrong value.*All of it is 0\.142857 times what is expected",
        "grad_bias    = sum over * of delta",
    ),
    "shape": (
        "grad_fc3_weight",
        'grad["fc3.weight"] = a_relu2.T @ delta_z_fc3',
        r"wrong shape\. got: \(4, 3\)\. expected: \(3, 4\)",
        "grad_weight  = sum over * of delta^T x",
    ),
    "exception": (
        "delta_a_tanh1",
        'delta_a_tanh1 = delta_z_fc2 @ p["fc2.weight"].T',
        r"raises RuntimeError: mat1 and mat2",
        "delta_input  = delta W",
    ),
    "exception of a line before": (
        "delta_a_tanh1",
        "w = p[7]\n    delta_a_tanh1 = delta_z_fc2 @ w",
        r"raises KeyError: 7",
        "delta_input  = delta W",
    ),
    "NaN": (
        "delta_z_fc1",
        "delta_z_fc1 = delta_a_tanh1 * (0 * a_tanh1).log() * 0",
        r"35 of 35 numbers are NaN or infinite\. expected: finite ones",
        "Tanh, y = tanh(x)\n           delta_input = (1 - y^2) delta",
    ),
    "no tensor": (
        "grad_fc1_bias",
        'grad["fc1.bias"] = 0.5',
        r"wrong kind of value\. got: float\. expected: a tensor of shape \(5,\)",
        "grad_bias    = sum over * of delta",
    ),
    "another name": (
        "grad_fc3_bias",
        'grad["fc3.bais"] = delta_z_fc3.sum(0)',
        r"no value",
        "grad_bias    = sum over * of delta",
    ),
}


@pytest.mark.parametrize("kind", WRONG)
def test_each_kind_of_wrong_line_is_named(text: str, check, kind: str) -> None:
    name, line, said, formula = WRONG[kind]
    wrong = solved(text, **{name: line})
    status, printed = check(wrong)
    assert status == 1
    shown = next(n for n in RIGHT if re.sub(r"\W+", "_", n).strip("_") == name)
    assert f"\n  {shown}: " in printed
    assert re.search(said, printed), printed
    assert formula in printed
    right = list(RIGHT).index(shown)
    assert printed.startswith(f"{right} values are right.")
    if kind != "another name":
        assert f"in line {line_of(wrong, line.splitlines()[0])}:" in printed


def test_of_several_wrong_lines_the_first_is_named(text: str, check) -> None:
    wrong = solved(text, delta_z_fc1="delta_z_fc1 = 0 * a_tanh1", delta_z_fc2="delta_z_fc2 = delta_a_relu2 * 1")
    assert "\n  delta_z_fc2: wrong value" in check(wrong)[1]


def test_a_value_may_take_several_lines_also_in_place(text: str, check) -> None:
    makemore = """delta_z_fc3 = log_probs.exp()
    n = len(t)
    delta_z_fc3[range(n), t] -= 1
    delta_z_fc3 /= n
    delta_z_fc3 = delta_z_fc3 * 1
    delta_z_fc3.mul_(1)"""
    assert check(solved(text, delta_z_fc3=makemore))[0] == 0
    status, said = check(solved(text, delta_z_fc3=makemore.replace("-= 1", "-= 2")))
    assert status == 1
    assert "\n  delta_z_fc3: wrong value" in said


def test_the_solution_is_shown_when_asked_for_and_is_right(text: str, check) -> None:
    for count in range(11):
        status, said = check(text, "--solution")
        assert status == 1
        assert said.startswith(f"{count} values are right.")
        name = re.search(r"\n  (\S+): still TODO", said)[1]
        solution = said.split("solution, in backward:\n")[1]
        text = re.sub(rf"^    {re.escape(name)} = TODO.*\n", lambda _, s=solution: s, text, flags=re.MULTILINE)
    assert check(text) == (0, "All right: 11 values, each as expected.\n")


def test_the_solution_cannot_be_read_in_the_file(text: str) -> None:
    assert "delta_a_relu2 @" not in text
    assert "delta_z_fc3.T" not in text
    assert text.count(" = TODO   # (") == 11


def test_it_needs_torch_alone_and_gives_an_exit_status(tmp_path: Path, text: str) -> None:
    (tmp_path / "exercise.py").write_text(text)
    done = ran(tmp_path / "exercise.py")
    assert (done.returncode, done.stderr) == (1, "")
    assert "still TODO" in done.stdout


def test_which_lines_are_left_out_depends_on_the_seed(capsys: pytest.CaptureFixture[str]) -> None:
    def blanks(*options: str) -> list[str]:
        assert exercise(["--model", "mlp", *options]) == 0
        return re.findall(r"^    (.*) = TODO   # \(", capsys.readouterr().out, re.MULTILINE)

    first = blanks("--blank", "5")
    assert len(first) == 5
    assert set(first) < set(RIGHT)
    assert blanks() == first
    assert blanks("--seed", "1") != first


def test_functions_of_modules_that_are_alike_are_checked_at_each_call(check, tmp_path: Path) -> None:
    path = tmp_path / "resnet.py"
    options = ["--model", "tests.test_exercise.Blocks", "--input", "3,4", "--blank", "all", "--out", str(path)]
    assert main(["exercise", *options]) == 0
    text = path.read_text()
    assert "block_backward(p, kept, " in text
    name = re.search(r"def block_backward.*?    (\w+|grad\[.*?\]) = TODO", text, re.DOTALL)[1]
    for _ in range(40):
        status, said = check(text, "--solution")
        if status == 0:
            break
        key = re.search(r"\n  (.+): still TODO", said)[1]
        function, solution = re.search(r"solution, in (\w+):\n(.*)", said, re.DOTALL).groups()
        head, body = text.split(f"def {function}(", 1)
        found = re.sub(rf"^    {re.escape(key)} = TODO.*\n", lambda _, s=solution: s, body,
                       count=1, flags=re.MULTILINE)  # fmt: skip
        assert found != body, key
        text = f"{head}def {function}({found}"
    assert status == 0
    assert name in text


class Block(torch.nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.a, self.b = torch.nn.Linear(4, 5), torch.nn.Linear(5, 4)

    def forward(self, input):
        return input + self.b(torch.tanh(self.a(input)))


class Blocks(torch.nn.Sequential):
    """Three modules that are alike, and a head."""

    def __init__(self) -> None:
        super().__init__(Block(), Block(), Block(), torch.nn.Linear(4, 10))


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--blank", "12"], "--blank 12: so many lines cannot be left out. expected: 1 to 11, or all"),
        (["--blank", "0"], "expected: 1 to 11, or all"),
        (["--blank", "-1"], "expected: 1 to 11, or all"),
        (["--blank", "some"], "expected a number of lines, or all"),
    ],
)
def test_bad_input_is_said_clearly(options: list[str], said: str) -> None:
    with pytest.raises(BadInput, match=re.escape(said)):
        exercise(["--model", "mlp", *options])
