"""A feedforward net by matrix multiplication: forward, deltas and gradients by hand, compared with the library's.

Each case is a column. Forward, for l = 1 .. L, with a^0 = x; all three are kept for the backward:

    z^l = W^l a^{l-1} + b^l        a^l = f(z^l)        f'(z^l)

Backward, for the error E = sum of (a^L - t)^2:

    delta^L = dE/da^L o f'(z^L)                            o: element by element
    delta^l = (W^{l+1})^T delta^{l+1} o f'(z^l)
    dE/dW^l = delta^l (a^{l-1})^T                          dE/db^l = sum over the cases of delta^l

Source: Rumelhart, Hinton, Williams 1986; in this form Nielsen 2015, "Neural Networks and Deep Learning", chapter 2.
"""

import copy
import itertools
import sys

import torch
from _common import BLUE, GREEN, GREY, ORANGE, arguments, save
from matplotlib.figure import Figure
from torch import Tensor

import manual_backprop as mb
import manual_backprop.nn as nn

SIZES, CASES = (3, 5, 4, 2), 6


def f(z: Tensor) -> Tensor:
    """The logistic function."""
    return 1 / (1 + torch.exp(-z))


def forward(weights: list[Tensor], biases: list[Tensor], x: Tensor) -> tuple[list[Tensor], list[Tensor], list[Tensor]]:
    """z, a and f'(z) of each layer; a[0] is the input."""
    z, a, slope = [torch.empty(0)], [x], [torch.empty(0)]  # the input layer has no z
    for W, b in zip(weights, biases, strict=True):
        z.append(W @ a[-1] + b[:, None])
        a.append(f(z[-1]))
        slope.append(a[-1] * (1 - a[-1]))
    return z, a, slope


def backward(weights: list[Tensor], a: list[Tensor], slope: list[Tensor], t: Tensor) -> list[Tensor]:
    """delta of each layer, from the last to the first; delta[0] stays empty."""
    L = len(weights)
    delta = [torch.empty(0)] * (L + 1)
    delta[L] = 2 * (a[L] - t) * slope[L]
    for l in range(L - 1, 0, -1):  # noqa: E741 (the textbook's letter)
        delta[l] = weights[l].T @ delta[l + 1] * slope[l]  # weights[l] is W^{l+1}: the list starts at 0
    return delta


def library(net: torch.nn.Sequential, x: Tensor, t: Tensor) -> tuple[list[Tensor], list[Tensor]]:
    """Deltas of the Linear layers and gradients of W and b, as `loss.backward()` leaves them."""
    outputs: list[Tensor] = []

    def keep(layer: torch.nn.Module, args: tuple, output: Tensor) -> None:
        output.retain_grad()
        outputs.append(output)

    for layer in net:
        if isinstance(layer, torch.nn.Linear):
            layer.register_forward_hook(keep)
    nn.MSELoss(reduction="sum")(net(x.T), t.T).backward()  # torch's cases are rows
    return [z.grad.T for z in outputs if z.grad is not None], [p.grad for p in net.parameters() if p.grad is not None]


def show(name: str, matrix: Tensor) -> None:
    rows = ["[" + " ".join(f"{v:+.4f}" for v in row) + "]" for row in matrix]
    print("\n".join(f"{name if not i else '':<10} {row}" for i, row in enumerate(rows)))


def draw(a: list[Tensor], delta: list[Tensor], gradients: list[Tensor]) -> Figure:
    """Top row: activations, left to right. Middle row: deltas, right to left. Bottom row: gradients, their products."""
    L = len(delta) - 1
    figure = Figure(figsize=(9, 5.4))
    axes = figure.subplots(3, L + 1)
    rows = (("a", a, 1.0), ("\\delta", delta, None), ("\\partial E/\\partial W", [torch.empty(0), *gradients], None))
    for line, (label, matrices, limit) in zip(axes, rows, strict=True):
        for l, (axis, matrix) in enumerate(zip(line, matrices, strict=True)):  # noqa: E741
            if not matrix.numel():
                axis.axis("off")
                continue
            top = limit or float(matrix.abs().max())
            axis.imshow(matrix.numpy(), cmap="RdBu_r", vmin=-top, vmax=top)
            axis.set(xticks=[], yticks=[])
            axis.spines[:].set_visible(False)
            axis.set_title(f"${label}^{l}$   {matrix.shape[0]} x {matrix.shape[1]}")
            axis.set_xlabel(f"largest {float(matrix.abs().max()):.2g}", color=GREY, fontsize=8)
    axes[0, 0].set_ylabel("forward  →", color=BLUE)
    back = "←  backward\n$\\delta^l = (W^{l+1})^T \\delta^{l+1} \\circ f\\,'(z^l)$"
    axes[1, 0].text(0.5, 0.5, back, color=ORANGE, ha="center", va="center")
    axes[2, 0].text(0.5, 0.5, "gradients\n$\\delta^l (a^{l-1})^T$", color=GREEN, ha="center", va="center")
    figure.suptitle("Each column is a case; deltas shrink on the way back, since f' is 1/4 at most", fontsize=10)
    return figure


def main(argv: list[str] | None = None) -> dict[str, float]:
    """Compute by hand and with the library, print both; returns the largest relative differences."""
    out = arguments(__doc__).parse_args(argv).out
    torch.manual_seed(0)
    net = nn.Sequential()
    for fan_in, fan_out in itertools.pairwise(SIZES):
        net += nn.Sequential(nn.Linear(fan_in, fan_out), nn.Sigmoid())
    for parameter in net.parameters():
        nn.init.normal_(parameter)  # larger than usual, so that the picture shows differences
    net.double()
    x, t = torch.randn(SIZES[0], CASES).double(), torch.rand(SIZES[-1], CASES).double()

    weights, biases = ([p.detach() for n, p in net.named_parameters() if n.endswith(end)] for end in ("weight", "bias"))
    z, a, slope = forward(weights, biases, x)
    delta = backward(weights, a, slope, t)
    gradients = [delta[i + 1] @ a[i].T for i in range(len(weights))]
    bias_gradients = [d.sum(1) for d in delta[1:]]
    by_hand = delta[1:] + [g for pair in zip(gradients, bias_gradients, strict=True) for g in pair]

    for i in range(1, len(SIZES)):
        print(f"layer {i}: W {tuple(weights[i - 1].shape)}, the first case")
        for name, matrix in (("z", z[i]), ("a", a[i]), ("f'(z)", slope[i]), ("delta", delta[i])):
            show(f"  {name}", matrix[:, :1].T)
        show("  dE/dW", gradients[i - 1])

    ours = library(net, x, t)
    theirs = library(mb.revert(copy.deepcopy(net)), x, t)
    differences = {}
    print("\nlargest difference, relative to the largest number of each matrix")
    for name, (deltas, grads) in (("library", ours), ("autograd", theirs)):
        pairs = zip(by_hand, deltas + grads, strict=True)
        differences[name] = max(float((hand - other).abs().max() / hand.abs().max()) for hand, other in pairs)
        print(f"  by hand, {name:<8}  {differences[name]:.1e}")
    print(f"  (float64 rounds at {torch.finfo(torch.double).eps:.1e})")
    save(draw(a, delta, gradients), out, "matrix_form")
    return differences


if __name__ == "__main__":
    main(sys.argv[1:])
