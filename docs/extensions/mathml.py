"""Sphinx extension: formulas become MathML when the site is built, by docutils' own converter; no script is needed."""

from __future__ import annotations

from importlib import resources
from pathlib import Path
from xml.etree import ElementTree

from docutils import nodes
from docutils.utils.math.latex2mathml import tex2mathml
from sphinx.application import Sphinx
from sphinx.errors import ExtensionError
from sphinx.writers.html5 import HTML5Translator

ACCENTS = set("ˆˉ˜˙¨→¯^~")
NAMESPACE = "http://www.w3.org/1998/Math/MathML"
ElementTree.register_namespace("", NAMESPACE)


def converted(latex: str, block: bool) -> str:
    """MathML of one formula. Raises ExtensionError naming the formula that cannot be converted."""
    try:
        text = tex2mathml(latex, as_block=block).replace("&ApplyFunction;", "\u2061")
    except Exception as error:
        raise ExtensionError(f"got: {latex!r}; expected: LaTeX that docutils converts to MathML: {error}") from error
    root = ElementTree.fromstring(text)
    for parent in [*root.iter()]:
        for i, child in enumerate([*parent]):
            if child.tag == f"{{{NAMESPACE}}}munderover" and (child[2].text or "").strip() in ACCENTS:
                parent[i] = index_beside_accent(child)
            elif child.text == "\u2061" and i + 1 < len(parent) and not opens(parent[i + 1]):
                child.set("rspace", "0.17em")  # log p: no bracket parts the name from its argument
    return ElementTree.tostring(root, encoding="unicode")


def index_beside_accent(under: ElementTree.Element) -> ElementTree.Element:
    """The hat stays above the letter; its index stands beside it rather than below."""
    base, index, accent = under
    over = ElementTree.Element(f"{{{NAMESPACE}}}mover", {"accent": "true"})
    over.extend([base, accent])
    beside = ElementTree.Element(f"{{{NAMESPACE}}}msub")
    beside.extend([over, index])
    return beside


def opens(element: ElementTree.Element) -> bool:
    """Whether a bracket comes first."""
    first = element[0] if element.tag == f"{{{NAMESPACE}}}mrow" and len(element) else element
    return (first.text or "").strip() in ("(", "[", "{", "|")


def visit_math(self: HTML5Translator, node: nodes.math) -> None:
    self.body.append(converted(node.astext(), block=False))
    raise nodes.SkipNode


def visit_displaymath(self: HTML5Translator, node: nodes.math_block) -> None:
    self.body.append(f'<div class="formula">{converted(node.astext(), block=True)}</div>')
    raise nodes.SkipNode


def font(app: Sphinx) -> None:
    """The font for mathematics, from the package ziamath. Its tables say how symbols stretch and where limits stand."""
    file = resources.files("ziamath").joinpath("fonts", "STIXTwoMath-Regular.ttf")
    static = Path(app.outdir) / "_static"
    static.mkdir(parents=True, exist_ok=True)
    (static / "STIXTwoMath-Regular.ttf").write_bytes(file.read_bytes())


def setup(app: Sphinx) -> dict[str, object]:
    app.add_html_math_renderer("mathml", (visit_math, None), (visit_displaymath, None))
    app.connect("builder-inited", font)
    return {"version": "1", "parallel_read_safe": True, "parallel_write_safe": True}
