"""Random numbers. As in torch, most have no derivative by the parameters of their distribution."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from ..engine.operators import elemental
from ..engine.rule import Rule

SOURCE = "torch takes random numbers as constants; rsample of torch.distributions draws differentiable ones."


class Normal(Rule):
    """y = a draw of the normal distribution with this mean and standard deviation

    mean, std (*, broadcast) or number   output, delta (*)

    delta_mean = 0     delta_std = 0: the draws are constants

    Source: torch takes random numbers as constants; rsample of torch.distributions draws differentiable ones.
    """

    operator = "normal"
    elementwise = True
    broadcasts = True

    def forward(mean: Any, std: Any = 1.0, generator: Any = None) -> Tensor:
        return torch.normal(mean, std, generator=generator)

    def delta_mean(delta: Tensor) -> Tensor:
        return torch.zeros_like(delta)

    def delta_std(delta: Tensor) -> Tensor:
        return torch.zeros_like(delta)


Bernoulli = elemental(
    "bernoulli", "1 with probability x, else 0", "0", lambda delta: torch.zeros_like(delta),
    takes="input, *, generator: Any",
)  # fmt: skip
Poisson = elemental(
    "poisson", "a draw of the Poisson distribution with mean x", "0", lambda delta: torch.zeros_like(delta),
    takes="input, generator: Any = None",
)  # fmt: skip


class StandardGamma(Rule):
    """y = a draw of the gamma distribution with shape x and rate 1

    input, output, delta (*)

    delta_input = delta dy/dx,   dy/dx = - (dF(y; x)/dx) / p(y; x) at a fixed value of the distribution function F

    Source: Figurnov, Mohamed, Mnih 2018, "Implicit reparameterization gradients".
    """

    operator = "_standard_gamma"
    elementwise = True

    def forward(input: Tensor, generator: Any = None) -> Tensor:
        return torch.ops.aten._standard_gamma(input, generator)

    def delta_input(delta: Tensor, input: Tensor, output: Tensor) -> Tensor:
        return delta * torch.ops.aten._standard_gamma_grad(input, output)


class Overwritten(Rule):
    """y = numbers drawn over x

    input, output, delta (*)   draw a function that overwrites a tensor

    delta_input = 0: the output does not depend on x

    Source: the derivative of a constant.
    """

    operator = "uniform_ normal_ bernoulli_ exponential_ log_normal_ cauchy_ geometric_ random_"
    elementwise = True

    def forward(input: Tensor, draw: Callable[[Tensor], Tensor]) -> Tensor:
        return draw(input.clone())

    def forward_(input: Tensor, draw: Callable[[Tensor], Tensor]) -> Tensor:
        return draw(input)

    def delta_input(delta: Tensor) -> Tensor:
        return torch.zeros_like(delta)


class NativeDropout(Rule):
    """y = x mask / (1 - p),   the mask is set with probability 1 - p; x itself where train is False

    input, output, mask, delta (*)   p, train numbers

    delta_input = delta mask / (1 - p)

    Source: Srivastava et al. 2014, "Dropout: A Simple Way to Prevent Neural Networks from Overfitting".
    """

    operator = "native_dropout"
    results = "output", "mask"
    elementwise = True
    upcast = True

    def forward(input: Tensor, p: float, train: bool | None) -> tuple[Tensor, Tensor]:
        return torch.native_dropout(input, p, train)

    def delta_input(delta: Tensor, mask: Tensor, p: float, train: bool | None) -> Tensor:
        kept = 1 - p if train is not False else 1
        return delta * mask / kept if kept else torch.zeros_like(delta)
