"""Elementwise combinations of three tensors: lerp, addcmul, addcdiv. Each delta is summed over broadcast axes."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from ..engine.rule import Rule
from .arithmetic import conj

PROMOTE = {"cuda": "promote"}


class Lerp(Rule):
    """y = a + w (b - a)

    input a, end b (*, broadcast)   weight w (*, broadcast) or number   output, delta (*)

    delta_input = (1 - w) delta     delta_end = w delta     delta_weight = (b - a) delta

    Source: Griewank, Walther 2008, "Evaluating Derivatives", table of elemental adjoints.
    """

    operator = "lerp"
    elementwise = True
    broadcasts = True
    upcast = True

    def forward(input: Tensor, end: Tensor, weight: Any) -> Tensor:
        return torch.lerp(input, end, weight)

    def delta_input(delta: Tensor, weight: Any) -> Tensor:
        return delta * conj(1 - weight)

    def delta_end(delta: Tensor, weight: Any) -> Tensor:
        return delta * conj(weight)

    def delta_weight(delta: Tensor, input: Tensor, end: Tensor) -> Tensor:
        return delta * conj(end - input)


class AddCMul(Rule):
    """y = x + c a b

    input x, tensor1 a, tensor2 b (*, broadcast)   value c number   output, delta (*)

    delta_input = delta     delta_tensor1 = c b delta     delta_tensor2 = c a delta

    Source: Griewank, Walther 2008, "Evaluating Derivatives", table of elemental adjoints.
    """

    operator = "addcmul"
    elementwise = True
    broadcasts = True
    upcast = True
    autocast = PROMOTE

    def forward(input: Tensor, tensor1: Tensor, tensor2: Tensor, value: Any) -> Tensor:
        return torch.addcmul(input, tensor1, tensor2, value=value)

    def delta_input(delta: Tensor) -> Tensor:
        return delta

    def delta_tensor1(delta: Tensor, tensor2: Tensor, value: Any) -> Tensor:
        return delta * conj(value * tensor2)

    def delta_tensor2(delta: Tensor, tensor1: Tensor, value: Any) -> Tensor:
        return delta * conj(value * tensor1)


class AddCDiv(Rule):
    """y = x + c a / b

    input x, tensor1 a, tensor2 b (*, broadcast)   value c number   output, delta (*)

    delta_input = delta     delta_tensor1 = c / b delta     delta_tensor2 = -c a / b^2 delta

    Source: Griewank, Walther 2008, "Evaluating Derivatives", table of elemental adjoints.
    """

    operator = "addcdiv"
    elementwise = True
    broadcasts = True
    upcast = True
    autocast = PROMOTE

    def forward(input: Tensor, tensor1: Tensor, tensor2: Tensor, value: Any) -> Tensor:
        return torch.addcdiv(input, tensor1, tensor2, value=value)

    def delta_input(delta: Tensor) -> Tensor:
        return delta

    def delta_tensor1(delta: Tensor, tensor2: Tensor, value: Any) -> Tensor:
        return delta * conj(value / tensor2)

    def delta_tensor2(delta: Tensor, tensor1: Tensor, tensor2: Tensor, value: Any) -> Tensor:
        return -delta * conj(value * tensor1 / (tensor2 * tensor2))
