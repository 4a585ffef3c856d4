"""Writes calls of torch as source. Two modes record them: as Python functions, and as the dispatcher's operators."""

from __future__ import annotations

import inspect
import types
from typing import Any

import torch
from torch import Tensor
from torch.overrides import TorchFunctionMode, resolve_name

from ..engine.torch_private import OPERATORS, QuickDispatchMode, spelled
from ..errors import BadInput
from .tape import Operand, Part, ShapeOf, Tape, Value, literal

INFIX = {
    "add": "+", "sub": "-", "mul": "*", "div": "/", "true_divide": "/", "floordiv": "//", "pow": "**", "matmul": "@",
    "mm": "@", "bmm": "@", "eq": "==", "ne": "!=", "lt": "<", "le": "<=", "gt": ">", "ge": ">=", "and": "&", "or": "|",
    "xor": "^", "truediv": "/", "mod": "%", "subtract": "-", "multiply": "*",
}  # fmt: skip
PREFIX = {"neg": "-", "invert": "~", "bitwise_not": "~", "logical_not": "~", "negative": "-"}
NONE = ("out", "dtype", "size_average", "reduce", "generator")
"""Arguments that are left out where they are None."""
SHAPED = ("reshape", "sum_to_size")
"""Methods whose only argument is a shape."""
LAYOUT = ("layout", "device", "pin_memory", "non_blocking", "memory_format")


def operand(tape: Tape, value: Any) -> list[Part]:
    parts = tape.written(value)
    if len(parts) == 1 and isinstance(parts[0], Value):
        return [Operand(parts[0])]
    return parts


def base(tape: Tape, value: Any, operator: str) -> list[Part]:
    """The left operand of an operator: a negative number before ** gets parentheses."""
    parts = operand(tape, value)
    negative = len(parts) == 1 and isinstance(parts[0], str) and parts[0].startswith("-")
    return ["(", *parts, ")"] if negative and operator == "**" else parts


def index(tape: Tape, item: Any) -> list[Part]:
    """The source between [ and ]."""
    if isinstance(item, tuple) and item:
        parts: list[Part] = []
        for one in item:
            parts += [", ", *index(tape, one)]
        return parts[1:] + [","] * (len(item) == 1)
    if isinstance(item, slice):
        start, stop, step = ("" if edge is None else literal(edge) for edge in (item.start, item.stop, item.step))
        return [f"{start}:{stop}" + (f":{step}" if step else "")]
    return tape.written(item)


class Functions(TorchFunctionMode):
    """Records each function of torch that Python calls, by its name."""

    def __init__(self, tape: Tape) -> None:
        super().__init__()
        self.tape = tape

    def __torch_function__(self, func: Any, types: Any, args: tuple = (), kwargs: dict | None = None) -> Any:
        kwargs = kwargs or {}
        output = func(*args, **kwargs)
        if self.tape.paused:
            return output
        name = getattr(func, "__name__", "")
        effect = (
            kwargs.get("out") is not None
            or name in ("__setitem__", "__set__")
            or (name.endswith("_") and name[-2:] != "__")
        )
        effect = effect or name in ("__iadd__", "__isub__", "__imul__", "__itruediv__", "__iand__", "__ior__")
        outputs = output if isinstance(output, (tuple, list)) else (output,)
        if effect or any(isinstance(o, Tensor) for o in outputs):
            parts, infix = self.spelled(func, name, args, kwargs)
            out = self.tape.find(kwargs["out"]) if isinstance(kwargs.get("out"), Tensor) else None
            self.tape.add(parts, output, infix=infix, effect=effect, writes=[] if out is None else [out])
        return output

    def spelled(self, func: Any, name: str, args: tuple, kwargs: dict[str, Any]) -> tuple[list[Part], bool]:
        """The expression, and whether it is an operator with operands and may need parentheses."""
        tape = self.tape
        kwargs = {k: v for k, v in kwargs.items() if v is not None or k not in NONE}
        plain = name.strip("_") if name.startswith("__") else name
        if name == "__get__":
            return [*operand(tape, args[0]), f".{func.__self__.__name__}"], False
        if name == "__set__":
            return [*operand(tape, args[0]), f".{func.__self__.__name__} = ", *tape.written(args[1])], False
        if name == "__getitem__":
            return [*operand(tape, args[0]), "[", *index(tape, args[1]), "]"], False
        if name == "__setitem__":
            return [*operand(tape, args[0]), "[", *index(tape, args[1]), "] = ", *tape.written(args[2])], False
        if name.startswith("__i") and plain[1:] in INFIX:
            return [*operand(tape, args[0]), f" {INFIX[plain[1:]]}= ", *tape.written(args[1])], False
        if plain in PREFIX and len(args) == 1 and not kwargs:
            return [PREFIX[plain], *operand(tape, args[0])], True
        if len(args) == 2 and not kwargs and (plain in INFIX or (name.startswith("__r") and plain[1:] in INFIX)):
            left, right = args if plain in INFIX else args[::-1]
            sign = INFIX.get(plain) or INFIX[plain[1:]]
            return [*base(tape, left, sign), f" {sign} ", *operand(tape, right)], True
        if name in ("rsub", "__rpow__"):
            sign = "-" if name == "rsub" else "**"
            return [*base(tape, args[1], sign), f" {sign} ", *operand(tape, args[0])], True
        if isinstance(func, OPERATORS):
            return [f"torch.ops.{func}(", *tape.arguments(args, kwargs), ")"], False
        path = spelled(resolve_name(func) or f"torch.{name}")
        if path.startswith("torch.Tensor."):
            like = next((v for v in tape.hints if args[1:] == (v.shape,)), None) if name in SHAPED else None
            if like is not None:
                return [*operand(tape, args[0]), f".{name}(", ShapeOf(like, like.shape), ")"], False
            return [*operand(tape, args[0]), f".{name}(", *tape.arguments(args[1:], kwargs), ")"], False
        path = path.replace("torch.nn.functional.", "F.")
        args, kwargs = told(func, args, kwargs)
        return [f"{path}(", *tape.arguments(args, kwargs), ")"], False


RESHAPED_IN_PLACE = ("transpose_", "t_", "squeeze_", "unsqueeze_", "swapaxes_", "swapdims_", "as_strided_", "resize_")


class Operators(QuickDispatchMode):
    """Records each operator that the dispatcher gets outside of rules."""

    def __init__(self, tape: Tape) -> None:
        super().__init__()
        self.tape = tape
        self.paused = 0
        self.numbers: list[str] = []
        """Where Python read a number from a tensor, on which it may have branched."""

    def __torch_dispatch__(self, func: Any, types: Any, args: tuple = (), kwargs: dict | None = None) -> Any:
        kwargs = kwargs or {}
        if not self.paused and func._schema.name.removeprefix("aten::") in RESHAPED_IN_PLACE:
            raise BadInput(
                f"{func._schema.name} changes the shape of a tensor in place, which cannot be written out. expected: a "
                "new view, such as y = x.transpose(0, 1)"
            )
        output = func(*args, **kwargs)
        if self.paused or func.namespace not in ("aten", "prims", "torchvision"):
            return output
        name = func._schema.name.partition("::")[2]
        if name.endswith("local_scalar_dense"):
            self.numbers.append(self.tape.owner)
        outputs = output if isinstance(output, (tuple, list)) else (output,)
        effect = func._schema.is_mutable and not name.startswith("set_")
        if name == "lift_fresh":
            self.tape.value(args[0])
        elif effect or any(isinstance(o, Tensor) for o in outputs):
            parts, infix = self.spelled(func, name, args, kwargs)
            self.tape.add(parts, output, infix=infix, effect=effect, writes=self.written(func, args, kwargs))
        return output

    def written(self, func: Any, args: tuple, kwargs: dict[str, Any]) -> list[Value]:
        """The tensors that an operator writes into, according to its schema."""
        places = [(k, a.name) for k, a in enumerate(func._schema.arguments) if a.alias_info and a.alias_info.is_write]
        given = [args[k] if k < len(args) else kwargs.get(name) for k, name in places]
        found = [self.tape.find(tensor) for tensor in given if isinstance(tensor, Tensor)]
        return [value for value in found if value is not None]

    def spelled(self, func: Any, name: str, args: tuple, kwargs: dict[str, Any]) -> tuple[list[Part], bool]:
        tape = self.tape
        kwargs = {k: v for k, v in kwargs.items() if v is not None and not (k in LAYOUT and not _told(v))}
        bare = name.lstrip("_")
        if len(args) == 2 and not kwargs and name in INFIX:
            return [*base(tape, args[0], INFIX[name]), f" {INFIX[name]} ", *operand(tape, args[1])], True
        if name in PREFIX and name != "logical_not" and not kwargs:
            return [PREFIX[name], *operand(tape, args[0])], True
        if name == "select":
            return [*operand(tape, args[0]), f"[{':, ' * (args[1] % args[0].dim())}{args[2]}]"], False
        if name == "slice":
            preset: list[Any] = [0, None, None, 1]
            dim, start, stop, step = [*args[1:], *preset[len(args) - 1 :]]
            stop = None if stop is None or stop >= args[0].shape[dim] else stop
            edges = f"{start or ''}:{'' if stop is None else stop}{f':{step}' if step != 1 else ''}"
            return [*operand(tape, args[0]), f"[{':, ' * (dim % args[0].dim())}{edges}]"], False
        if name == "t":
            return [*operand(tape, args[0]), ".T"], False
        if bare == "to_copy" and set(kwargs) == {"dtype"}:
            return [*operand(tape, args[0]), f".to({literal(kwargs['dtype'])})"], False
        if bare in METHODS and isinstance(args[0], Tensor):
            if name == "view" and isinstance(args[1], torch.dtype):
                return [*operand(tape, args[0]), f".view({args[1]})"], False
            method = {
                "view": "reshape",
                "unsafe_view": "reshape",
                "reshape_alias": "reshape",
                "split_with_sizes": "split",
            }.get(bare, bare)
            return [*operand(tape, args[0]), f".{method}(", *tape.arguments(args[1:], kwargs), ")"], False
        if name in FACTORIES:
            return [f"torch.{name}(", *tape.arguments(args, kwargs), ")"], False
        return [f"torch.ops.{func}(", *tape.arguments(args, kwargs), ")"], False


def told(func: Any, args: tuple, kwargs: dict[str, Any]) -> tuple[tuple, dict[str, Any]]:
    """Arguments without those that equal the defaults, for a function written in Python."""
    parameters = inspect.signature(func).parameters if isinstance(func, types.FunctionType) else {}
    preset = {name: p.default for name, p in parameters.items() if p.default is not p.empty}
    kwargs = {k: v for k, v in kwargs.items() if not (k in preset and _same(v, preset[k]))}
    names = list(parameters)
    while not kwargs and args and len(args) <= len(names) and names[len(args) - 1] in preset:
        if not _same(args[-1], preset[names[len(args) - 1]]):
            break
        args = args[:-1]
    return args, kwargs


def _same(value: Any, preset: Any) -> bool:
    return type(value) is type(preset) and isinstance(value, (bool, int, float, str, type(None))) and value == preset


def _told(value: Any) -> bool:
    """Whether a device, layout or memory format has to be written, since it is not the default."""
    if isinstance(value, torch.device):
        return value.type != "cpu"
    return value not in (torch.strided, False, torch.preserve_format, torch.contiguous_format)


METHODS = (
    "view", "unsafe_view", "reshape_alias", "transpose", "permute", "unsqueeze", "squeeze", "expand", "split",
    "split_with_sizes", "unbind", "clone", "diagonal", "masked_fill", "masked_fill_", "fill_", "zero_", "copy_", "add_",
    "sub_", "mul_", "div_", "cumsum", "tril", "triu", "repeat", "roll", "abs", "exp", "log", "sqrt", "rsqrt", "cos",
    "sin", "sigmoid", "tanh", "any", "all", "argmax", "clamp", "bitwise_not", "logical_not", "index_select", "gather",
    "floor", "round", "sum", "mean", "amax", "amin", "new_zeros", "new_ones", "new_full", "new_empty",
)  # fmt: skip
"""Operators that are methods of a tensor with the arguments of their schema."""

FACTORIES = (
    "arange", "zeros", "ones", "full", "eye", "zeros_like", "ones_like", "full_like", "cat", "stack", "where",
    "linspace", "scalar_tensor", "outer", "maximum", "minimum", "rand", "randn", "rand_like", "randn_like",
)  # fmt: skip
"""Operators that are functions of torch with the arguments of their schema."""
