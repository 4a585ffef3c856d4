"""What a run of a written file does not reach is left out, and the rest says the same."""

from __future__ import annotations

import textwrap
from typing import Any

import pytest
import torch

from manual_backprop.listing.folding import folded
from manual_backprop.listing.layout import parsed, printed
from manual_backprop.listing.reducing import reduced
from manual_backprop.listing.unused import without_unused

KEEP = ("forward",)


def fold(text: str, *arguments: Any) -> str:
    """A file with `forward`, folded by one call of it."""
    tree = parsed(textwrap.dedent(text).lstrip())
    folded(tree, lambda names: names["forward"](*arguments))
    return printed(tree)


def body(text: str) -> list[str]:
    return [line.strip() for line in text.splitlines() if line.strip()][1:]


def test_nested_conditions() -> None:
    text = """
        def forward(x):
            if x > 0:
                if x > 10:
                    return 1
                x = x + 1
            return x
    """
    assert body(fold(text, 5)) == ["x = x + 1", "return x"]
    assert body(fold(text, 50)) == ["return 1"]
    assert body(fold(text, -1)) == ["return x"]


def test_elif_chain() -> None:
    text = """
        def forward(x):
            if x == 1:
                y = "one"
            elif x == 2:
                y = "two"
            else:
                y = "more"
            return y
    """
    assert [body(fold(text, k))[0] for k in (1, 2, 3)] == ['y = "one"', 'y = "two"', 'y = "more"']


def test_a_ternary_in_an_operand_keeps_its_brackets() -> None:
    text = """
        def forward(x):
            return 2 * (x + 1 if x > 0 else x - 1)
    """
    assert body(fold(text, 5)) == ["return 2 * (x + 1)"]
    assert body(fold(text, -5)) == ["return 2 * (x - 1)"]


def test_a_condition_with_both_answers_stays() -> None:
    text = """
        def forward(x):
            return [k if k > 1 else 0 for k in range(x)]
    """
    assert body(fold(text, 4)) == ["return [k if k > 1 else 0 for k in range(x)]"]


def test_comments_stay_with_what_they_are_about() -> None:
    text = """
        def forward(x):
            # of large x
            if x > 10:
                # divided
                x = x / 2  # by two
            # always
            return x
    """
    assert body(fold(text, 20)) == ["# of large x", "# divided", "x = x / 2   # by two", "# always", "return x"]
    assert body(fold(text, 1)) == ["# always", "return x"]


def test_nothing_behind_a_return() -> None:
    text = """
        def forward(x):
            if x:
                return 1
            y = 2
            return y
    """
    assert body(fold(text, True)) == ["return 1"]


def test_methods_that_return_their_own_tensor() -> None:
    text = """
        def forward(x):
            return x.to(torch.float32).reshape(2, 3).sum_to_size((2, 3)), x.reshape(3, 2), x.mH
    """
    found = fold("import torch\n" + textwrap.dedent(text), torch.ones(2, 3))
    assert body(found)[1] == "return x, x.reshape(3, 2), x.T"


@pytest.mark.parametrize("name", ["helper", "Rule.unread"])
def test_functions_that_nothing_reads(name: str) -> None:
    text = textwrap.dedent("""
        import math


        def helper():
            return math.pi


        class Rule:
            def read(x):
                helper = x
                return helper

            def unread(x):
                return x


        def forward(x):
            return Rule.read(x)
    """).lstrip()
    tree = parsed(text)
    assert without_unused(tree, KEEP)
    found = printed(tree)
    assert f"def {name.rpartition('.')[2]}(" not in found
    assert "import math" not in found
    assert "def read(" in found


def test_a_reduced_file_computes_the_same() -> None:
    text = textwrap.dedent("""
        import torch

        MODES = {1: torch.sin, 2: torch.cos}


        def shifted(x, by):
            return x + by


        class Rule:
            def forward(x, dims, p, mode):
                if mode is None:
                    return x
                factor = 1 / (1 - p) if p < 1 else 0.0
                x = shifted(x, -2)
                return MODES[len(dims)](factor * x)


        def forward(x):
            return Rule.forward(x, (1, 2), 0.5, mode="on")
    """).lstrip()
    x = torch.randn(5)
    found = reduced(text, lambda names: names["forward"](x), KEEP)
    names: dict[str, Any] = {}
    before: dict[str, Any] = {}
    exec(found, names)
    exec(text, before)
    assert torch.equal(names["forward"](x), before["forward"](x))
    assert "torch.cos(2.0 * " in found
    assert "MODES" not in found
    assert "shifted" not in found


def test_numbers_that_depend_on_sizes_alone() -> None:
    text = """
        def forward(x):
            axes = [k for k in range(x.dim()) if k != 1]
            listed = []
            listed.extend([n + 1 for n in x.shape])
            return x.sum([k for k in range(x.dim()) if k]), axes, len(listed)
    """
    assert body(fold(text, torch.ones(2, 3, 4))) == [
        "axes = (0, 2)",
        "listed = []",
        "listed.extend([n + 1 for n in x.shape])",
        "return x.sum((1, 2)), axes, 3",
    ]


def test_numbers_that_are_others_at_another_call_stay() -> None:
    text = """
        def helper(x):
            return x.dim()


        def forward(x):
            return helper(x) + helper(x[0])
    """
    assert "return x.dim()" in fold(text, torch.ones(2, 3))


def reduce_(text: str, *arguments: Any) -> tuple[str, dict[str, Any]]:
    """A file with forward and backward, reduced, and its names."""

    def run(names: dict[str, Any]) -> None:
        _, kept = names["forward"]({}, *arguments)
        names["backward"]({}, kept)

    found = reduced("import torch\n\n\n" + textwrap.dedent(text).lstrip(), run, ("forward", "backward"))
    names: dict[str, Any] = {}
    exec(found, names)
    return found, names


def test_what_no_one_reads_is_neither_kept_nor_returned() -> None:
    text = """
        class Rule:
            def forward(x):
                y = x.exp()
                largest = y.max()
                seen = y.min().log()
                return y, largest, seen

            def delta_input(delta, y, largest):
                return delta * y


        def forward(p, x):
            y, largest, seen = Rule.forward(x)   # (3,), (), ()
            kept = (y, largest, seen, x)
            return y.sum(), kept


        def backward(p, kept):
            y, largest, seen, x = kept
            return Rule.delta_input(torch.ones_like(y), y, largest)
    """
    found, names = reduce_(text, torch.randn(3))
    assert "largest" not in found
    assert "seen" not in found
    assert "y = Rule.forward(x)   # (3,)" in found or "y = x.exp()   # (3,)" in found
    assert "kept = (y,)" in found
    assert "y, = kept" in found
    x = torch.randn(3)
    value, kept = names["forward"]({}, x)
    assert torch.equal(value, x.exp().sum())
    assert torch.equal(names["backward"]({}, kept), x.exp())


def test_a_result_that_is_drawn_is_drawn_still() -> None:
    """Without it the numbers behind it would be others."""
    text = """
        class Rule:
            def forward(x):
                y = x.exp()
                return y, torch.rand(3)


        def forward(p, x):
            y, drawn = Rule.forward(x)
            kept = (y,)
            return y.sum() + torch.rand(()), kept


        def backward(p, kept):
            y, = kept
            return y
    """
    found, _ = reduce_(text, torch.randn(3))
    assert "torch.rand(3)" in found


def test_a_docstring_on_an_argument_that_is_gone() -> None:
    text = """
        class Rule:
            def forward(x, like):
                \"\"\"x with the axes of `like`\"\"\"
                y = x.exp()
                y = y * 3 + y.log()
                return y.reshape(3)

            def backward(x):
                \"\"\"twice `x`\"\"\"
                y = x.exp()
                y = y * 3 + y.log()
                return y * 2


        def forward(p, x):
            return Rule.forward(x, x), (x,)


        def backward(p, kept):
            x, = kept
            return Rule.backward(x)
    """
    found, _ = reduce_(text, torch.randn(3))
    assert "`like`" not in found
    assert "twice `x`" in found
