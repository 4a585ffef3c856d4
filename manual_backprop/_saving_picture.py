"""The picture of saved bytes: two bars for each layer. Needs matplotlib."""

from __future__ import annotations

import io
from typing import TYPE_CHECKING

from ._style import BLUE, DPI, MUTED, SETTINGS
from .errors import BadInput

if TYPE_CHECKING:
    from .saving import SavedBytes

MIB = 2**20


def picture(found: SavedBytes) -> bytes:
    """A PNG with the MiB that each layer was the first to save. Raises BadInput where matplotlib is missing."""
    try:
        import matplotlib as mpl
        from matplotlib.figure import Figure
    except ImportError as error:
        raise BadInput('matplotlib is not installed. A picture needs: pip install "manual-backprop[train]"') from error
    rows, height = found.rows, 0.38
    with mpl.rc_context(SETTINGS):  # type: ignore[arg-type]
        figure = Figure(figsize=(8, min(max(1.6 + 0.3 * len(rows), 2.5), 60)), layout="constrained", facecolor="white")
        axes = figure.subplots()
        places = range(len(rows))
        twin, ours = found.twin / MIB, found.ours / MIB
        axes.barh([p - height / 2 for p in places], [r.ours / MIB for r in rows], height, color=BLUE,
                  label=f"manual_backprop, {ours:.1f} MiB in all")  # fmt: skip
        axes.barh([p + height / 2 for p in places], [r.twin / MIB for r in rows], height, color=MUTED,
                  label=f"torch.nn, {twin:.1f} MiB in all")  # fmt: skip
        axes.set_yticks(places, [f"{row.module}  {row.type}" for row in rows])
        axes.margins(y=0.01)
        axes.invert_yaxis()
        axes.set_xlabel("MiB saved for the backward, counted at the layer that saves them first")
        axes.set_title(f"Saved for backward: {found.ratio:.2f} of torch.nn", loc="left")
        figure.legend(loc="outside lower left", ncols=2, frameon=False)  # outside, so that it covers no bar
        buffer = io.BytesIO()
        figure.savefig(buffer, dpi=DPI, format="png")
    return buffer.getvalue()
