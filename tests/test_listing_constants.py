"""Parameters with one value, and what constants decide."""

from __future__ import annotations

import textwrap

import pytest

from manual_backprop.listing.layout import parsed, printed
from manual_backprop.listing.parameters import specialized
from manual_backprop.listing.reducing import simplify

KEEP = ("forward",)


def special(text: str) -> str:
    tree = parsed(textwrap.dedent(text).lstrip())
    specialized(tree, KEEP)
    return printed(tree)


def simple(expression: str, before: str = "") -> str:
    """An expression of x, simplified."""
    tree = parsed(f"{before}\ndef forward(x, y):\n    return {expression}\n")
    simplify(tree, KEEP)
    return printed(tree).rstrip().rpartition("return ")[2]


def test_a_parameter_with_one_value_is_written_in() -> None:
    found = special("""
        def scale(x, by, power=2):
            return (x * by) ** power

        def forward(x):
            return scale(x, by=-3) + scale(x + 1, -3)
    """)
    assert "def scale(x):\n    return (x * -3) ** 2" in found
    assert "return scale(x) + scale(x + 1)" in found


def test_a_negative_number_as_a_base() -> None:
    found = special("""
        def power(x, base):
            return base ** x

        def forward(x):
            return power(x, -2)
    """)
    assert "return (-2) ** x" in found


def test_two_values_stay_a_parameter() -> None:
    text = """
        def scale(x, by=1):
            return x * by

        def forward(x):
            return scale(x, by=2) + scale(x)
    """
    assert "def scale(x, by=1):" in special(text)


def test_parameters_that_no_one_reads() -> None:
    found = special("""
        def first(x, other, *, sure=True):
            return x

        def second(x, other):
            return x

        def forward(x, y):
            return first(x, y) + second(x, y)
    """)
    assert "def first(x, other, *, sure=True):" in found
    assert "def second(x):" in found
    assert "first(x, y) + second(x)" in found


def test_star_calls_and_functions_as_values_are_left_alone() -> None:
    text = """
        def add(x, y, scale):
            return scale * (x + y)

        def twice(f, x):
            return f(x, x, 2)

        def forward(pair):
            return add(*pair, 1) + twice(add, 3)
    """
    found = special(text)
    assert "def add(x, y, scale):" in found
    assert "add(*pair, 1)" in found


def test_a_local_name_is_no_call() -> None:
    found = special("""
        def scaled(x, by):
            return x * by

        def other(x):
            scaled = x + 1
            return scaled

        def forward(x):
            return scaled(x, 3) + other(x)
    """)
    assert "def scaled(x):\n    return x * 3" in found
    assert "scaled = x + 1" in found


@pytest.mark.parametrize(
    ("expression", "expected"),
    [
        ("x * 1 + 0", "x"),
        ("1.0 * x", "1.0 * x"),
        ("x - (2 - 3)", "x - -1"),
        ("x[len((1, 2)) :]", "x[2:]"),
        ("(3, 4)[1] * x", "4 * x"),
        ("x if 2 > 1 else y", "x"),
        ("x if 'mean' == 'sum' else y", "y"),
        ("0 or x", "x"),
        ("torch.add(x, y, alpha=1)", "x + y"),
        ("torch.add(x, y, alpha=2)", "torch.add(x, y, alpha=2)"),
        ("F.nll_loss(x, y, None, ignore_index=-100, reduction='sum')", 'F.nll_loss(x, y, None, reduction="sum")'),
        ("torch.conv2d(x, y, None, (1, 1), (0, 0), (1, 1), 1)", "torch.conv2d(x, y)"),
        ("torch.conv2d(x, y, None, (2, 2), (0, 0), (1, 1), 1)", "torch.conv2d(x, y, None, (2, 2))"),
        ("x.reshape([2, 3])", "x.reshape(2, 3)"),
        ("[a * d for a, b, d in zip(x, y, (1, 1), strict=True)]", "[a for a, b in zip(x, y, strict=True)]"),
        ("f(x, *(2, 3))", "f(x, 2, 3)"),
    ],
)
def test_what_constants_decide(expression: str, expected: str) -> None:
    assert simple(expression) == expected


def test_a_helper_of_one_line_is_written_in_place() -> None:
    assert simple("axis(x) * y", "def axis(x):\n    return x + 1") == "(x + 1) * y"


def test_a_helper_that_draws_is_not_moved() -> None:
    before = "def twice(x):\n    return x + x"
    tree = parsed(f"{before}\ndef forward(x):\n    return twice(torch.rand(3)) + twice(x)\n")
    simplify(tree, KEEP)
    assert "twice(torch.rand(3))" in printed(tree)
