"""Every private name of torch that this package uses, each with a fallback.

No other file of the package uses a private name (tests/test_torch_private.py checks that), except the attributes in
`ATTRIBUTES` and what the C++ node includes. torch 2.9 to 2.14 have all of these names; a later version may rename or
drop any of them. Each is looked up once, when this file is imported. Where it is missing, its fallback is used: results
stay right, but it is slower or reports less. In the docstrings, "Without:" says what happens where the name is missing.

torch's functions are bound directly, not wrapped: wrapping would cost time at each call, and torch.compile knows these
functions by identity.
"""

from __future__ import annotations

import inspect
import pkgutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from typing import Any

import torch
from torch import Tensor
from torch.autograd import forward_ad
from torch.nn.modules import module as module_hooks

ATTRIBUTES = {
    # of a tensor; read on each call, where a wrapping function would cost time
    "_base": "the tensor that a view is a view of",
    "_is_view": "whether it is a view that autograd tracks",
    "_is_zerotensor": "whether it represents zeros without memory",
    "_version": "the number of in-place writes so far",
    "_indices": "indices of a sparse tensor that is not coalesced; the public name refuses such a tensor",
    "_values": "its values",
    # of an operator in torch.ops
    "_schema": "its name and arguments",
    "_overloadname": "which overload of its name it is",
    # of torch.ops.aten: operators that have no public name
    "_upsample_nearest_exact1d": "interpolate with mode nearest-exact",
    "_upsample_nearest_exact2d": "interpolate with mode nearest-exact",
    "_upsample_nearest_exact3d": "interpolate with mode nearest-exact",
    "_upsample_bilinear2d_aa": "interpolate with antialias",
    "_upsample_bicubic2d_aa": "interpolate with antialias",
    "_upsample_lanczos2d_aa": "interpolate with mode lanczos, since torch 2.14; callers check first that it exists",
    # of torch.ops.aten
    "_pack_padded_sequence": "the operator of torch.nn.utils.rnn.pack_padded_sequence",
    # of the ctx in a backward; read on each call
    "_forward_cls": "the Function that the node belongs to",
    # of torch's modules, for subclasses such as ours
    "_check_input_dim": "BatchNorm: raises the error for a wrong number of axes",
    "_conv_forward": "Conv: called by forward and by subclasses that compute the weight; ours overrides it",
    "_output_padding": "ConvTranspose: output_padding for an output_size",
    "_reversed_padding_repeated_twice": "Conv: padding as torch.nn.functional.pad wants it",
    "_sa_block": "Transformer layers: self-attention and its dropout",
    "_mha_block": "TransformerDecoderLayer: attention to the memory, and its dropout",
    "_ff_block": "Transformer layers: the feed-forward network; ours overrides it",
    "_update_flat_weights": "RNN, LSTM, GRU: picks up replaced weights before dtypes are compared",
}
"""Private attributes that other files may read, and what each is. They have no fallback: a missing one raises
AttributeError."""

FALLBACKS: dict[str, Any] = {}
"""Private name as `module:attribute` -> its fallback."""


def _named(path: str, otherwise: Any) -> Any:
    """torch's object of that name, or `otherwise` where torch has none."""
    FALLBACKS[path] = otherwise
    try:
        return pkgutil.resolve_name(path)
    except (AttributeError, ImportError):
        return otherwise


def _missing(path: str, without: str) -> Any:
    """torch's object of that name, or a class that raises when it is called: for inspection, which can do without."""

    class Missing:
        def __init__(self, *args: Any, **kwargs: Any) -> None:
            raise NotImplementedError(
                f"{without} needs {path.replace(':', '.')}, which torch {torch.__version__} lacks"
            )

    return _named(path, Missing)


def _always(*args: Any) -> bool:
    return True


def _never(*args: Any) -> bool:
    return False


# The state of the calling thread

transforms_active: Callable[[], bool] = _named("torch:_C._are_functorch_transforms_active", _always)
"""Whether a transform of torch.func is active. Without: always true, so every call takes the path that is right under
transforms."""

if hasattr(forward_ad, "_current_level"):

    def in_forward_mode() -> bool:
        """Whether forward mode (forward_ad.dual_level, torch.func.jvp) is on. Without: tries to make a dual tensor."""
        return forward_ad._current_level >= 0

else:

    def in_forward_mode() -> bool:
        try:
            forward_ad.make_dual(torch.zeros(()), torch.zeros(()))
        except RuntimeError:  # no level of forward mode
            return False
        return True


def _autocast_of_a_device() -> bool:
    return any([torch.is_autocast_enabled(device) for device in ("cpu", "cuda", "xpu", "mps")])


any_autocast: Callable[[], bool] = _named("torch:_C._is_any_autocast_enabled", _autocast_of_a_device)
"""Whether autocast is on for any device. Without: the public function, called for each device."""

function_modes: Callable[[], int] = _named("torch:_C._len_torch_function_stack", int)
function_mode_at: Callable[[int], Any] = _named("torch:_C._get_function_stack_at", None)
pop_function_mode: Callable[[], Any] = _named("torch:_C._pop_torch_function_stack", None)
push_function_mode: Callable[[Any], None] = _named("torch:_C._push_on_torch_function_stack", None)
"""The stack of TorchFunctionModes. Without one of the four: the stack counts as empty. Then `mb.explicit` also sees the
calls inside rules and passes them on, which costs time."""

if None in (function_mode_at, pop_function_mode, push_function_mode):
    function_modes = int

dispatch_modes: Callable[[], int] = _named("torch:_C._len_torch_dispatch_stack", lambda: 1)
"""How many TorchDispatchModes are active. Without: one is assumed, and kernels that write over their input are not
used."""

# What a tensor is

_is_wrapped: Callable[[Tensor], bool] = _named("torch:_C._functorch.is_functorch_wrapped_tensor", _never)
_unwrapped: Callable[[Tensor], Tensor] | None = _named("torch:_C._functorch.get_unwrapped", None)


def unwrapped(tensor: Tensor) -> Tensor:
    """The tensor inside the wrappers of torch.func's transforms. Without: the tensor itself; torch then refuses some
    in-place edits under transforms."""
    while _unwrapped is not None and _is_wrapped(tensor):
        tensor = _unwrapped(tensor)
    return tensor


batched_by_autograd: Callable[[Tensor], bool] = _named("torch:_C._functorch.is_legacy_batchedtensor", _always)
"""Whether a tensor is a batch of `autograd.grad(is_grads_batched=True)`. Without: always true, and no kernel runs."""


def _same_storage(one: Tensor, other: Tensor) -> bool:
    return one.untyped_storage() is other.untyped_storage()


share_storage: Callable[[Tensor, Tensor], bool] = _named("torch:_C._is_alias_of", _same_storage)
"""Whether two tensors share a storage. Without: their storages are compared."""


def _layout_by_contiguity(tensor: Tensor) -> torch.memory_format:
    known = {4: torch.channels_last, 5: torch.channels_last_3d}.get(tensor.dim())
    if known is None or tensor.is_contiguous() or not tensor.is_contiguous(memory_format=known):
        return torch.contiguous_format
    return known


suggested_memory_format: Callable[[Tensor], torch.memory_format] = _named(
    "torch._prims_common:suggest_memory_format", _layout_by_contiguity
)
"""The memory format that ATen would give an output. Without: channels_last for a tensor that is contiguous in it."""

# The graph and the running backward pass

current_graph_task: Callable[[], int] = _named("torch:_C._current_graph_task_id", lambda: -1)
"""The number of the running backward pass, -1 outside of one. Without: see `subclass_node`."""

end_of_pass: Callable[[Callable[[], None]], None] = _named(
    "torch:autograd.Variable._execution_engine.queue_callback", lambda callback: None
)
"""Call a function when the running backward pass ends. Without: recomputed tensors live as long as their node."""


def subclass_node(function: Any, mixin: type, members: dict[str, Any]) -> bool:
    """Make the nodes of a torch.autograd.Function instances of `mixin` as well, with `members` (`_backward_cls`).

    Without that name or `current_graph_task`: returns False, and every tensor is saved, whatever `mb.saving` says.
    """
    node = getattr(function, "_backward_cls", None)
    if node is None or current_graph_task is FALLBACKS["torch:_C._current_graph_task_id"]:
        return False
    function._backward_cls = type(node.__name__, (mixin, node), members)
    return True


def function_of(node: Any) -> Any:
    """The torch.autograd.Function that a node belongs to, None for torch's own nodes (`_forward_cls`; the C++ node has
    it, too). Without: None, and audit, trace and the check suite count our nodes as torch's."""
    return getattr(node, "_forward_cls", None)


next_sequence_number: Callable[[], int] = _named("torch:_C._autograd._get_sequence_nr", int)
"""The sequence number of this thread's next node. Without: 0, and audit and trace cannot tell modules apart."""


def sequence_number(node: Any) -> int:
    """A node's sequence number: nodes are numbered as they are created (`_sequence_nr`). Without: 0."""
    return node._sequence_nr() if hasattr(node, "_sequence_nr") else 0


def input_metadata(node: Any) -> Any:
    """Shape and dtype of each delta that a node takes. Without: the check `deltas` fails and says so."""
    return node._input_metadata


top_saved_tensors_hooks: Callable[[bool], Any] = _named(
    "torch:_C._autograd._top_saved_tensors_default_hooks", lambda ignore_tracing: None
)


def checkpoint_state() -> dict[str, Any]:
    """The closure variables of the innermost torch.utils.checkpoint's hooks; empty outside of one.

    They have `frame` while its forward runs for the first time. While it runs again they have `target_frame_ref` and
    `gid`, the number of the backward pass. Without, or under other names: empty. Then a checkpoint needs the same
    modes around forward and backward.
    """
    hooks = top_saved_tensors_hooks(True)
    if hooks is None:
        return {}
    pack = inspect.unwrap(hooks[0])
    if getattr(pack, "__module__", None) != "torch.utils.checkpoint" or pack.__closure__ is None:
        return {}
    return dict(zip(pack.__code__.co_freevars, [cell.cell_contents for cell in pack.__closure__], strict=True))


# Operators

linear_pointwise: Any = _named("torch:ops.mkldnn._linear_pointwise.default", None)
"""oneDNN's x W^T + b. Without, or in a build without oneDNN: None, and ATen's matmul runs."""

unsafe_view: Callable[[Tensor, Any], Tensor] = _named(
    "torch:ops.aten._unsafe_view.default", lambda tensor, shape: tensor.reshape(shape).clone()
)
"""The same memory in another shape, which autograd does not treat as a view, so it may be edited in place. Without: a
copy."""

flash_attention_for_cpu: Any = _named("torch:ops.aten._scaled_dot_product_flash_attention_for_cpu.default", None)
"""torch's fused attention on the CPU. Without: None, and attention is computed as its formula says."""

ctc_forward: Any = _named("torch:_ctc_loss", None)
"""torch's forward recursion of the CTC loss. Without: None, and the formula runs."""

weight_norm_parametrization: Any = _named("torch.nn.utils.parametrizations:_WeightNorm", None)
spectral_norm_parametrization: Any = _named("torch.nn.utils.parametrizations:_SpectralNorm", None)
orthogonal_parametrization: Any = _named("torch.nn.utils.parametrizations:_Orthogonal", None)
"""The modules that compute a parametrized weight. Without: None, and that computation stays with autograd."""

attention_backend: Callable[..., int] = _named(
    "torch:_fused_sdp_choice", lambda *args, **options: torch.nn.attention.SDPBackend.MATH.value
)
"""Which SDPBackend torch would choose. Without: MATH, which computes the same as the formula."""


def _batch_norm_without_cudnn(input: Tensor, *args: Any) -> tuple:
    if not input.numel():
        return torch.batch_norm(input, *args), None, None
    return torch.native_batch_norm(input, *args[:-1])


batch_norm_with_statistics: Callable[..., tuple] = _named("torch:_batch_norm_impl_index", _batch_norm_without_cudnn)
"""torch.batch_norm that also returns mean and invstd. Without: ATen's native_batch_norm, which does not use cuDNN."""

has_kernel: Callable[[str, str], bool] = _named("torch:_C._dispatch_has_kernel_for_dispatch_key", _always)
"""Whether an operator has a kernel for a dispatch key, such as an autocast policy. Without: always true, which is what
torch 2.14 says of the operators we ask about."""


autograd_off: Any = _named("torch:_C._AutoDispatchBelowADInplaceOrView", None)
"""A context manager: operators called inside skip autograd and reach the active TorchDispatchMode (there must be one),
which so sees each operator before autograd does. Without: None. Then `mb.explicit` cannot see operators that torch
calls inside its own functions, and leaves them to autograd."""

_included: Callable[[], Any] = _named("torch:_C._dispatch_tls_local_include_set", None)
_excluded: Callable[[], Any] = _named("torch:_C._dispatch_tls_local_exclude_set", None)
_force: Callable[[Any, Any], Any] = _named("torch:_C._ForceDispatchKeyGuard", None)

if None in (autograd_off, _included, _excluded, _force):
    autograd_off = None
else:
    with autograd_off():
        _autograd = _excluded()
    _autograd = _autograd - _excluded()
    # the mode runs before these keys, and operators that C++ calls in turn reach it with conjugates unresolved
    for _name in ("Conjugate", "Negative", "ZeroTensor"):
        _autograd = _autograd | torch._C.DispatchKeySet(getattr(torch._C.DispatchKey, _name))


def autograd_on() -> Any:
    """For the mode inside `autograd_off`: turns on autograd again, and the resolving of conjugate and negative views.
    All other dispatch keys stay as they are."""
    return _force(_included(), _excluded() - _autograd)


def run_composed(operator: Any, *args: Any, **kwargs: Any) -> Any:
    """Run an operator as torch composes it of others, in C++ (`_op_dk`). Without: by `decompose`, which may take
    torch's Python reference instead."""
    run = getattr(operator, "_op_dk", None)
    if run is None:
        return operator.decompose(*args, **kwargs)
    return run(torch._C.DispatchKey.CompositeImplicitAutograd, *args, **kwargs)


def _at_once(callback: Callable[[], None]) -> None:
    if torch.cuda.is_available():
        callback()


when_cuda_starts: Callable[[Callable[[], None]], None] = _named("torch:cuda._lazy_call", _at_once)
"""Call a function when CUDA is initialized. Without: call it now, if there is a GPU."""

# Modules and their functions

_KINDS_OF_HOOKS = ("forward_pre_hooks", "forward_hooks", "backward_pre_hooks", "backward_hooks")
_GLOBAL_HOOKS = [getattr(module_hooks, f"_global_{kind}", True) for kind in _KINDS_OF_HOOKS]


def has_hooks(module: torch.nn.Module) -> bool:
    """Whether a hook, the module's own or a global one, sees calls of a module. Without the names of the global ones:
    always true, and the module is called by itself."""
    return bool(
        module._forward_pre_hooks
        or module._forward_hooks
        or module._backward_pre_hooks
        or module._backward_hooks
        or any(_GLOBAL_HOOKS)
    )


def has_gradient_hooks(tensor: Tensor) -> bool:
    """Whether a tensor has a hook on its gradient. Without the names of both kinds: always true."""
    kinds = "_backward_hooks", "_post_accumulate_grad_hooks"
    return any([bool(getattr(tensor, kind, True)) for kind in kinds])


def members(module: torch.nn.Module) -> tuple[dict[str, Any], dict[str, Any], dict[str, Any]]:
    """A module's own dicts of parameters, buffers and children. Without: audit, trace and saved_bytes raise
    AttributeError."""
    return module._parameters, module._buffers, module._modules


COMPILED = "_orig_mod"
"""The attribute under which torch.compile keeps the module that it wraps. Without: layers' names show the new name."""

check_attention_shapes: Callable[..., bool] = _named(
    "torch.nn.functional:_mha_shape_check", lambda query, *others: query.dim() == 3
)
"""Checks the inputs of multi_head_attention_forward with torch's errors; returns whether they are batched. Without: no
check here; wrong shapes fail later with other messages."""

OPERATORS: tuple[type, ...] = (torch._ops.OpOverload, torch._ops.OpOverloadPacket)
"""The classes of the objects in torch.ops: an operator, and one overload of an operator."""


def path_of(function: Any) -> str | None:
    """The path under which torch has a function, as source; None where the function is not torch's."""
    name = getattr(function, "__name__", None)
    if isinstance(function, OPERATORS):
        return f"torch.ops.{function}"
    for path in ("torch._C._nn", "torch._C", "torch", "torch._VF", "torch.nn.functional"):
        if name and getattr(pkgutil.resolve_name(path), name, None) is function:
            return f"{path}.{name}"
    return None


def spelled(path: str) -> str:
    """A function's path as users write it."""
    for inner, outer in (("torch._C._VariableFunctions.", "torch."), ("torch._tensor.Tensor.", "torch.Tensor.")):
        path = path.replace(inner, outer)
    return path


# For inspection, the check suite and benchmarks

tree_map: Any = _missing("torch.utils._pytree:tree_map", "mb.bench")
tree_map_only: Any = _missing("torch.utils._pytree:tree_map_only", "inspection of a model")
tree_flatten: Any = _missing("torch.utils._pytree:tree_flatten", "the check suite")
tree_unflatten: Any = _missing("torch.utils._pytree:tree_unflatten", "the check suite")
"""Tensors in nested tuples, lists and dicts."""

TorchDispatchMode: Any = _missing("torch.utils._python_dispatch:TorchDispatchMode", "mb.audit")


class QuickDispatchMode(TorchDispatchMode):
    """A mode that does not import torch.compile. By default torch imports its compiler at the mode's first operator,
    only to keep it out of the mode; that takes two seconds (`_should_skip_dynamo`). Without: it takes them."""

    @classmethod
    def _should_skip_dynamo(cls) -> bool:
        return False


@contextmanager
def engine_runs() -> Iterator[list[None]]:
    """Records each start of the autograd engine: all of torch.autograd's functions call `_engine_run_backward`.
    Without: the check `explicit` fails and says so."""
    runs: list[None] = []
    original = torch.autograd._engine_run_backward

    def noted(*args: Any, **kwargs: Any) -> Any:
        runs.append(None)
        return original(*args, **kwargs)

    torch.autograd._engine_run_backward = noted
    try:
        yield runs
    finally:
        torch.autograd._engine_run_backward = original


def refused_by_compile(error: Exception) -> bool:
    """Whether torch.compile(fullgraph=True) raised the error because it met something unsupported. Without: False."""
    unsupported = _named("torch._dynamo.exc:Unsupported", ())
    return isinstance(error, unsupported)


def compiling_from_nothing() -> Any:
    """torch.compile as on its first run: without its cache on disk. It also compiles in this process: by default it
    starts worker processes, which would take cores from the next measurement. Without: torch's default settings."""
    config = _named("torch._inductor:config", None)
    return nullcontext() if config is None else config.patch(force_disable_caches=True, compile_threads=1)
