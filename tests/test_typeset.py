"""The formulas of the docstrings as LaTeX: all of them follow the notation, and mean what they say."""

from __future__ import annotations

import re
import sys
from pathlib import Path

import pytest

import manual_backprop as mb
from manual_backprop.engine.rule import paragraphs

sys.path.insert(0, str(Path(__file__).parent.parent / "docs"))

from extensions.mathml import converted
from extensions.notation import NotationError, statements
from extensions.typeset import JOINER, typeset


@pytest.mark.parametrize(
    ("statement", "expected"),
    [
        ("delta_input = y (1 - y) delta", r"$\delta_{\text{input}} = y \left( 1 - y \right) \delta$"),
        ("y = a / b c", r"$y = \frac{a}{b} c$"),
        ("y = x (a + b) / (2 c)", r"$y = \frac{x \left( a + b \right)}{2 c}$"),
        ("y = (a + b) / c", r"$y = \frac{a + b}{c}$"),
        ("y = 1/2 x", r"$y = \frac{1}{2} x$"),
        ("y = e^-x", r"$y = e^{-x}$"),
        ("y = x^(n - 1)", r"$y = x^{n - 1}$"),
        ("delta_A = - Y^H delta Y^H", r"$\delta_{A} = - Y^{H} \delta Y^{H}$"),
        ("P = A^+ B", r"$P = A^{+} B$"),
        ("y = |x|^2 + |a - b|_p", r"$y = \left| x \right|^{2} + \left| a - b \right|_{p}$"),
        ("y = sum over j of e^(x_j)", r"$y = \sum_{j} e^{x_{j}}$"),
        ("y = x where x > 0, else 0", r"$y = x$ where $x > 0$, else $0$"),
        (
            "y = max(0, x) + s min(0, x)",
            r"$y = \text{max}\left( 0 , x \right) + s \, \text{min}\left( 0 , x \right)$",
        ),
        ("l = (x - y)^2, or the mean or sum of all", r"$l = \left( x - y \right)^{2}$, or the mean or sum of all"),
        ("delta_a_{t+1} = 0", r"$\delta_{a, t + 1} = 0$"),
        ("h_t = z h_{t-1}", r"$h_{t} = z h_{t - 1}$"),
        ("x̂ = x[n, c]", r"$\hat{x} = x[n , c]$"),
        ("y = a value of softmax's input a", r"$y =$ a value of softmax's input $a$"),
    ],
)
def test_notation(statement: str, expected: str) -> None:
    assert typeset(statement).replace(JOINER, "") == expected


@pytest.mark.parametrize("statement", ["y = (x", "y = x @ w", "y = / 2", "y = |x"])
def test_what_does_not_follow_the_notation_is_refused(statement: str) -> None:
    with pytest.raises(NotationError, match=r"got: .*; expected: "):
        typeset(statement)


def test_formulas_of_all_rules() -> None:
    """Each becomes MathML, and no mark of the notation is left in it."""
    count = 0
    for rule in mb.rules.RULES.values():
        forward, _, backward, *_ = paragraphs(rule)
        for statement in [*statements(forward), *statements(backward)]:
            shown = typeset(statement)
            for latex in re.findall(r"\$([^$]+)\$", shown):
                assert "<math" in converted(latex, block=False), (rule, statement)
                count += 1
            words = re.sub(r"\$[^$]*\$|`[^`]*`", "", shown)
            assert not re.search(r"[_^=|{}\\]|\b(delta|sigma|alpha|sqrt)\b", words), (rule, statement, shown)
    assert count > 1000


def test_a_hat_stays_above_its_letter() -> None:
    """docutils puts the index of an accented letter below it."""
    shown = re.sub(r"\s", "", converted(r"\hat{x}_i", block=False))
    assert '<msub><moveraccent="true"><mi>x</mi><mostretchy="false">ˆ</mo></mover><mi>i</mi></msub>' in shown


def test_a_name_and_its_argument_are_parted_where_no_bracket_does_it() -> None:
    assert "rspace" in converted(r"\log p", block=False)
    assert "rspace" not in converted(r"\log(p)", block=False)


def test_every_rule_names_its_source() -> None:
    assert [rule for rule in mb.rules.RULES.values() if not paragraphs(rule)[-1].startswith("Source: ")] == []
