"""Runs a written file where torch alone can be imported, and reads what it prints."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

REFUSING = """
import sys
class Refused:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in ("manual_backprop", "torchvision", "pytorch_lightning", "transformers", "tests"):
            raise ImportError(name + ": the file needs torch alone")
sys.meta_path.insert(0, Refused())
"""
"""Lines that let nothing of ours be imported."""

ALONE = f"""{REFUSING}
import runpy
sys.argv = sys.argv[1:]
runpy.run_path(sys.argv[0], run_name="__main__")
"""

ROW = re.compile(r"(\S+) +gradient (\S+) +difference (\S+)")

CLOSE = 1e-4
"""Relative difference to finite differences: measured up to 2e-6 in float64, more where a kink of ReLU is near."""


def ran(path: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-c", ALONE, str(path), *arguments]
    return subprocess.run(command, cwd=path.parent, capture_output=True, text=True, timeout=600)


def alone(path: Path) -> str:
    """What it prints."""
    done = ran(path)
    assert done.returncode == 0, done.stderr[-3000:]
    assert done.stderr == ""
    return done.stdout


def agreeing(printed: str) -> list[str]:
    """The parameters of which it prints gradients, all of which agree with finite differences."""
    rows = ROW.findall(printed)
    assert rows, printed
    for name, gradient, difference in rows:
        assert abs(float(gradient) - float(difference)) <= CLOSE * abs(float(gradient)) + 1e-13, (
            name,
            gradient,
            difference,
        )
    return [name for name, _, _ in rows]
