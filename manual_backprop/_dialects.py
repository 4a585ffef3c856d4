"""Functions of torch whose name or arguments differ from those of `mb.functional`: for `explicit`.

Each function here takes the arguments of the torch function or method that it replaces.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor

from . import functional as F
from . import rules
from .engine.torch_private import share_storage, transforms_active, unwrapped
from .functional._call import call_in_place

# Function of mb.functional -> other names that torch has for it, with the same arguments.
ALIASES = {
    "add": ("__add__", "__radd__"),
    "sub": ("subtract", "__sub__"),
    "mul": ("multiply", "__mul__", "__rmul__"),
    "div": ("divide", "true_divide", "__truediv__"),
    "matmul": ("linalg.matmul", "__matmul__"),
    "cat": ("concat", "concatenate"),
    "sigmoid": ("special.expit",),
}


AS_OPERATORS = frozenset(
    (
        "amax", "amin", "aminmax", "channel_shuffle", "cummax", "cummin", "cumprod", "cumsum", "diag_embed",
        "diagonal_scatter", "dist", "dot", "index_add", "index_copy", "index_fill", "index_reduce", "index_select",
        "kthvalue", "logcumsumexp", "logsumexp", "masked_scatter", "masked_select", "mode", "nansum", "pixel_shuffle",
        "pixel_unshuffle", "put", "scatter_add", "scatter_reduce", "select_scatter", "slice_scatter", "take",
        "topk", "trace", "tril", "triu", "vdot",
    )
)  # fmt: skip
"""Functions of operators that torch's function of that name passes its arguments to as they are."""


def lost_arguments(function: Callable[..., Any], kwargs: dict[str, Any]) -> dict[str, Any]:
    """The keywords of a call of l1_loss with its `weight`, which torch does not pass on to function modes.

    The weight is read from the frame of torch's function, which is still running.
    """
    if torch.compiler.is_compiling():
        return kwargs
    frame = inspect.currentframe()
    while frame is not None and frame.f_code is not function.__code__:
        frame = frame.f_back
    weight = None if frame is None else frame.f_locals.get("weight")
    return kwargs if weight is None else {**kwargs, "weight": weight}


def subtracted_from(input: Tensor, other: Any, *, alpha: float = 1) -> Tensor:
    return F.sub(other, input, alpha=alpha)


def divided_by(input: Tensor, other: Any) -> Tensor:
    return F.div(other, input)


def negative(input: Tensor) -> Tensor:
    return F.mul(input, -1)


# mm, bmm and mv accept one number of axes only. For others torch's own function raises the error.
def mm(input: Tensor, mat2: Tensor) -> Tensor:
    return F.matmul(input, mat2) if (input.dim(), mat2.dim()) == (2, 2) else torch.mm(input, mat2)


def bmm(input: Tensor, mat2: Tensor) -> Tensor:
    return F.matmul(input, mat2) if (input.dim(), mat2.dim()) == (3, 3) else torch.bmm(input, mat2)


def mv(input: Tensor, vec: Tensor) -> Tensor:
    if (input.dim(), vec.dim()) != (2, 1):
        return torch.mv(input, vec)
    if input.device.type != "cpu":
        return F.matmul(input, vec)
    with torch.autocast("cpu", enabled=False):  # on the CPU, autocast casts the inputs of matmul but not of mv
        return F.matmul(input, vec)


# beta and alpha are keywords only: given by position, they are those of an old form, with beta before the tensors
def addmm(input: Tensor, mat1: Tensor, mat2: Tensor, *, beta: float = 1, alpha: float = 1) -> Tensor:
    return F.addmm(input, mat1, mat2, beta, alpha)


def addbmm(input: Tensor, batch1: Tensor, batch2: Tensor, *, beta: float = 1, alpha: float = 1) -> Tensor:
    return F.addbmm(input, batch1, batch2, beta, alpha)


def baddbmm(input: Tensor, batch1: Tensor, batch2: Tensor, *, beta: float = 1, alpha: float = 1) -> Tensor:
    return F.baddbmm(input, batch1, batch2, beta, alpha)


def addmv(input: Tensor, mat: Tensor, vec: Tensor, *, beta: float = 1, alpha: float = 1) -> Tensor:
    return F.addmv(input, mat, vec, beta, alpha)


def addr(input: Tensor, vec1: Tensor, vec2: Tensor, *, beta: float = 1, alpha: float = 1) -> Tensor:
    return F.addr(input, vec1, vec2, beta, alpha)


def square(input: Tensor) -> Tensor:
    return F.pow(input, 2)


def flip(input: Tensor, *dims: Any) -> Tensor:
    return F.flip(input, _listed(dims))


def repeat(input: Tensor, *repeats: Any) -> Tensor:
    return F.repeat(input, _listed(repeats))


def _listed(given: tuple) -> Any:
    """Numbers that a method received as one list, or one by one."""
    return given[0] if len(given) == 1 and isinstance(given[0], (list, tuple)) else given


def roll(input: Tensor, shifts: Any, dims: Any = ()) -> Tensor:
    return F.roll(input, _listed((shifts,)), _listed((dims,)))


def where(condition: Tensor, input: Any, other: Any) -> Tensor:
    return F.where(condition, input, other)


def kept_where(input: Tensor, condition: Tensor, other: Any) -> Tensor:
    return F.where(condition, input, other)


def var(
    input: Tensor, dim: Any = None, unbiased: bool = True, keepdim: bool = False, *, correction: float | None = None
) -> Tensor:
    return _spread(F.var, input, dim, unbiased, keepdim, correction)


def std(
    input: Tensor, dim: Any = None, unbiased: bool = True, keepdim: bool = False, *, correction: float | None = None
) -> Tensor:
    return _spread(F.std, input, dim, unbiased, keepdim, correction)


def _spread(function: Any, input: Tensor, dim: Any, unbiased: bool, keepdim: bool, correction: float | None) -> Tensor:
    if isinstance(dim, bool):  # var(input, unbiased)
        dim, unbiased = None, dim
    return function(input, dim, correction if unbiased else 0, keepdim)


def stack(tensors: Sequence[Tensor], dim: int = 0) -> Tensor:
    return F.cat([torch.unsqueeze(tensor, dim) for tensor in tensors], dim)


def softmax(input: Tensor, dim: int, dtype: torch.dtype | None = None) -> Tensor:
    return F.softmax(input, dim, dtype=dtype)


def log_softmax(input: Tensor, dim: int, dtype: torch.dtype | None = None) -> Tensor:
    return F.log_softmax(input, dim, dtype=dtype)


def dropout(input: Tensor, p: float, train: bool) -> Tensor:
    return F.dropout(input, p, train)


def dropout_(input: Tensor, p: float, train: bool) -> Tensor:
    return F.dropout(input, p, train, inplace=True)


def alpha_dropout(input: Tensor, p: float, train: bool) -> Tensor:
    return F.alpha_dropout(input, p, train)


def alpha_dropout_(input: Tensor, p: float, train: bool) -> Tensor:
    return F.alpha_dropout(input, p, train, inplace=True)


def batch_norm(
    input: Tensor, weight: Any, bias: Any, running_mean: Any, running_var: Any, training: bool, momentum: float,
    eps: float, cudnn_enabled: bool,
) -> Tensor:  # fmt: skip
    return F.batch_norm(input, running_mean, running_var, weight, bias, training, momentum, eps)


def embedding(
    weight: Tensor, indices: Tensor, padding_idx: int = -1, scale_grad_by_freq: bool = False, sparse: bool = False
) -> Tensor:
    return F.embedding(indices, weight, None if padding_idx < 0 else padding_idx, None, 2.0, scale_grad_by_freq, sparse)


def layer_norm(
    input: Tensor, normalized_shape: Sequence[int], weight: Any = None, bias: Any = None, eps: float = 1e-5,
    cudnn_enable: bool = True,
) -> Tensor:  # fmt: skip
    return F.layer_norm(input, normalized_shape, weight, bias, eps)


def group_norm(
    input: Tensor, num_groups: int, weight: Any = None, bias: Any = None, eps: float = 1e-5, cudnn_enabled: bool = True
) -> Tensor:
    return F.group_norm(input, num_groups, weight, bias, eps)


def _category(value: Any) -> int:
    """0 bool, 1 integer, 2 real, 3 complex. In place, the other operand's category must not be above the tensor's."""
    if isinstance(value, Tensor):
        if value.is_complex():
            return 3
        return 2 if value.is_floating_point() else 1 if value.dtype != torch.bool else 0
    return 3 if isinstance(value, complex) else 2 if isinstance(value, float) else 0 if isinstance(value, bool) else 1


def _overlap_in_part(one: Tensor, other: Tensor) -> bool:
    """Whether two dense tensors share memory, but not all of it in the same order: ATen refuses such operands."""
    if one is other or torch.compiler.is_compiling():
        return False
    if transforms_active():
        one, other = unwrapped(one), unwrapped(other)
    if not share_storage(one, other):
        return False
    ranges = []
    for tensor in (one, other):
        begin, steps = tensor.storage_offset(), zip(tensor.shape, tensor.stride(), strict=True)
        end = begin + 1 + sum([(size - 1) * stride for size, stride in steps])
        if not tensor.numel() or end - begin != tensor.numel():
            return False
        ranges.append((begin, end))
    (begin, end), (other_begin, other_end) = ranges
    if ranges[0] == ranges[1]:
        return one.stride() != other.stride()
    return bool(begin < other_end and other_begin < end)


def _written(rule: Any, theirs: Callable[..., Tensor], input: Tensor, other: Any, **alpha: Any) -> Tensor:
    """Arithmetic in place of its first operand. Torch's function raises the error for shapes and dtypes that torch
    refuses; autocast is off, since torch does not cast in-place arithmetic."""
    shape = torch.broadcast_shapes(input.shape, other.shape) if isinstance(other, Tensor) else input.shape
    refused = shape != input.shape or _category(other) > _category(input)
    if refused or (isinstance(other, Tensor) and _overlap_in_part(input, other)):
        return theirs(input, other, **alpha)
    if input.device.type == "meta":  # torch.autocast does not accept this device
        return call_in_place(rule, input, other, *alpha.values())
    with torch.autocast(input.device.type, enabled=False):
        return call_in_place(rule, input, other, *alpha.values())


# written one by one instead of made in a loop: torch.compile confuses closures that share their source text
def add_(input: Tensor, other: Any, *, alpha: float = 1) -> Tensor:
    return _written(rules.Add, Tensor.add_, input, other, alpha=alpha)


def sub_(input: Tensor, other: Any, *, alpha: float = 1) -> Tensor:
    return _written(rules.Sub, Tensor.sub_, input, other, alpha=alpha)


def mul_(input: Tensor, other: Any) -> Tensor:
    return _written(rules.Mul, Tensor.mul_, input, other)


def div_(input: Tensor, other: Any) -> Tensor:
    return _written(rules.Div, Tensor.div_, input, other)


def sigmoid_(input: Tensor) -> Tensor:
    return call_in_place(rules.Sigmoid, input)


def tanh_(input: Tensor) -> Tensor:
    return call_in_place(rules.Tanh, input)


SPELLED_OUT: dict[str, Callable[..., Tensor]] = {
    **dict.fromkeys(("__rsub__", "rsub"), subtracted_from),
    **dict.fromkeys(("__rdiv__", "__rtruediv__"), divided_by),
    **dict.fromkeys(("neg", "negative", "__neg__"), negative),
    **dict.fromkeys(("add_", "__iadd__"), add_),
    **dict.fromkeys(("sub_", "subtract_", "__isub__"), sub_),
    **dict.fromkeys(("mul_", "multiply_", "__imul__"), mul_),
    **dict.fromkeys(("div_", "divide_", "true_divide_", "__itruediv__"), div_),
    "mm": mm,
    "bmm": bmm,
    "mv": mv,
    "addmm": addmm,
    "addbmm": addbmm,
    "baddbmm": baddbmm,
    "addmv": addmv,
    "addr": addr,
    "square": square,
    "flip": flip,
    "repeat": repeat,
    "roll": roll,
    "var": var,
    "std": std,
    "stack": stack,
    "sigmoid_": sigmoid_,
    "tanh_": tanh_,
    **dict.fromkeys(("softmax", "special.softmax"), softmax),
    **dict.fromkeys(("log_softmax", "special.log_softmax"), log_softmax),
    "dropout": dropout,
    "dropout_": dropout_,
    "alpha_dropout": alpha_dropout,
    "alpha_dropout_": alpha_dropout_,
    "batch_norm": batch_norm,
    "embedding": embedding,
    "layer_norm": layer_norm,
    "group_norm": group_norm,
}  # fmt: skip

ONE_BY_ONE: dict[Callable[..., Any], Callable[..., Tensor]] = {torch.where: where, Tensor.where: kept_where}
"""The same for a function and a method of one name whose arguments differ."""
