"""The table `deltas.csv` of a run folder, one row per layer and logged step: DeltaFlow writes it, Pictures reads it."""

import csv
import io
from pathlib import Path
from typing import Any

from ..._files import write_atomically

NUMBERS = ("output_rms", "delta_rms", "gradient_to_weight", "update_to_weight", "dead", "saturated")
COLUMNS = ("step", "epoch", "layer", "kind", *NUMBERS)
FILE = "deltas.csv"
Row = dict[str, Any]


def start_table(path: Path, step: int) -> int:
    """Cuts the table at `path` to the rows before `step`; returns the last step left, -1 for none.

    The run that resumes at `step` writes the later rows again. Incomplete rows of a killed process are removed, too.
    """
    kept = [row for row in read_table(path) if row["step"] < step]

    text = io.StringIO()
    writer = csv.DictWriter(text, COLUMNS, lineterminator="\n")
    writer.writeheader()
    writer.writerows(_texts(row) for row in kept)
    write_atomically(path, text.getvalue().encode())
    return max((row["step"] for row in kept), default=-1)


def append_rows(path: Path, step: int, epoch: int, rows: list[Row]) -> None:
    """Appends the rows of one step. A kill may leave an incomplete last row, which `read_table` skips."""
    with open(path, "a", newline="") as file:
        writer = csv.DictWriter(file, COLUMNS, lineterminator="\n")
        writer.writerows(_texts({"step": step, "epoch": epoch, **row}) for row in rows)


def read_table(path: Path) -> list[Row]:
    """The rows of a `deltas.csv`, numbers as float and blanks as None; [] when there is no such file."""
    if not path.exists():
        return []
    text = path.read_text()
    whole = text[: text.rfind("\n") + 1]  # a row without its line end was cut off by a kill
    rows = []
    for row in csv.DictReader(whole.splitlines()):
        if None in row.values() or None in row:
            continue
        numbers = {name: float(row[name]) if row[name] else None for name in NUMBERS}
        rows.append({**row, "step": int(row["step"]), "epoch": int(row["epoch"]), **numbers})
    return rows


def _texts(row: Row) -> Row:
    return {name: f"{value:.6g}" if isinstance(value, float) else value for name, value in row.items()}
