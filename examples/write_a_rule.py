"""Write your own rule, check it, and see the checks catch wrong rules.

The rule: the squared ReLU, y = max(x, 0)^2. Its derivative is 2 max(x, 0), so delta_input = 2 max(x, 0) delta.
Source: So et al. 2021, "Primer: Searching for Efficient Transformers for Language Modeling".
"""

from typing import Any

import torch
from torch import Tensor

import manual_backprop as mb
from manual_backprop.rules import Rule
from manual_backprop.testing import check


class SquaredReLU(Rule):
    """y = max(x, 0)^2

    input, output, delta (*)

    delta_input = 2 max(x, 0) delta

    Source: So et al. 2021, "Primer: Searching for Efficient Transformers for Language Modeling".
    """

    elementwise = True

    def forward(input: Tensor) -> Tensor:
        return input.clamp(min=0).square()

    def delta_input(delta: Tensor, input: Tensor) -> Tensor:
        return 2 * input.clamp(min=0) * delta


class NoFactor(SquaredReLU):
    """y = max(x, 0)^2

    input, output, delta (*)

    delta_input = max(x, 0) delta      wrong: the factor 2 is missing
    """

    def delta_input(delta: Tensor, input: Tensor) -> Tensor:
        return input.clamp(min=0) * delta


class Spoiler(SquaredReLU):
    """y = max(x, 0)^2

    input, output, delta (*)

    delta_input = 2 max(x, 0) delta    right values, but it overwrites delta, which belongs to the caller
    """

    def delta_input(delta: Tensor, input: Tensor) -> Tensor:
        return delta.mul_(2 * input.clamp(min=0))


def squared_relu(input: Tensor) -> Tensor:
    """y = max(x, 0)^2, for use in a model."""
    return mb.functional.call(SquaredReLU, input)


def failures(report: str) -> dict[str, list[str]]:
    """Name of each failed check -> its lines in the report."""
    found: dict[str, list[str]] = {}
    lines: list[str] = []
    for line in report.splitlines()[1:]:
        if not line.startswith("      "):  # a new check; its further lines are indented
            name, outcome = line.split()[:2]
            lines = []
            if outcome == "fail":
                found[name] = lines
        lines.append(line)
    return found


def main(argv: list[str] | None = None) -> dict[str, Any]:
    """Check the right rule and two wrong ones, then use the right one in a model; returns the results."""
    input = torch.tensor([[-1.5, -0.4, 0.3], [0.7, 1.1, 2.0]])

    print("the right rule passes:\n")
    report = check(SquaredReLU, input)
    print(report)

    caught = {}
    for wrong in (NoFactor, Spoiler):
        try:
            check(wrong, input)
        except AssertionError as error:
            found = failures(str(error))
            caught[wrong.__name__] = list(found)
            print(f"\n{wrong.__name__}, caught by {', '.join(found)}; the first check reports:\n")
            print("\n".join(next(iter(found.values()))))

    torch.manual_seed(0)
    layer = mb.nn.Linear(3, 2)
    output = squared_relu(layer(input))
    output.sum().backward()
    print(f"\nin a model: the backward node is {type(output.grad_fn).__name__}, gradient of the bias {layer.bias.grad}")
    return {"ok": report.ok, "caught": caught, "node": type(output.grad_fn).__name__}


if __name__ == "__main__":
    main()
