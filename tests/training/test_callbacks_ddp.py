"""The callbacks over two processes: one table, one summary, counts of both shares, and a stop that both agree on."""

import subprocess
import sys
from pathlib import Path

import pytest

from manual_backprop.training.callbacks.delta_table import read_table

ROOT = Path(__file__).parents[2]


def run(folder: Path, mode: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "tests.training.ddp_callbacks", str(folder), mode]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=600)


@pytest.mark.distributed
def test_two_processes_write_what_one_writes(tmp_path: Path) -> None:
    one, two = run(tmp_path / "one", "one"), run(tmp_path / "two", "two")
    assert (one.returncode, two.returncode) == (0, 0), two.stderr
    assert two.stdout.count("training finished") == 1
    assert "learning_curves.png" in two.stdout
    counted = [next(line for line in each.stdout.splitlines() if line.startswith("counted")) for each in (one, two)]
    assert counted[0] == counted[1]
    expected, found = read_table(tmp_path / "one" / "deltas.csv"), read_table(tmp_path / "two" / "deltas.csv")
    assert len(found) == len(expected) == 4 * 5
    for a, b in zip(expected, found, strict=True):
        for name in ("output_rms", "delta_rms", "gradient_to_weight", "update_to_weight"):
            # the same sums in another order, in float32
            assert b[name] == (a[name] and pytest.approx(a[name], rel=1e-3)), (a["step"], a["layer"], name)
    assert len(list((tmp_path / "two" / "pictures").glob("*.png"))) == 5


@pytest.mark.distributed
def test_a_bad_batch_in_the_other_process_stops_this_one_in_the_same_step(tmp_path: Path) -> None:
    result = run(tmp_path, "bad")
    assert result.returncode != 0
    assert "the training loss became non-finite at step 2 (epoch 0, batch 2)" in result.stderr
    assert "elsewhere: in another process; in this one the loss is 1." in result.stderr
    assert max(row["step"] for row in read_table(tmp_path / "deltas.csv")) == 1
