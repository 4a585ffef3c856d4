"""The lines of a step as a CUDA graph. Each call copies inputs and targets into the graph's memory and launches it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor


class Captured:
    """A function of tensors on a GPU, captured at its first call. It returns copies, since the next call overwrites the
    graph's own memory."""

    def __init__(self, function: Callable[..., tuple[Any, ...]]) -> None:
        self.function = function
        self.graph: torch.cuda.CUDAGraph | None = None
        self.given: list[Tensor] = []
        self.found: tuple[Any, ...] = ()

    def __call__(self, tensors: list[Tensor]) -> tuple[Any, ...]:
        if self.graph is None:
            return self.capture(tensors)
        for own, new in zip(self.given, tensors, strict=True):
            own.copy_(new)
        self.graph.replay()
        return tuple([None if part is None else part.clone() for part in self.found])

    def capture(self, tensors: list[Tensor]) -> tuple[Any, ...]:
        """Run the function once without a graph, then capture it for the next calls."""
        self.given = [tensor.clone() for tensor in tensors]
        found = self.function(*self.given)
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(graph):
            self.found = self.function(*self.given)
        self.graph = graph
        return found
