"""What torch's autocast does to the arguments of an operator, done for a rule."""

from __future__ import annotations

from functools import reduce
from typing import Any

import torch
from torch import Tensor

from ..rules.copying import Cast
from . import _call


def cast_arguments(policy: str, device: str, args: tuple) -> tuple:
    """The arguments, with floating point tensors cast as autocast casts those of torch's own function."""
    if policy == "lower":
        dtype = torch.get_autocast_dtype(device)
    elif policy == "float32":
        dtype = torch.float32
    else:
        present = (value.dtype for value in args if _castable(value, device))
        dtype = reduce(torch.promote_types, present, torch.get_autocast_dtype(device))
    return tuple(_cast(value, dtype, device) for value in args)


def _castable(value: Any, device: str) -> bool:
    """Autocast leaves float64, integers and tensors of other devices alone."""
    return (
        isinstance(value, Tensor)
        and value.is_floating_point()
        and value.dtype != torch.float64
        and value.device.type == device
    )


def _cast(value: Any, dtype: torch.dtype, device: str) -> Any:
    if _castable(value, device) and value.dtype != dtype:
        return _call.apply(Cast, (value, dtype))
    return value


def float32_on_cpu(input: Tensor) -> Tensor:
    """The input, cast to float32 under CPU autocast: for the forms of an operator that torch runs in float32 there."""
    if torch.is_autocast_enabled("cpu") and input.device.type == "cpu":
        (input,) = cast_arguments("float32", "cpu", (input,))
    return input
