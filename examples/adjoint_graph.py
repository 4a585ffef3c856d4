"""An adjoint graph: branches, a skip connection and a shared weight. The deltas of all uses of a value are summed.

Forward, left to right:

    p = W x        h = tanh(p)        q = W h (the same W)        g = sigmoid(h)        y = q + g + h

h is used three times: by W again, by the gate g and by the skip connection. Backward, right to left, the adjoint of
each value (its delta, the derivative of E by it) is a sum over all its uses. So is the gradient of W:

    delta_q = delta_g = delta_y
    delta_h = W^T delta_q  +  delta_g o g (1 - g)  +  delta_y
    dE/dW   = delta_q h^T  +  delta_p x^T

Source: Griewank, Walther 2008, "Evaluating Derivatives", section 3.2 (adjoint propagation).
"""

import sys

import torch
from _common import BLUE, GREEN, GREY, ORANGE, arguments, save
from matplotlib.figure import Figure
from torch import Tensor

import manual_backprop as mb
import manual_backprop.nn as nn
from manual_backprop import functional as F

SIZE = 3
PLACES = {"x": (0, 1), "p": (1, 1), "h": (2, 1), "q": (3.2, 2), "g": (3.2, 1), "y": (4.4, 1), "E": (5.4, 1)}
EDGES = {
    ("x", "p"): "W", ("p", "h"): "tanh", ("h", "q"): "W", ("h", "g"): "sigmoid", ("h", "y"): "skip", ("q", "y"): "",
    ("g", "y"): "", ("y", "E"): "",
}  # fmt: skip
BESIDE = {"q": (0.0, True), "h": (-0.25, True), "y": (0.25, True)}  # offsets that keep the numbers off the arrows


class Graph(nn.Module):
    """y = W h + sigmoid(h) + h with h = tanh(W x); keeps its values, so that their deltas can be read later."""

    def __init__(self) -> None:
        super().__init__()
        self.shared = nn.Linear(SIZE, SIZE, bias=False)
        self.tanh, self.sigmoid = nn.Tanh(), nn.Sigmoid()
        self.values: dict[str, Tensor] = {}

    def forward(self, x: Tensor) -> Tensor:
        p = self.shared(x)
        h = self.tanh(p)
        q, g = self.shared(h), self.sigmoid(h)
        y = F.add(F.add(q, g), h)
        self.values = {"p": p, "h": h, "q": q, "g": g, "y": y}
        for value in self.values.values():
            value.retain_grad()
        return y


def draw(values: dict[str, Tensor], deltas: dict[str, Tensor], parts: dict[str, Tensor]) -> Figure:
    """The graph, with values and deltas beside each node, and a table of the three deltas that are summed at h."""
    figure = Figure(figsize=(9.5, 4.6))
    axis = figure.subplots()
    axis.axis("off")
    axis.set(xlim=(-0.5, 5.8), ylim=(-0.55, 2.7))
    for (start, end), label in EDGES.items():
        bend = 0.45 if label == "skip" else 0.0
        for color, tail, head, sign in ((BLUE, start, end, 1), (ORANGE, end, start, -1)):
            (x0, y0), (x1, y1) = PLACES[tail], PLACES[head]
            curve = f"arc3,rad={sign * bend}"
            arrow = {"arrowstyle": "->", "color": color, "connectionstyle": curve, "shrinkA": 15, "shrinkB": 15}
            axis.annotate("", (x1, y1 + 0.03 * sign), (x0, y0 + 0.03 * sign), arrowprops=arrow)
        (x0, y0), (x1, y1) = PLACES[start], PLACES[end]
        drop = -0.78 if label == "skip" else 0.09
        axis.text((x0 + x1) / 2, (y0 + y1) / 2 + drop, label, color=BLUE, ha="center")

    def numbers(tensor: Tensor) -> str:
        return "\n".join(f"{v:+.2f}" for v in tensor.flatten())

    for name, (px, py) in PLACES.items():
        axis.plot(px, py, "o", markersize=22, color="white", markeredgecolor=GREY)
        axis.text(px, py, f"${name}$", ha="center", va="center", fontsize=11)
        side, up = BESIDE.get(name, (0.0, False))
        where = {"y": py + (0.17 if up else -0.17), "va": "bottom" if up else "top", "fontsize": 7.5}
        axis.text(px + side - 0.02, s=numbers(values[name]), ha="right", color=BLUE, **where)
        if name in deltas:
            axis.text(px + side + 0.04, s=numbers(deltas[name]), ha="left", color=ORANGE, **where)
    table = [f"{part:<18}" + " ".join(f"{v:+.2f}" for v in d[0]) for part, d in {**parts, "sum": deltas["h"]}.items()]
    axis.text(-0.4, 0.3, "delta of h: the sum over the three uses of h", color=GREEN, va="top")
    axis.text(-0.4, 0.12, "\n".join(table), family="monospace", fontsize=8, va="top", color=ORANGE)
    axis.text(-0.4, 2.6, "values, forward", color=BLUE)
    axis.text(-0.4, 2.42, "deltas, backward", color=ORANGE)
    return figure


def main(argv: list[str] | None = None) -> dict[str, float]:
    """Run the graph once; compare the sums by hand with the library's. Returns the largest differences."""
    out = arguments(__doc__).parse_args(argv).out
    torch.manual_seed(3)
    graph, loss = Graph().double(), nn.MSELoss(reduction="sum")
    x, t = torch.randn(1, SIZE).double().requires_grad_(), torch.randn(1, SIZE).double()
    e = loss(graph(x), t)
    e.backward()
    values = {name: value.detach() for name, value in graph.values.items()}
    library = {name: value.grad for name, value in graph.values.items() if value.grad is not None}
    W, h, g, y = graph.shared.weight.detach(), values["h"], values["g"], values["y"]

    # every step by hand; the first part calls the formula of a rule directly
    delta_y = 2 * (y - t)
    delta_q = delta_g = delta_y
    parts = {
        "through W": mb.rules.Linear.delta_input(delta_q, W),
        "through sigmoid": delta_g * g * (1 - g),
        "through skip": delta_y,
    }
    delta_h = sum(parts.values())
    delta_p = delta_h * (1 - h.square())
    uses = {"second use, W h": delta_q.T @ h, "first use, W x": delta_p.T @ x.detach()}
    grad_w = sum(uses.values())

    print(f"{'delta arriving at h':<24}" + " ".join(f"{i:>8}" for i in range(SIZE)))
    for name, part in (*parts.items(), ("sum by hand", delta_h), ("library", library["h"])):
        print(f"  {name:<22}" + " ".join(f"{v:+8.4f}" for v in part[0]))
    print("\ngradient of the shared W, first row")
    for name, part in (*uses.items(), ("sum by hand", grad_w), ("library", graph.shared.weight.grad)):
        print(f"  {name:<22}" + " ".join(f"{v:+8.4f}" for v in part[0]))

    by_hand = {"p": delta_p, "h": delta_h, "q": delta_q, "g": delta_g, "y": delta_y}
    delta_off = max(float((by_hand[name] - library[name]).abs().max()) for name in by_hand)
    weight_off = float((grad_w - graph.shared.weight.grad).abs().max())
    print(f"\nby hand and library differ by {delta_off:.1e} (deltas) and {weight_off:.1e} (gradient of W) at most")
    save(draw({"x": x.detach(), **values, "E": e.detach()}, {"x": x.grad, **library}, parts), out, "adjoint_graph")
    smallest = min(float(part.abs().max()) for part in (*parts.values(), *uses.values()))
    return {"deltas": delta_off, "weight": weight_off, "smallest_part": smallest}


if __name__ == "__main__":
    main(sys.argv[1:])
