"""Every rule has a derivation, by itself or with its family; the famous ones have a worked example that is proven."""

from __future__ import annotations

import re
import sys
from pathlib import Path

import pytest

import manual_backprop as mb

DOCS = Path(__file__).parent.parent / "docs"
sys.path.insert(0, str(DOCS))

from extensions import plots, rules, snippets  # noqa: E402
from extensions.mathml import converted  # noqa: E402

EXAMPLES = {
    "linear": "Linear",
    "softmax": "Softmax",
    "cross_entropy": "CrossEntropyLoss",
    "normalization": "LayerNorm",
    "batchnorm": "BatchNorm",
    "convolution": "Conv",
    "attention": "ScaledDotProductAttention",
    "lstm": "LSTM",
    "pooling": "MaxPool",
    "factorizations": "QR",
    "spectral": "SVD",
}


def test_every_rule_has_a_derivation() -> None:
    layers = rules.public_names(mb.nn)
    for family, members in rules.families().items():
        found = rules.derivations(family)
        for rule in members:
            assert rule.__name__ in found or (found.get("*") and rule.__name__ not in layers), (family, rule)
        assert set(found) - {"*"} <= {rule.__name__ for rule in members}, family


@pytest.mark.parametrize("family", EXAMPLES)
def test_worked_examples_end_with_a_gradcheck(family: str) -> None:
    """tests/test_pages.py runs them."""
    text = rules.derivations(family)[EXAMPLES[family]]
    blocks = snippets.snippets(text)
    assert blocks
    assert "gradcheck(" in blocks[-1][0]
    assert "True" in blocks[-1][1]


def test_every_activation_has_a_plot() -> None:
    families = rules.families()
    activations = {rule.__name__ for f in ("smooth", "rectifiers", "piecewise", "exponential") for rule in families[f]}
    assert activations | {"GELU"} == set(plots.PLOTTED)


def test_formulas_of_all_derivations() -> None:
    count = 0
    for page in DOCS.glob("derivations/*.md"):
        text = re.sub(r"^```.*?^```$|`[^`]*`", "", page.read_text(encoding="utf-8"), flags=re.MULTILINE | re.DOTALL)
        for block, inline in re.findall(r"\$\$(.+?)\$\$|\$([^$]+)\$", text, re.DOTALL):
            assert "<math" in converted(block or inline, block=bool(block)), page.name
            count += 1
    assert count > 3000
