"""Memory layouts: copies with the layout of the original, and the same values in unusual layouts."""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor


def copied(tensor: Tensor, dtype: torch.dtype | None = None) -> Tensor:
    """A detached copy with the strides and the storage offset of the original, and the values between its elements.

    `clone` would make a slice of a larger tensor contiguous, and give an expanded tensor memory for every element.
    """
    tensor = tensor.detach()
    dtype = tensor.dtype if dtype is None else dtype
    if tensor.layout != torch.strided or type(tensor) not in (Tensor, torch.nn.Parameter) or not tensor.numel():
        return tensor.clone().to(dtype)
    clone = tensor.clone().to(dtype)
    if (clone.stride(), 0) == (tensor.stride(), tensor.storage_offset()) or tensor.is_conj() or tensor.is_neg():
        return clone
    last = tensor.storage_offset() + sum((n - 1) * s for n, s in zip(tensor.shape, tensor.stride(), strict=True))
    window = tensor.as_strided((last + 1,), (1,), 0).clone().to(dtype)
    # not as_strided, which returns a view: the inputs of a layer are rarely views
    return window.new_empty(0).set_(window.untyped_storage(), tensor.storage_offset(), tensor.shape, tensor.stride())


def overlapping(tensor: Tensor) -> bool:
    """Whether several elements share one memory address, as after expand."""
    return any(s == 0 and n > 1 for n, s in zip(tensor.shape, tensor.stride(), strict=True))


def separate(leaf: Tensor) -> Tensor:
    """The leaf, made contiguous where elements share memory: finite differences must change them one by one."""
    return leaf.detach().contiguous().requires_grad_(leaf.requires_grad) if overlapping(leaf) else leaf


def laid_out(tensor: Tensor) -> Iterator[tuple[str, Tensor]]:
    """(name of the layout, the tensor in that layout): the same values, except that "expanded" repeats the first."""
    tensor = tensor.detach().contiguous()
    if not tensor.numel():
        return
    if tensor.dim() >= 2:
        yield "transposed", tensor.transpose(0, -1).contiguous().transpose(0, -1)
    filler = 7 if tensor.dtype != torch.bool else True
    if not tensor.dim():
        yield "sliced", torch.stack([torch.full_like(tensor, filler), tensor])[1]
    else:
        wide = tensor.new_full((tensor.shape[0] + 1, *tensor.shape[1:-1], 2 * tensor.shape[-1] + 1), filler)
        if tensor.dim() == 1:
            wide = tensor.new_full((2 * tensor.shape[0] + 1,), filler)
        cut = wide[1:, ..., 1::2] if tensor.dim() > 1 else wide[1::2]
        yield "sliced", cut.copy_(tensor)
        if tensor.shape[0] > 1:
            yield "expanded (stride 0)", tensor[:1].expand(tensor.shape)
    if tensor.dim() in (4, 5):
        memory_format = torch.channels_last if tensor.dim() == 4 else torch.channels_last_3d
        yield "channels_last", tensor.to(memory_format=memory_format)
