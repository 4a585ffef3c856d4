"""Bad input to a layer: the twin's type of error, and what came, what was expected and what to do."""

from __future__ import annotations

import re
from typing import Any

import pytest
import torch
from torch import Tensor

import manual_backprop as mb

WHOLE = torch.ones(2, 3, 8, 8, dtype=torch.long)
LOGITS = torch.zeros(3, 4)

# layer, its arguments, the inputs, words of the message in their order
BAD = [
    (
        "Linear",
        (4, 3),
        (torch.zeros(2, 5),),
        ["Linear: y = x W^T", "input (2, 5) float32", "change one or the other"],
    ),
    ("Linear", (4, 3), (torch.ones(2, 4, dtype=torch.int32),), ["input (2, 4) int32", "pass input.float()"]),
    ("Linear", (4, 3), (torch.zeros(2, 4).double(),), ["input (2, 4) float64", "convert them to one"]),
    ("Linear", (4, 3), ([1.0, 2.0, 3.0, 4.0],), ["must be Tensor, not list", "expected: input (*, I)"]),
    (
        "Conv2d",
        (1, 4, 3),
        (torch.zeros(2, 3, 8, 8),),
        ["input (2, 3, 8, 8)", "weight (4, 1, 3, 3)", "(O, C/G, *)"],
    ),
    ("Conv2d", (3, 4, 3), (torch.zeros(8, 8),), ["input (8, 8)", "expected: input (N, C, *) or (C, *)"]),
    ("Conv2d", (3, 4, 3), (WHOLE,), ["input (2, 3, 8, 8) int64", "pass input.float()"]),
    ("Conv2d", (3, 4, 9), (torch.zeros(2, 3, 8, 8),), ["Kernel size", "input (2, 3, 8, 8)"]),
    ("BatchNorm2d", (4,), (torch.zeros(2, 3, 8, 8),), ["input (2, 3, 8, 8)", "running_mean (4,)", "(C,) or None"]),
    ("BatchNorm2d", (3,), (torch.zeros(2, 3),), ["expected 4D input (got 2D input)"]),
    ("BatchNorm2d", (3,), (WHOLE,), ["input (2, 3, 8, 8) int64", "pass input.float()"]),
    ("LayerNorm", (4,), (torch.zeros(2, 3),), ["input (2, 3)", "expected: input, output, delta (*, normalized_shape)"]),
    ("GELU", (), (WHOLE,), ["int64", "pass input.float()"]),
    ("Softmax", (5,), (LOGITS,), ["Dimension out of range", "input (3, 4)"]),
    ("MaxPool2d", (9,), (torch.zeros(1, 1, 4, 4),), ["Output size is too small", "input (1, 1, 4, 4)"]),
    ("Dropout", (0.5,), (WHOLE,), ["pass input.float()"]),
    ("CrossEntropyLoss", (), (LOGITS, torch.tensor([0, 1, 4])), ["label 4 at (2,)", "have the labels 0 to 3"]),
    ("CrossEntropyLoss", (), (LOGITS, torch.tensor([0, -1, -1])), ["label -1 at (1,), 2 such in all", "0 to 3"]),
    ("CrossEntropyLoss", (), (LOGITS, torch.zeros(3)), ["target (3,) float32", "pass target.long()"]),
    (
        "CrossEntropyLoss",
        (),
        (LOGITS, torch.tensor([0, 1])),
        ["target (2,) int64", "one class index per row"],
    ),
    ("NLLLoss", (), (LOGITS, torch.tensor([0, 1, 9])), ["label 9 at (2,)", "have the labels 0 to 3"]),
    (
        "MSELoss",
        (),
        (LOGITS, torch.zeros(3, 5)),
        ["(3, 5)", "(3, 4)", "expected: a target of the input's shape"],
    ),
    ("BCELoss", (), (torch.tensor([2.0]), torch.tensor([1.0])), ["input holds 2", "between 0 and 1"]),
]


def call(namespace: Any, name: str, options: tuple, inputs: tuple) -> Tensor:
    return getattr(namespace, name)(*options)(*inputs)


@pytest.mark.parametrize(("name", "options", "inputs", "words"), BAD)
@pytest.mark.filterwarnings("ignore:Using a target size")  # the twin's warning ahead of its error
def test_the_error_is_the_twin_s_and_explains(name: str, options: tuple, inputs: tuple, words: list[str]) -> None:
    with pytest.raises(Exception) as theirs:  # noqa: PT011 - whatever the twin raises
        call(torch.nn, name, options, inputs)
    with pytest.raises(theirs.type, match="(?s)" + ".*".join(map(re.escape, words))) as ours:
        call(mb.nn, name, options, inputs)
    assert type(ours.value) is theirs.type


def test_what_torch_accepts_is_accepted() -> None:
    """Integers where the twin takes them."""
    assert mb.nn.ReLU()(WHOLE).dtype == torch.long
    assert mb.nn.MaxPool2d(2)(WHOLE).shape == (2, 3, 4, 4)


@pytest.mark.parametrize(
    ("doc", "words"),
    [
        (None, ["in Product\n", "got:      input (2, 3) float32 on cpu, other (2, 3) float32 on cpu"]),
        ("y = a b", ["in Product: y = a b\n", "got:      input (2, 3)"]),
        (
            "y = a b\n\n    input (N, K), other (K, M)\n",
            ["in Product: y = a b\n", "expected: input (N, K), other (K, M)"],
        ),
    ],
    ids=["no docstring", "one line", "two paragraphs"],
)
def test_an_error_in_a_rule_of_a_user_is_torch_s_whatever_its_docstring(doc: str | None, words: list[str]) -> None:
    class Product(mb.rules.Rule):
        __doc__ = doc

        @staticmethod
        def forward(input: Tensor, other: Tensor) -> Tensor:
            return input @ other

    with pytest.raises(RuntimeError, match="(?s)cannot be multiplied.*" + ".*".join(map(re.escape, words))) as raised:
        mb.functional.call(Product, torch.ones(2, 3), torch.ones(2, 3))
    assert ("expected:" in str(raised.value)) == ("expected" in words[-1]), "nothing is made up"
