"""Plots of activations and their derivatives, both computed by the rules."""

from __future__ import annotations

from pathlib import Path

import matplotlib as mpl
import torch

import manual_backprop as mb

PLOTTED = {
    name: getattr(mb.nn, name)
    for name in (
        *("ReLU", "LeakyReLU", "PReLU", "RReLU", "Threshold", "Hardtanh", "Hardshrink", "Softshrink", "Hardsigmoid"),
        *("Hardswish", "ELU", "CELU", "SELU", "GELU", "Sigmoid", "LogSigmoid", "Tanh", "Tanhshrink", "Softplus"),
        *("Softsign", "SiLU", "Mish"),
    )
}
OPTIONS = {"Threshold": (0.5, -0.5)}


def plot(name: str, folder: Path) -> str:
    """Draws f and f' of an activation from -5 to 5; returns the picture's path relative to the folder of the pages."""
    from matplotlib.figure import Figure

    file = folder / "plots" / f"{name}.svg"
    file.parent.mkdir(exist_ok=True)
    x = torch.linspace(-5, 5, 801, dtype=torch.float64, requires_grad=True)
    y = PLOTTED[name](*OPTIONS.get(name, ())).to(torch.float64).eval()(x)
    (slope,) = torch.autograd.grad(y.sum(), x)
    with mpl.rc_context({"svg.hashsalt": name, "font.size": 10}):
        figure = Figure(figsize=(5, 2.6), layout="constrained")
        axes = figure.add_subplot()
        axes.plot(x.detach().numpy(), y.detach().numpy(), label="f")
        axes.plot(x.detach().numpy(), slope.numpy(), "--", label="f'")
        axes.grid(alpha=0.3)
        axes.legend()
        axes.set_xlabel("x")
        figure.savefig(file, metadata={"Date": None})
    return f"plots/{file.name}"
