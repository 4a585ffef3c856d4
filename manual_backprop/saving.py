"""Counts the bytes that a forward saves for the backward, layer by layer: of our layers and of torch's.

The "twin" of a model or function is the same with torch's layers, or torch's function.
"""

from __future__ import annotations

import json
import math
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from ._files import write_atomically
from ._observe import Watch, leaves, tensors, unchanged, watch_saved
from ._tables import html_table, text_table
from .convert import as_twin, twin_function
from .memory.saving import saving as saving

LOSS, PARAMETERS, INPUTS = "(loss)", "(parameters)", "(inputs)"


@dataclass(frozen=True)
class Row:
    """Bytes that one module was the first to save: `ours` by the model as it is, `twin` with the layers of torch.nn."""

    module: str
    type: str
    ours: int
    twin: int


@dataclass(frozen=True)
class SavedBytes:
    """The rows, in the order of `model.named_modules()`, and their sums.

    `parameters` and `inputs` are pairs (ours, twin): the bytes of saved tensors that are parameters or buffers, and
    inputs. These exist anyway, so the rows and sums do not include them.
    """

    rows: tuple[Row, ...]
    parameters: tuple[int, int]
    inputs: tuple[int, int]

    @property
    def ours(self) -> int:
        """Bytes saved by the model as it is."""
        return sum(row.ours for row in self.rows)

    @property
    def twin(self) -> int:
        """Bytes saved by the model with the layers of torch.nn."""
        return sum(row.twin for row in self.rows)

    @property
    def ratio(self) -> float:
        """ours / twin: below 1 where our layers save less; NaN when neither saves anything."""
        return self.ours / self.twin if self.twin else math.nan

    def save(self, path: str | Path) -> None:
        """Write rows and sums as JSON, completely or not at all. Raises BadInput if the file cannot be written."""
        found = {**asdict(self), "ours": self.ours, "twin": self.twin}
        write_atomically(Path(path), (json.dumps(found, indent=1) + "\n").encode())

    def plot(self, path: str | Path) -> None:
        """Draw the rows as bars, ours beside torch.nn's, as a PNG.

        Raises BadInput where matplotlib is missing or the file cannot be written.
        """
        from ._saving_picture import picture

        write_atomically(Path(path), picture(self))

    def _table(self) -> tuple[Sequence[str], Sequence[Sequence[str]], Sequence[int]]:
        cells = [(r.module, r.type, *_cells(r.ours, r.twin)) for r in self.rows]
        total = ("total", "", *_cells(self.ours, self.twin))
        return ("module", "type", "ours", "torch.nn", "ours / torch.nn"), [*cells, total], (0, 1)

    def _alive(self) -> str:
        alive = ", ".join(
            f"{what} {size(ours)} (torch.nn {size(twin)})"
            for what, (ours, twin) in (("parameters and buffers", self.parameters), ("inputs", self.inputs))
        )
        return f"also saved, but alive anyway: {alive}"

    def __str__(self) -> str:
        return f"{text_table(*self._table())}\n{self._alive()}"

    def _repr_html_(self) -> str:
        return html_table(*self._table(), below=self._alive())


def saved_bytes(
    model: torch.nn.Module, *inputs: Any, loss: Callable[[Any], Any] | None = None, **kwargs: Any
) -> SavedBytes:
    """Run `model(*inputs, **kwargs)` and count the bytes saved for the backward; then again with torch's layers.

    Storages are counted: a tensor that several nodes save counts once, and so do views of one tensor. Its bytes belong
    to the module that was the first to save it. `loss` takes the model's output; what it saves is a row of its own.
    Works on the meta device, too, without computing anything. The model is left unchanged.

    Raises TypeError for a model that is not a module, BadInput for a lazy model that has not seen a batch yet.
    """
    if not isinstance(model, torch.nn.Module):
        raise TypeError(f"saved_bytes takes a torch.nn.Module. got: {type(model).__name__}")
    ours = _count(model, inputs, kwargs, loss)
    # "off": functions of mb.functional that the model or the loss calls run again here and must save as torch's do
    with saving("off"), as_twin(model, loss):
        twin = _count(model, inputs, kwargs, twin_function(loss))
    types = {name: type(module).__name__ for name, module in model.named_modules()}
    types[LOSS] = getattr(loss, "__name__", type(loss).__name__)
    rows = (Row(name or "(itself)", kind, ours[name], twin[name]) for name, kind in types.items())
    alive = {kind: (ours[kind], twin[kind]) for kind in (PARAMETERS, INPUTS)}
    return SavedBytes(tuple(row for row in rows if row.ours or row.twin), alive[PARAMETERS], alive[INPUTS])


def _dense(tensor: Tensor) -> list[Tensor]:
    """The tensor, or the dense tensors that a sparse one consists of."""
    if tensor.layout == torch.strided:
        return [tensor]
    if tensor.layout == torch.sparse_coo:
        return [tensor._indices(), tensor._values()]
    rows = tensor.layout in (torch.sparse_csr, torch.sparse_bsr)
    places = (tensor.crow_indices(), tensor.col_indices()) if rows else (tensor.ccol_indices(), tensor.row_indices())
    return [*places, tensor.values()]


def _count(model: torch.nn.Module, inputs: Any, kwargs: Any, loss: Any) -> Counter[str]:
    """Bytes that one forward saves, by the name of the module that was the first to save each storage."""
    found: dict[int, tuple[Any, str]] = {}  # by id(), which is unique only while the storage is alive

    def note(tensor: Tensor, name: str, into: dict[int, tuple[Any, str]]) -> None:
        for part in _dense(tensor):
            storage = part.untyped_storage()
            into.setdefault(id(storage), (storage, name))

    with unchanged(model, inputs, kwargs), unchanged(loss), Watch(model) as watch:
        args, named = leaves((inputs, kwargs))
        alive: dict[int, tuple[Any, str]] = {}
        for tensor in (*model.parameters(), *model.buffers()):
            note(tensor, PARAMETERS, alive)
        for tensor in tensors((args, named)):
            note(tensor, INPUTS, alive)

        with watch_saved(lambda tensor: note(tensor, watch.running, found)):
            output = model(*args, **named)
            if loss is not None:
                watch.stack.append((LOSS, 1))
                loss(output)
    counts: Counter[str] = Counter()
    for key, (storage, name) in found.items():
        counts[alive[key][1] if key in alive else name] += storage.nbytes()
    return counts


def size(count: int) -> str:
    """A number of bytes as text, such as 1.5 MiB."""
    amount, unit = float(count), "B"
    for larger in ("KiB", "MiB", "GiB", "TiB"):
        if amount < 1024:
            break
        amount, unit = amount / 1024, larger
    return f"{amount:.1f} {unit}" if unit != "B" else f"{count} B"


def _cells(ours: int, twin: int) -> tuple[str, str, str]:
    return size(ours), size(twin), f"{ours / twin:.2f}" if twin else "-"
