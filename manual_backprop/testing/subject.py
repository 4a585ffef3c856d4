"""A layer or function under test and its twin, torch's own, as pure functions of a flat list of tensors."""

from __future__ import annotations

import copy
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.func import functional_call

from ..engine.torch_private import function_of, tree_flatten, tree_unflatten
from .case import Case, Spec
from .layouts import copied

SEED = 20


class CheckFailed(AssertionError):
    """A check found a difference; the message says where and by how much, and shows the formula."""


class NotApplicable(Exception):
    """A check does not apply to this layer; the message says why."""


@dataclass
class Problem:
    """One problem: ours and twin take `tensors` (inputs first, then parameters) and return the outputs."""

    ours: Callable[..., Any]
    twin: Callable[..., Any] | None
    tensors: list[Tensor]
    names: list[str]

    def leaves(self, frozen: Sequence[int] = ()) -> list[Tensor]:
        """Fresh leaves that require a gradient, except the frozen ones."""
        return [copied(t).requires_grad_(i not in frozen) for i, t in enumerate(self.tensors)]


class Subject:
    """A case with its layers built; makes problems of a given dtype from it."""

    def __init__(self, case: Case, device: str = "cpu") -> None:
        self.case = case
        self.device = device
        self.layer = self._seeded(case.build)
        self.twin = self._seeded(case.twin) if case.twin is not None else None
        self.name = case.name
        self._probe()

    def _seeded(self, build: Callable[[], Any]) -> Any:
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(SEED)
            return build()

    def _probe(self) -> None:
        """Finds out whether the layer refuses its inputs, draws random numbers, or writes into its inputs."""
        reference = self.twin if self.twin is not None else self.layer
        self.refused: str | None = None
        args, _ = self.arguments(torch.float32)
        flat = [a for a in tree_flatten(args)[0] if isinstance(a, Tensor)]
        versions = [a._version for a in flat]
        module = copy.deepcopy(reference)
        if isinstance(module, torch.nn.Module):
            module = module.to(self.device)
        with torch.random.fork_rng(device_type="cuda"), torch.no_grad():
            torch.manual_seed(SEED)
            before = self._random_state()
            output = None
            try:
                output = module(*args)
            except Exception as raised:
                self.refused = f"{'the twin' if self.twin is not None else 'it'} refuses these inputs: {raised}"
            self.random = not torch.equal(before, self._random_state())
        written = {_address(a) for a, v in zip(flat, versions, strict=True) if a._version != v}
        # without a twin, only a layer that returns the input it writes into counts as in place: else it is a mistake
        returned = {_address(o) for o in tree_flatten(output)[0] if isinstance(o, Tensor)}
        self.in_place = bool(written if self.twin is not None else written & returned)

    def _random_state(self) -> Tensor:
        return torch.cuda.get_rng_state() if self.device.startswith("cuda") else torch.get_rng_state()

    def arguments(
        self, dtype: torch.dtype, specs: tuple[Spec, ...] | None = None, seed: int = SEED
    ) -> tuple[list[Any], list[bool]]:
        """The positional arguments, and for each of their flattened leaves whether gradients by it are checked."""
        generator = torch.Generator().manual_seed(seed)
        specs = self.case.inputs if specs is None else specs
        args, differentiable = [], []
        for spec in specs:
            arg = spec.make(generator, dtype)
            args.append(_to(arg, self.device))
            differentiable += [spec.differentiable and _floating(leaf) for leaf in tree_flatten(arg)[0]]
        return args, differentiable

    def flat_arguments(self, dtype: torch.dtype) -> tuple[list[Any], list[bool]]:
        """The positional arguments flattened, and for each whether gradients by it are checked."""
        args, differentiable = self.arguments(dtype)
        return tree_flatten(args)[0], differentiable

    def problem(
        self,
        dtype: torch.dtype,
        *,
        specs: tuple[Spec, ...] | None = None,
        edit: Callable[[int, Tensor], Tensor] | None = None,
        state_dtype: torch.dtype | None = None,
    ) -> Problem:
        """Ours and the twin on inputs of `dtype`; `edit(i, tensor)` may change the i-th flattened argument."""
        args, differentiable = self.arguments(dtype, specs)
        flat, tree = tree_flatten(args)
        if edit is not None:
            flat = [edit(i, leaf) if isinstance(leaf, Tensor) else leaf for i, leaf in enumerate(flat)]
        where = [i for i, d in enumerate(differentiable) if d]
        tensors = [flat[i] for i in where]
        names = [f"input {i}" if len(where) > 1 else "input" for i in range(len(where))]
        state = self._state(state_dtype or dtype)
        parameters, buffers = state
        names += list(parameters)
        tensors += list(parameters.values())
        return Problem(
            self._bind(self.layer, flat, tree, where, list(parameters), buffers),
            None if self.twin is None else self._bind(self.twin, flat, tree, where, list(parameters), buffers),
            tensors,
            names,
        )

    def _state(self, dtype: torch.dtype) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
        if not isinstance(self.layer, torch.nn.Module):
            return {}, {}
        module = copy.deepcopy(self.layer).to(self.device, dtype)
        generator = torch.Generator().manual_seed(SEED + 1)
        parameters = {}
        for name, value in module.named_parameters():
            # weight 1 and bias 0, the initial values of norms, would hide a missing factor
            noise = 0.3 * torch.randn(value.shape, generator=generator, dtype=torch.float64)
            parameters[name] = (value.detach().double().cpu() + noise).to(self.device, dtype)
        return parameters, dict(module.named_buffers())

    def _bind(self, layer: Any, flat: list, tree: Any, where: list[int], names: list[str], buffers: dict) -> Callable:
        random, in_place = self.random, self.in_place
        if isinstance(layer, torch.nn.Module):
            layer = copy.deepcopy(layer).to(self.device)

        def run(*tensors: Tensor) -> Any:
            leaves = list(flat)
            for i, place in enumerate(where):
                leaves[place] = tensors[i].clone() if in_place else tensors[i]
            args = tree_unflatten(leaves, tree)
            if isinstance(layer, torch.nn.Module):
                state = {name: tensors[len(where) + i] for i, name in enumerate(names)}  # torch 2.9's dynamo cannot zip
                state.update({name: value.clone() for name, value in buffers.items()})
                return functional_call(layer, state, tuple(args))
            return layer(*args)

        if not random:
            return run

        def seeded(*tensors: Tensor) -> Any:
            torch.manual_seed(SEED)
            return run(*tensors)

        return seeded


def differentiable(output: Any) -> tuple[Tensor, ...]:
    """The tensors among the outputs that can have a gradient: floating point and complex ones."""
    return tuple(o for o in tree_flatten(output)[0] if _floating(o))


def gradients(
    run: Callable[..., Any], leaves: list[Tensor], deltas: Sequence[Tensor] | None = None, **options: Any
) -> tuple[tuple[Tensor, ...], list[Tensor | None]]:
    """The outputs, and the gradients by the leaves that require one, for given deltas or those of `delta_for`."""
    outputs = differentiable(run(*leaves))
    wanted = [leaf for leaf in leaves if leaf.requires_grad]
    reached = [o for o in outputs if o.requires_grad]
    if not reached:
        raise NotApplicable("no output depends on a differentiable input")
    chosen = deltas or [delta_for(o) for o in reached]
    found = torch.autograd.grad(reached, wanted, chosen, allow_unused=True, **options)
    return tuple(o.detach() for o in outputs), list(found)


def delta_for(output: Tensor) -> Tensor:
    """A fixed delta of the output's shape and dtype, made without random numbers, which vmap refuses."""
    steps = torch.arange(1, output.numel() + 1, dtype=torch.float64, device=output.device)
    return (1.3 * (steps * steps * 0.61803398875).sin()).reshape(output.shape).to(output.dtype)


def rule_formulas(run: Callable[..., Any], leaves: list[Tensor]) -> str:
    """The docstrings of the rules in the graph of one run, for failure messages."""
    from ..rules import Rule

    seen: dict[str, str] = {}
    try:
        outputs = differentiable(run(*leaves))  # keeps the graph alive
    except Exception:
        return ""
    visited, stack = set(), [o.grad_fn for o in outputs if o.grad_fn is not None]
    while stack:
        node = stack.pop()
        if node in visited:
            continue
        visited.add(node)
        stack += [n for n, _ in node.next_functions if n is not None]
        rule = function_of(node)
        if rule is not None and issubclass(rule, Rule):
            seen[rule.__name__] = (rule.__doc__ or "").rstrip()
    return "\n".join(f"  rule {name}: {doc}" for name, doc in seen.items())


def _address(tensor: Tensor) -> int:
    return tensor.untyped_storage().data_ptr()


def _floating(value: Any) -> bool:
    return isinstance(value, Tensor) and (value.is_floating_point() or value.is_complex())


def _to(arg: Any, device: str) -> Any:
    leaves, tree = tree_flatten(arg)
    return tree_unflatten([leaf.to(device) if isinstance(leaf, Tensor) else leaf for leaf in leaves], tree)
