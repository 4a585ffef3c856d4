"""Dropping elements or whole channels at random, with torch's random stream under one seed."""

from __future__ import annotations

import warnings

from torch import Tensor

from .. import rules
from ..engine.rule import Rule
from ..engine.torch_private import transforms_active
from ._call import call, call_in_place, refuse_leaf
from ._errors import check_tensors


def dropout(input: Tensor, p: float = 0.5, training: bool = True, inplace: bool = False) -> Tensor:
    """0 with probability p, else x / (1 - p), as torch.nn.functional.dropout; rule: `mb.rules.Dropout`.

    Outside training, or for p = 0, returns the input itself. Raises ValueError for a p outside [0, 1].
    """
    return _dropped(rules.Dropout, input, p, training, inplace, None)


def dropout1d(input: Tensor, p: float = 0.5, training: bool = True, inplace: bool = False) -> Tensor:
    """`dropout` of whole channels of (N, C, L) or (C, L), as torch.nn.functional.dropout1d."""
    _check_probability(p)
    if input.dim() not in (2, 3):
        raise RuntimeError(f"dropout1d: Expected 2D or 3D input, (C, L) or (N, C, L), but received {input.dim()}D")
    if inplace and input.dim() == 2:
        refuse_leaf(input)  # torch adds the axis N in place first, so it refuses a leaf even if nothing is dropped
    return _dropped(rules.Dropout, input, p, training, inplace, _channels(input, batched=input.dim() == 3))


def dropout2d(input: Tensor, p: float = 0.5, training: bool = True, inplace: bool = False) -> Tensor:
    """`dropout` of whole channels of (N, C, H, W), as torch.nn.functional.dropout2d.

    Like torch's, treats three axes as (N, C, L), and accepts other numbers of axes; both with a warning.
    """
    _check_probability(p)
    if input.dim() == 3:
        warnings.warn("dropout2d: Received a 3D input, taken as (N, C, L); use dropout1d for that", stacklevel=2)
    elif input.dim() != 4:
        warnings.warn(
            f"dropout2d: Received a {input.dim()}-D input, which is deprecated; use dropout for that", stacklevel=2
        )
    return _dropped(rules.Dropout, input, p, training, inplace, _channels(input))


def dropout3d(input: Tensor, p: float = 0.5, training: bool = True, inplace: bool = False) -> Tensor:
    """`dropout` of whole channels of (N, C, D, H, W) or (C, D, H, W), as torch.nn.functional.dropout3d.

    Like torch's, treats other numbers of axes as unbatched, with a warning.
    """
    _check_probability(p)
    if input.dim() not in (4, 5):
        warnings.warn(
            f"dropout3d: Received a {input.dim()}-D input, which is deprecated; use dropout for that", stacklevel=2
        )
    if inplace and input.dim() != 5:
        refuse_leaf(input)  # as in dropout1d
    return _dropped(rules.Dropout, input, p, training, inplace, _channels(input, batched=input.dim() == 5))


def alpha_dropout(input: Tensor, p: float = 0.5, training: bool = False, inplace: bool = False) -> Tensor:
    """SELU's lowest value with probability p, as torch.nn.functional.alpha_dropout; rule: `mb.rules.AlphaDropout`.

    Outside training, or for p = 0, returns the input itself. Raises ValueError for a p outside [0, 1].
    """
    return _dropped(rules.AlphaDropout, input, p, training, inplace, None)


def feature_alpha_dropout(input: Tensor, p: float = 0.5, training: bool = False, inplace: bool = False) -> Tensor:
    """`alpha_dropout` of whole channels of (N, C, *), as torch.nn.functional.feature_alpha_dropout."""
    _check_probability(p)
    return _dropped(rules.AlphaDropout, input, p, training, inplace, _channels(input))


def _dropped(
    rule: type[Rule], input: Tensor, p: float, training: bool, inplace: bool, mask_shape: tuple[int, ...] | None
) -> Tensor:
    check_tensors("dropout", input=input)
    _check_probability(p)
    if not training or p == 0 or not input.numel():
        return input
    if mask_shape == () and p == 1:
        mask_shape = None  # nothing is drawn for p = 1, as in torch, so no channel axis is needed
    elif mask_shape == ():
        raise RuntimeError("Feature dropout requires at least 2 dimensions in the input")
    if p < 1 and not (input.is_floating_point() or input.is_complex()):
        raise RuntimeError(
            f"result type Float can't be cast to {input.dtype}: dropout scales its input by 1 / (1 - p); pass "
            "input.float()"
        )
    if mask_shape is None and (inplace if input.is_cuda else transforms_active()):
        # To draw as torch does: in place on CUDA torch does not use its fused dropout, which draws other numbers. On
        # the CPU it draws in the order of the axes under transforms, otherwise in the order of the memory.
        mask_shape = input.shape
    return (call_in_place if inplace else call)(rule, input, p, mask_shape)[0]


def _check_probability(p: float) -> None:
    if p < 0.0 or p > 1.0:
        raise ValueError(f"dropout probability has to be between 0 and 1, but got {p}")


def _channels(input: Tensor, batched: bool = True) -> tuple[int, ...]:
    """The shape of one choice per channel; () where there are no channels."""
    axes = 2 if batched else 1
    return (*input.shape[:axes], *(1,) * (input.dim() - axes)) if input.dim() >= axes else ()
