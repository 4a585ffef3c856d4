"""Sphinx extension: formulas become MathML when the site is built, by docutils' own converter; no script is needed."""

from __future__ import annotations

from importlib import resources
from pathlib import Path

from docutils import nodes
from docutils.utils.math.latex2mathml import tex2mathml
from sphinx.application import Sphinx
from sphinx.errors import ExtensionError
from sphinx.writers.html5 import HTML5Translator


def converted(latex: str, block: bool) -> str:
    """MathML of one formula. Raises ExtensionError naming the formula that cannot be converted."""
    try:
        return tex2mathml(latex, as_block=block)
    except Exception as error:
        raise ExtensionError(f"got: {latex!r}; expected: LaTeX that docutils converts to MathML: {error}") from error


def visit_math(self: HTML5Translator, node: nodes.math) -> None:
    self.body.append(converted(node.astext(), block=False))
    raise nodes.SkipNode


def visit_displaymath(self: HTML5Translator, node: nodes.math_block) -> None:
    self.body.append(f'<div class="formula">{converted(node.astext(), block=True)}</div>')
    raise nodes.SkipNode


def font(app: Sphinx) -> None:
    """The font for mathematics, from the package ziamath: what stretches and what stands below is in its tables."""
    file = resources.files("ziamath").joinpath("fonts", "STIXTwoMath-Regular.ttf")
    static = Path(app.outdir) / "_static"
    static.mkdir(parents=True, exist_ok=True)
    (static / "STIXTwoMath-Regular.ttf").write_bytes(file.read_bytes())


def setup(app: Sphinx) -> dict[str, object]:
    app.add_html_math_renderer("mathml", (visit_math, None), (visit_displaymath, None))
    app.connect("builder-inited", font)
    return {"version": "1", "parallel_read_safe": True, "parallel_write_safe": True}
