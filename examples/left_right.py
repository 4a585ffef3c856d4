"""Left to right against right to left: the same deltas by two orders of matrix multiplication, counted and timed.

In a net of L layers of width n the derivative of the error by z^l is one product of Jacobians,

    delta^l = dE/da^L · D^L W^L · D^{L-1} W^{L-1} · ... · D^{l+1} W^{l+1} · D^l        D = diag f'(z)

Forward accumulation multiplies in the order of the layers. Each product is matrix by matrix, n^3 multiplications, and
each l needs its own chain of products. Backward accumulation starts at the error. Each product is vector by matrix, n^2
multiplications, and delta^{l-1} reuses delta^l. Together with the multiplications by the diagonals D:

    left to right   (n^3 + n^2) L (L - 1) / 2 + (n^2 + n) L        right to left   n^2 (L - 1) + n L

Source: Griewank, Walther 2008, "Evaluating Derivatives", chapter 3; Wikipedia, "Backpropagation", section Matrix
multiplication.
"""

import sys
import time
from collections.abc import Callable

import torch
from _common import BLUE, ORANGE, arguments, save
from matplotlib.figure import Figure
from torch import Tensor

import manual_backprop.nn as nn

WIDTHS, DEPTHS = (8, 16, 32, 64, 128, 256), (2, 4, 8, 16, 32)
DEPTH, WIDTH = 6, 64  # the fixed depth while the width grows, and the fixed width while the depth grows


class Counter:
    """Matrix products that count their multiplications."""

    def __init__(self) -> None:
        self.count = 0

    def dot(self, a: Tensor, b: Tensor) -> Tensor:
        """Matrix product (p, q) by (q, r)."""
        self.count += a.shape[0] * a.shape[1] * b.shape[1]
        return a @ b

    def scale(self, a: Tensor, diagonal: Tensor) -> Tensor:
        """a (p, q) times diag (q)."""
        self.count += a.numel()
        return a * diagonal


Way = Callable[[Counter, list[Tensor], list[Tensor], Tensor], list[Tensor]]


def left_to_right(counter: Counter, W: list[Tensor], slope: list[Tensor], error_slope: Tensor) -> list[Tensor]:
    """For each layer: build the Jacobian da^L/da^l from the layer towards the output, then multiply dE/da^L by it."""
    deltas = []
    for l in range(len(W)):  # noqa: E741 (the textbook's letter)
        jacobian = torch.eye(len(slope[l]), dtype=slope[l].dtype)  # da^l/da^l: no multiplications
        for k in range(l + 1, len(W)):
            # D^k scales rows; `scale` scales columns, so of the transposed product
            jacobian = counter.scale(counter.dot(W[k], jacobian).T, slope[k]).T
        deltas.append(counter.scale(counter.dot(error_slope, jacobian), slope[l]))
    return deltas


def right_to_left(counter: Counter, W: list[Tensor], slope: list[Tensor], error_slope: Tensor) -> list[Tensor]:
    """delta^l = (delta^{l+1} W^{l+1}) o f'(z^l), from the last layer to the first."""
    deltas = [counter.scale(error_slope, slope[-1])]
    for l in range(len(W) - 2, -1, -1):  # noqa: E741
        deltas.insert(0, counter.scale(counter.dot(deltas[0], W[l + 1]), slope[l]))
    return deltas


def predicted(way: Way, n: int, L: int) -> int:
    """The number of multiplications by the formulas of the module's docstring."""
    if way is right_to_left:
        return n**2 * (L - 1) + n * L
    return (n**3 + n**2) * L * (L - 1) // 2 + (n**2 + n) * L


def net_of(width: int, depth: int) -> torch.nn.Sequential:
    """`depth` times Linear and Tanh, in double precision."""
    layers = [nn.Sequential(nn.Linear(width, width), nn.Tanh()) for _ in range(depth)]
    return nn.Sequential(*(layer for pair in layers for layer in pair)).double()


def run(way: Way, width: int, depth: int) -> tuple[int, float, float]:
    """Multiplications, milliseconds (best of ten) and the relative difference to the library's deltas."""
    torch.manual_seed(width + depth)
    net, x, t = net_of(width, depth), torch.randn(1, width).double(), torch.randn(1, width).double()
    z, a = [], [x]
    for layer in net:
        a.append(layer(a[-1]))
        if isinstance(layer, torch.nn.Linear):
            a[-1].retain_grad()
            z.append(a[-1])
    nn.MSELoss(reduction="sum")(a[-1], t).backward()

    W = [layer.weight.detach() for layer in net if isinstance(layer, torch.nn.Linear)]
    slope = [1 - torch.tanh(v.detach()[0]).square() for v in z]
    error_slope = 2 * (a[-1].detach() - t)
    best, counter = float("inf"), Counter()
    for _ in range(10):
        counter = Counter()
        start = time.perf_counter()
        deltas = way(counter, W, slope, error_slope)
        best = min(best, time.perf_counter() - start)
    difference = max(float((d - v.grad).abs().max() / v.grad.abs().max()) for d, v in zip(deltas, z, strict=True))
    return counter.count, best * 1000, difference


def draw(rows: dict[str, list[tuple[int, Way, int, float]]]) -> Figure:
    """Top row: multiplications, counted and predicted. Bottom row: time. Left over the width, right over the depth."""
    figure = Figure(figsize=(9, 6))
    axes = figure.subplots(2, 2)
    fixed = {"width": f"{DEPTH} layers", "depth": f"width {WIDTH}"}
    for column, (over, measured) in enumerate(rows.items()):
        for way, color, name in ((left_to_right, ORANGE, "left to right"), (right_to_left, BLUE, "right to left")):
            sizes, counts, times = zip(*[(s, c, ms) for s, w, c, ms in measured if w is way], strict=True)
            shape = [(s, DEPTH) if over == "width" else (WIDTH, s) for s in sizes]
            axes[0, column].plot(sizes, [predicted(way, *s) for s in shape], color=color, label=f"{name}, predicted")
            axes[0, column].plot(sizes, counts, "o", color=color, label=f"{name}, counted")
            axes[1, column].plot(sizes, times, "o-", color=color, label=name)
            speed = times[-1] / counts[-1]  # of the largest case, where the overhead of a call matters least
            axes[1, column].plot(sizes, [c * speed for c in counts], ":", color=color, label="proportional to count")
        for axis, what in zip(axes[:, column], ("multiplications", "milliseconds"), strict=True):
            axis.set(xscale="log", yscale="log", xlabel=f"{over} ({fixed[over]})", ylabel=what)
            axis.set_xticks([s for s, w, *_ in measured if w is left_to_right], minor=False)
            axis.xaxis.set_major_formatter("{x:.0f}")
            axis.minorticks_off()
            axis.grid(color="#e6e6e6")
    for axis in axes[:, 0]:
        axis.legend(fontsize=8)
    axes[0, 0].set_title("Multiplications for all deltas of one case")
    axes[1, 0].set_title("Time on this machine")
    return figure


def main(argv: list[str] | None = None) -> dict[str, float]:
    """Count, time, compare, draw; returns the results that do not depend on the machine."""
    out = arguments(__doc__).parse_args(argv).out
    rows: dict[str, list[tuple[int, Way, int, float]]] = {"width": [], "depth": []}
    off_prediction, difference = 0, 0.0
    print(f"{'width':>5} {'depth':>5} | {'left to right':>15} {'ms':>8} | {'right to left':>15} {'ms':>8} | ratio")
    for over, sizes in (("width", WIDTHS), ("depth", DEPTHS)):
        for size in sizes:
            width, depth = (size, DEPTH) if over == "width" else (WIDTH, size)
            line = f"{width:>5} {depth:>5}"
            counts = []
            for way in (left_to_right, right_to_left):
                count, ms, off = run(way, width, depth)
                rows[over].append((size, way, count, ms))
                counts.append(count)
                off_prediction = max(off_prediction, abs(count - predicted(way, width, depth)))
                difference = max(difference, off)
                line += f" | {count:>15,} {ms:>8.3f}"
            print(line + f" | {counts[0] / counts[1]:,.0f}")
    print(f"\ncounted and predicted multiplications differ by {off_prediction} at most")
    print(f"the deltas of both ways and of the library differ by {difference:.1e}, relative, at most")
    save(draw(rows), out, "left_right")
    return {"off_prediction": off_prediction, "difference": difference, "ratio": counts[0] / counts[1]}


if __name__ == "__main__":
    main(sys.argv[1:])
