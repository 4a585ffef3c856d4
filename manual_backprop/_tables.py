"""Tables: aligned text for terminals, HTML for notebooks."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from html import escape


def text_table(head: Sequence[str], rows: Iterable[Sequence[str]], left: Iterable[int] = (0,)) -> str:
    """Aligned columns: those whose index is in `left` to the left, the others to the right."""
    lines = [list(head), *(list(row) for row in rows)]
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    lines.insert(1, ["-" * width for width in widths])
    align = ["<" if i in set(left) else ">" for i in range(len(widths))]
    return "\n".join(
        "  ".join(f"{cell:{a}{w}}" for cell, a, w in zip(line, align, widths, strict=True)).rstrip() for line in lines
    )


def html_table(head: Sequence[str], rows: Iterable[Sequence[str]], left: Iterable[int] = (0,), below: str = "") -> str:
    """The same as HTML, for a notebook's `_repr_html_`; `below` is preformatted text under the table."""
    align = ["left" if i in set(left) else "right" for i in range(len(head))]

    def line(cells: Sequence[str], tag: str) -> str:
        parts = (f'<{tag} style="text-align: {a}">{escape(cell)}</{tag}>' for cell, a in zip(cells, align, strict=True))
        return f"<tr>{''.join(parts)}</tr>"

    body = "".join(line(row, "td") for row in rows)
    under = f"<pre>{escape(below)}</pre>" if below else ""
    return f"<table><thead>{line(head, 'th')}</thead><tbody>{body}</tbody></table>{under}"
