"""A linear unit with two inputs learns by gradient descent: the error surface, the path on it, the deltas.

    y = w1 x1 + w2 x2        E = mean over the cases of (t - y)^2

E is a paraboloid above the plane of the weights. In each case delta = dE/dy = 2 (y - t) / N is the slope of a parabola
above the output y, and dE/dw = sum over the cases of delta x. Source: Widrow, Hoff 1960, "Adaptive switching circuits".
"""

import itertools
import sys
from pathlib import Path

import torch
from _common import BLUE, GREY, ORANGE, arguments, save
from matplotlib.figure import Figure

import manual_backprop.nn as nn

X = torch.tensor([[1.2, 0.3], [0.9, 1.0], [-0.7, -1.0], [-1.1, -0.2], [0.4, -0.5]])
TARGET = X @ torch.tensor([[1.5], [-1.0]]) + torch.tensor(
    [[0.1], [-0.2], [0.1], [0.2], [-0.1]]
)  # no weights fit exactly
START, RATE, STEPS = torch.tensor([[-1.5, 1.6]]), 0.4, 60


def error(w: torch.Tensor) -> torch.Tensor:
    """E for weights (..., 2)."""
    return (w @ X.T - TARGET.T[0]).square().mean(-1)


def draw(path: torch.Tensor, best: torch.Tensor) -> Figure:
    """Left: the path on the error surface. Right: the parabola of one case, whose slope is delta."""
    figure = Figure(figsize=(9, 4.2))
    left, right = figure.subplots(1, 2)
    side = torch.linspace(-2.4, 2.4, 121)
    w1, w2 = torch.meshgrid(side + 0.2, side, indexing="xy")
    surface = error(torch.stack([w1, w2], dim=-1))
    filled = left.contourf(
        w1, w2, surface, levels=[0.02, 0.1, 0.25, 0.5, 1, 2, 3, 4, 6, 8, 10, 13, 16, 20, 25], cmap="Blues", alpha=0.9
    )
    left.contour(w1, w2, surface, levels=filled.levels, colors="white", linewidths=0.4)
    left.plot(*path.T, "o-", color=ORANGE, markersize=3, linewidth=1.2, label="descent")
    left.plot(*best, "*", color="black", markersize=11, label="minimum (least squares)")
    left.set(xlabel="$w_1$", ylabel="$w_2$", title="Error surface $E(w_1, w_2)$ and the path on it", aspect="equal")
    left.legend(loc="lower left", labelcolor="black")
    figure.colorbar(filled, ax=left, shrink=0.85).set_label("E")

    x, t = X[0], TARGET[0, 0]
    y = torch.linspace(-3, 5.2, 100)
    right.plot(y, (t - y) ** 2 / len(X), color=BLUE)
    for line, i in enumerate((0, 1, 2, STEPS)):
        at = x @ path[i]
        height, delta = (t - at) ** 2 / len(X), 2 * (at - t) / len(X)
        near = torch.tensor([at - 0.8, at + 0.8])
        right.plot(near, height + delta * (near - at), color=ORANGE, linewidth=1.4)
        right.plot(at, height, "o", color=ORANGE, markersize=4)
        right.annotate(
            f"step {i}: $\\delta$ = {delta:+.2f}",
            (at, height),
            (0.8, 2.1 - 0.28 * line),
            color=ORANGE,
            va="center",
            arrowprops={"arrowstyle": "-", "color": GREY, "linewidth": 0.5, "relpos": (0, 0.5)},
        )
    right.annotate("target t", (t, 0), (t, -0.25), color=GREY, ha="center")
    right.set(
        xlabel="output y of case 1", ylabel="its part of E", title="delta is the slope of the error over the output"
    )
    right.set_ylim(-0.3, 3)
    return figure


def main(argv: list[str] | None = None) -> dict[str, float]:
    """Learn, print, draw; returns the results."""
    out: Path = arguments(__doc__).parse_args(argv).out
    unit, loss = nn.Linear(2, 1, bias=False), nn.MSELoss()
    with torch.no_grad():
        unit.weight.copy_(START)

    print(f"{'step':>4} {'w1':>8} {'w2':>8} {'E':>8}   delta of the five cases")
    path, errors, off = [START[0]], [], 0.0
    for step in range(STEPS):
        y = unit(X)
        y.retain_grad()  # keep delta = dE/dy, which autograd otherwise discards
        e = loss(y, TARGET)
        unit.weight.grad = None
        e.backward()
        delta = 2 * (y.detach() - TARGET) / len(X)  # by hand
        gradient = delta.T @ X
        off = max(off, float((y.grad - delta).abs().max()), float((unit.weight.grad - gradient).abs().max()))
        if step in (0, 1, 2, 5, 10, 20, 40, STEPS - 1):
            w1, w2 = unit.weight[0].tolist()
            print(f"{step:>4} {w1:8.4f} {w2:8.4f} {e.item():8.4f}   " + " ".join(f"{d:+.4f}" for d in y.grad[:, 0]))
        with torch.no_grad():
            unit.weight -= RATE * unit.weight.grad
        path.append(unit.weight[0].detach().clone())
        errors.append(e.item())

    best = torch.linalg.lstsq(X, TARGET).solution[:, 0]
    distance = float((path[-1] - best).norm())
    print(f"\nleast squares, solved directly: w = ({best[0]:.4f}, {best[1]:.4f}), E = {error(best):.4f}")
    print(f"the descent ends at distance {distance:.1e} from it; library and hand differ by {off:.1e} at most")
    save(draw(torch.stack(path), best), out, "linear_unit")
    falls = all(b <= a + 1e-7 for a, b in itertools.pairwise(errors))  # 1e-7: float32 at the bottom
    return {"distance": distance, "difference": off, "falls": falls, "first": errors[0], "last": errors[-1]}


if __name__ == "__main__":
    main(sys.argv[1:])
