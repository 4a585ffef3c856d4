"""The backward of torch's views and copies: each element's delta goes back to where the element came from.

Each function takes the backward node, which has the arguments of the view, and the deltas of the view's results. It
calls functions of torch, which are recorded as they run.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from .._nodes import name_of
from ..engine.torch_private import input_metadata
from ..errors import BadInput
from .tape import EDITED


def undone(node: Any, deltas: list[Tensor | None]) -> tuple[Tensor | None, ...]:
    """The deltas of a view's inputs."""
    name = name_of(node).removeprefix("torch::autograd::").split("Backward")[0]
    function = UNDO.get(name)
    if function is None:
        raise BadInput(f"{EDITED}. got: {name_of(node)}")
    found: Any = function(node, *(deltas if function in SEVERAL else deltas[:1]))
    return found if isinstance(found, tuple) else (found,)


def reshaped(node: Any, delta: Tensor) -> Tensor:
    shape = tuple(node._saved_self_sym_sizes)
    return delta if delta.shape == shape else delta.reshape(shape)


def transposed(node: Any, delta: Tensor) -> Tensor:
    return delta.transpose(_signed(node._saved_dim0), _signed(node._saved_dim1))


def permuted(node: Any, delta: Tensor) -> Tensor:
    dims = [_signed(d) % delta.dim() for d in node._saved_dims]
    return delta.permute([dims.index(k) for k in range(len(dims))])


def expanded(node: Any, delta: Tensor) -> Tensor:
    shape = tuple(node._saved_self_sym_sizes)
    return delta if delta.shape == shape else delta.sum_to_size(shape)


def _signed(number: int) -> int:
    """A number from a node, which has negative numbers as unsigned ones."""
    return number - 2**64 if number >= 2**63 else number


def sliced(node: Any, delta: Tensor) -> Tensor:
    shape = tuple(node._saved_self_sym_sizes)
    dim = _signed(node._saved_dim) % len(shape)
    start, end = (
        _signed(node._saved_start or 0),
        _signed(node._saved_end if node._saved_end is not None else shape[dim]),
    )
    start, end = (min(max(edge + shape[dim] if edge < 0 else edge, 0), shape[dim]) for edge in (start, end))
    whole = delta.new_zeros(shape)
    whole[(slice(None),) * dim + (slice(start, end, node._saved_step if node._saved_step != 1 else None),)] = delta
    return whole


def narrowed(node: Any, delta: Tensor) -> Tensor:
    shape = tuple(node._saved_self_sym_sizes)
    dim, start = _signed(node._saved_dim) % len(shape), _signed(node._saved_start)
    whole = delta.new_zeros(shape)
    whole[(slice(None),) * dim + (slice(start, start + _signed(node._saved_length)),)] = delta
    return whole


def selected(node: Any, delta: Tensor) -> Tensor:
    shape = tuple(node._saved_self_sym_sizes)
    dim = _signed(node._saved_dim) % len(shape)
    whole = delta.new_zeros(shape)
    whole[(slice(None),) * dim + (_signed(node._saved_index) % shape[dim],)] = delta
    return whole


def put_together(node: Any, *deltas: Tensor | None) -> Tensor:
    """The backward of split, chunk and unbind."""
    if name_of(node).startswith("Unbind"):
        like = next(delta for delta in deltas if delta is not None)
        count = len(input_metadata(node))
        every = [*deltas, *[None] * (count - len(deltas))]
        parts = [torch.zeros_like(like) if delta is None else delta for delta in every]
        return torch.stack(parts, _signed(node._saved_dim))
    shape = tuple(node._saved_self_sym_sizes)
    dim = _signed(node._saved_dim) % len(shape)
    if hasattr(node, "_saved_split_sizes"):
        sizes = [_signed(size) for size in node._saved_split_sizes]
    else:
        size = _signed(node._saved_split_size)
        sizes = [min(size, shape[dim] - at) for at in range(0, shape[dim], size)] or [0]
    like = next(delta for delta in deltas if delta is not None)
    parts = []
    for k, size in enumerate(sizes):
        delta = deltas[k] if k < len(deltas) else None
        parts.append(like.new_zeros((*shape[:dim], size, *shape[dim + 1 :])) if delta is None else delta)
    return torch.cat(parts, dim)


def squeezed(node: Any, delta: Tensor) -> Tensor:
    return delta.reshape(tuple(node._saved_self_sym_sizes))


def unsqueezed(node: Any, delta: Tensor) -> Tensor:
    return delta.squeeze(_signed(node._saved_dim))


def on_diagonal(node: Any, delta: Tensor) -> Tensor:
    shape = tuple(node._saved_self_sym_sizes)
    offset, dim1, dim2 = (_signed(n) for n in (node._saved_offset, node._saved_dim1, node._saved_dim2))
    return delta.new_zeros(shape).diagonal_scatter(delta, offset, dim1, dim2)


def strided(node: Any, delta: Tensor) -> Tensor:
    """Refuse torch.as_strided: elements of its view may share memory, and their deltas would have to be summed."""
    geometry = node._saved_self_geometry if hasattr(node, "_saved_self_geometry") else None
    raise BadInput(f"torch.as_strided cannot be written out. got: {geometry}. expected: slices and reshapes")


def unfolded(node: Any, delta: Tensor) -> Tensor:
    """y[..., k, ..., j] = x[..., step k + j, ...]: windows may overlap, so their deltas are summed."""
    shape = tuple(node._saved_self_sym_sizes)
    dim, size, step = _signed(node._saved_dimension) % max(len(shape), 1), node._saved_size, node._saved_step
    if not shape:
        return delta.reshape(())
    whole = delta.new_zeros(shape)
    windows = delta.shape[dim]
    for j in range(size):
        whole[(slice(None),) * dim + (slice(j, j + (windows - 1) * step + 1, step),)] += delta[..., j]
    return whole


def cast(node: Any, delta: Tensor) -> Tensor:
    metadata = node.next_functions[0][0]
    dtype = _dtype_of(metadata, node.next_functions[0][1]) or delta.dtype
    delta = delta.real if delta.is_complex() and not dtype.is_complex else delta
    return delta.to(dtype)


def copied(node: Any, delta: Tensor) -> tuple[Tensor | None, ...]:
    """The backward of `input.copy_(value)`: the old content gets no delta, the value gets all of it."""
    if len(node.next_functions) < 2:
        return (cast(node, delta),)
    parent, nr = node.next_functions[1]
    if parent is None:
        return None, None
    like = parent.variable if hasattr(parent, "variable") else input_metadata(parent)[nr]
    delta = delta if delta.shape == like.shape else delta.sum_to_size(tuple(like.shape))
    return None, delta.to(like.dtype)


def _dtype_of(node: Any, nr: int) -> torch.dtype | None:
    """The dtype of what a node returned."""
    if node is None:
        return None
    if hasattr(node, "variable"):
        found: torch.dtype = node.variable.dtype
        return found
    metadata: torch.dtype = input_metadata(node)[nr].dtype
    return metadata


def same(node: Any, delta: Tensor) -> Tensor:
    return delta


def as_real(node: Any, delta: Tensor) -> Tensor:
    return torch.view_as_real(delta.resolve_conj())


def as_complex(node: Any, delta: Tensor) -> Tensor:
    return torch.view_as_complex(delta.contiguous())


def conjugated(node: Any, delta: Tensor) -> Tensor:
    return delta.conj()


UNDO: dict[str, Callable[..., Any]] = {
    "Alias": same, "Clone": same, "LiftFresh": same, "ToCopy": cast, "CopyBackwards": copied, "Copy": copied,
    "View": reshaped, "UnsafeView": reshaped, "ReshapeAlias": reshaped, "ReshapeCopy": reshaped,
    "T": lambda node, delta: delta.T, "Transpose": transposed, "Permute": permuted, "Expand": expanded,
    "Slice": sliced, "NarrowCopy": narrowed, "Select": selected, "Squeeze": squeezed, "Unsqueeze": unsqueezed,
    "Split": put_together, "SplitWithSizes": put_together, "UnsafeSplit": put_together,
    "UnsafeSplitWithSizes": put_together, "Unbind": put_together, "Diagonal": on_diagonal, "Unfold": unfolded,
    "ViewAsComplex": as_real, "ViewAsReal": as_complex, "Conj": conjugated, "AsStrided": strided,
}  # fmt: skip
"""Name of torch's node, without "Backward" and the number after it -> its backward."""

SEVERAL = (put_together,)
