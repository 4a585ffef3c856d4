"""The lines of a step as a CUDA graph: launched as a whole, with inputs and targets copied into its own memory."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor



class Captured:
    """A function of tensors on a GPU, captured at its first call. What it returns lies in the graph's memory: the next
    call overwrites it."""

    def __init__(self, function: Callable[..., tuple[Tensor, ...]]) -> None:
        self.function = function
        self.graph: torch.cuda.CUDAGraph | None = None
        self.given: list[Tensor] = []
        self.found: tuple[Tensor, ...] = ()

    def __call__(self, tensors: list[Tensor]) -> tuple[Tensor, ...]:
        if self.graph is None:
            return self.capture(tensors)
        for own, new in zip(self.given, tensors, strict=True):
            own.copy_(new)
        self.graph.replay()
        return (self.found[0].clone(), *self.found[1:])

    def capture(self, tensors: list[Tensor]) -> tuple[Tensor, ...]:
        """Run it as it is, and capture it for the next calls."""
        self.given = [tensor.clone() for tensor in tensors]
        found = self.function(*self.given)
        stream = torch.cuda.Stream()
        stream.wait_stream(torch.cuda.current_stream())
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.stream(stream):
            graph.capture_begin()
            try:
                self.found = self.function(*self.given)
            finally:
                graph.capture_end()
        torch.cuda.current_stream().wait_stream(stream)
        self.graph = graph
        return found
