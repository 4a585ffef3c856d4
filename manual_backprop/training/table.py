"""metrics.csv: Lightning's CSV logger, except that a kill does not damage the file and a resumed run continues it."""

import csv
import io
from pathlib import Path
from typing import Any

from pytorch_lightning.loggers import CSVLogger
from pytorch_lightning.utilities import rank_zero_only

from .._files import write_atomically

Row = dict[str, Any]


class MetricsTable(CSVLogger):
    """Logs to `folder`/metrics.csv, one row per logged step, columns sorted.

    Rows are appended; a new column replaces the whole file atomically. Resumed at a step, it keeps the rows before.
    """

    def __init__(self, folder: Path, resumed_at: int | None = None) -> None:
        super().__init__(str(folder), name="", version="")
        self.path = folder / "metrics.csv"
        self.waiting: list[Row] = []
        self.columns: list[str] = []
        if resumed_at is not None:
            self._replace([row for row in read_rows(self.path) if int(row["step"]) < resumed_at])

    @property
    def experiment(self) -> Any:
        """None: Lightning's own writer would delete the file first."""
        return None

    @rank_zero_only
    def log_metrics(self, metrics: Row, step: int | None = None) -> None:
        self.waiting.append({**{key: float(value) for key, value in metrics.items()}, "step": step})
        if "epoch" in metrics:
            self.waiting[-1]["epoch"] = int(metrics["epoch"])

    @rank_zero_only
    def save(self) -> None:
        if not self.waiting:
            return
        if set().union(*self.waiting) <= set(self.columns):
            with open(self.path, "a", newline="") as file:
                file.write(self._text(self.waiting))
        else:
            self._replace([*read_rows(self.path), *self.waiting])
        self.waiting = []

    @rank_zero_only
    def finalize(self, status: str) -> None:
        self.save()

    @rank_zero_only
    def log_hyperparams(self, params: Any = None) -> None:
        """Does nothing: config.yaml holds the hyperparameters."""

    @rank_zero_only
    def _replace(self, rows: list[Row]) -> None:
        self.columns = sorted({"step"}.union(*rows))
        write_atomically(self.path, (",".join(self.columns) + "\n" + self._text(rows)).encode())

    def _text(self, rows: list[Row]) -> str:
        text = io.StringIO()
        csv.DictWriter(text, self.columns, lineterminator="\n").writerows(rows)
        return text.getvalue()


def read_rows(path: Path) -> list[Row]:
    """The rows of a metrics.csv without empty cells. A last line that a kill cut off is left out."""
    text = path.read_text() if path.is_file() else ""
    rows = csv.DictReader(io.StringIO(text[: text.rfind("\n") + 1]))
    return [{key: value for key, value in row.items() if value} for row in rows]
