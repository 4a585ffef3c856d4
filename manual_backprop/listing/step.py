"""A program as a fast training step: forward, backward and gradients without a graph, and without Python if possible.

It runs the written lines with kernels in place of formulas. The first call records torch's operators and this library's
kernels. Later calls run that list in C++ (engine/native/step.h). Without a C++ compiler Python runs the lines. On a GPU
the lines are captured as a CUDA graph.
"""

from __future__ import annotations

from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from ..engine import node
from ..engine.rule import choose
from ..engine.torch_private import has_hooks, members
from ..errors import BadInput
from .captured import Captured
from .parts import Part
from .program import KEEP, Signature, named, record
from .recording import Recording
from .structure import Finder
from .text import program_text

MOST = 8
"""Most kinds of batches that a step keeps programs for."""


class Lines:
    """The lines of a recorded step as one Python function, with kernels in place of formulas."""

    def __init__(self, model: torch.nn.Module, signature: Signature, recording: Recording) -> None:
        finder = Finder(recording)
        whole = Part("", list(finder.forward), list(finder.backward))
        finder.connect(whole, finder.forward, finder.backward)
        whole.kept = [value for value in whole.kept if value is not recording.output]
        self.output = len(whole.kept) if recording.output in finder.given() else None
        whole.kept += [recording.output] if self.output is not None and recording.output is not None else []
        text = "\n".join(program_text(finder, whole, [], signature.names))
        names: dict[str, Any] = {"torch": torch, "F": torch.nn.functional, **recording.tape.classes}
        with torch.no_grad():
            for line in (*finder.forward, *finder.backward):
                if line.function is not None:
                    rule, name = line.function
                    function = getattr(rule, name)
                    holder = names.setdefault(rule.__name__, SimpleNamespace())
                    setattr(holder, name, function if name == "forward" else choose(function))
        exec(compile(text, "<step>", "exec"), names)
        self.text = text
        self.forward, self.backward = names[KEEP[0]], names[KEEP[1]]
        self.p = {**named(model), **recording.tape.constants}
        self.leaves = [name for name in recording.gradients if name in self.p]

    def __call__(self, *tensors: Tensor) -> tuple[Any, ...]:
        """The loss, the model's output (None if it is not one tensor), and the gradient of each of `leaves`."""
        with torch.no_grad():
            loss, kept = self.forward(self.p, *tensors)
            grad = self.backward(self.p, kept)
        return (loss, None if self.output is None else kept[self.output], *[grad[name] for name in self.leaves])


class Compiled:
    """A step for one kind of batch. `run` returns the loss, the model's output and the gradients; with `fill` it puts
    the gradients into `.grad` instead."""

    def __init__(self, model: torch.nn.Module, signature: Signature, recording: Recording) -> None:
        self.signature = signature
        self.lines = Lines(model, signature, recording)
        self.fixed = tuple(self.lines.p.values())
        places = {name: k for k, name in enumerate(self.lines.p)}
        self.targets = [self.lines.p[name] for name in self.lines.leaves]
        self.leaves = tuple((places[name], k + 2) for k, name in enumerate(self.lines.leaves))
        self.native: dict[bool, Any] = {}
        """By `fill`: the native program, or the reason why there is none."""
        self.captured = Captured(self.lines) if self.fixed and self.fixed[0].is_cuda else None

    def run(self, tensors: list[Tensor], fill: bool) -> tuple[Any, ...]:
        native = self.native.get(fill)
        if native is not None and not isinstance(native, str):
            found = node.module.run_step(native, tuple(tensors))
            if found is not None:
                return found
            del self.native[fill]  # other strides or settings: record again
            native = None
        if self.captured is not None:
            found = self.captured(tensors)
        elif node.module is None or native is not None or any(t.device.type != "cpu" for t in (*self.fixed, *tensors)):
            node.begin()
            found = self.lines(*tensors)
        else:
            leaves, returned = (self.leaves, 2) if fill else ((), 2 + len(self.leaves))
            arguments = self.fixed, tuple(tensors), leaves, returned
            found, self.native[fill] = node.module.record_step(lambda: self.lines(*tensors), *arguments)
        if not fill:
            return found
        self.accumulate(found[2:])
        return found[:2]

    def accumulate(self, gradients: tuple[Tensor, ...]) -> None:
        """Add gradients to `.grad`, as autograd does."""
        seen: set[int] = set()
        with torch.no_grad():
            for leaf, gradient in zip(self.targets, gradients, strict=True):
                memory = gradient.untyped_storage().data_ptr()
                if leaf.grad is not None:
                    leaf.grad.add_(gradient)
                elif memory in seen or gradient.stride() != leaf.stride():
                    leaf.grad = torch.empty_strided(
                        leaf.shape, leaf.stride(), dtype=leaf.dtype, device=leaf.device
                    ).copy_(gradient)
                else:
                    leaf.grad = gradient.detach()
                seen.add(memory)


class Whole(torch.autograd.Function):
    """A step whose gradients are computed in its forward."""

    @staticmethod
    def forward(ctx: Any, run: Callable[[], tuple[Any, ...]], *parameters: Tensor) -> tuple[Tensor, Tensor | None]:
        loss, output, *ctx.gradients = run()
        if output is not None:
            ctx.mark_non_differentiable(output)
        ctx.set_materialize_grads(False)
        return loss, output

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, delta: Tensor | None, _: Any) -> tuple[Tensor | None, ...]:
        if ctx.gradients is None:
            raise RuntimeError(
                "the backward of a written step ran a second time. expected: one backward for each call of the step"
            )
        gradients, ctx.gradients = ctx.gradients, None
        if delta is None:
            return (None, *[None] * len(gradients))
        if delta.is_cuda or delta != 1:
            gradients = [gradient * delta for gradient in gradients]
        return (None, *gradients)


class Step:
    """What `program.step()` returns: `loss = step(*inputs, targets=...)`.

    Each call runs forward and backward and adds the gradients to `.grad`. With an optimizer it sets them to None first,
    and calls `optimizer.step()` at the end. The program is written again for a batch with other shapes or dtypes (up to
    8 programs are kept), for another training flag, and after modules or parameters were replaced or frozen. Numbers
    that a module holds as attributes, such as a dropout's p, are constants of the program: call `watched()` after you
    change one.
    """

    def __init__(self, model: torch.nn.Module, loss: Callable[[Any, Any], Tensor], optimizer: Any) -> None:
        self.model, self.loss, self.optimizer = model, loss, optimizer
        self.known: dict[tuple, Compiled] = {}
        self.watched()

    def watched(self) -> None:
        """Discard the programs, and record anew what they depend on besides the batch."""
        self.known.clear()
        self.modules = list(self.model.modules())
        self.parameters = list(self.model.parameters())
        self.held = [held for module in self.modules for held in members(module)]
        self.parts = [part for held in self.held for part in held.values()]  # kept alive, so that no id is used twice
        self.state = self.now()

    def now(self) -> tuple[list[int], list[bool], list[bool]]:
        """Parameters, buffers and children of the modules by id; what requires a gradient; the training flags."""
        return (
            [id(part) for held in self.held for part in held.values()],
            [parameter.requires_grad for parameter in self.parameters],
            [module.training for module in self.modules],
        )

    def hooked(self) -> bool:
        """Whether a module has hooks, which a written step would not call."""
        return any([has_hooks(module) for module in self.modules])

    def __call__(self, *inputs: Any, targets: Any = None) -> Tensor:
        """The loss, detached. Raises BadInput as `write_out` does, and for hooks on modules or parameters."""
        if self.optimizer is not None:
            self.optimizer.zero_grad(set_to_none=True)
        compiled, tensors = self.compiled(inputs, targets)
        loss: Tensor = compiled.run(tensors, True)[0]
        if self.optimizer is not None:
            self.optimizer.step()
        return loss

    def node(self, *inputs: Any, targets: Any = None) -> tuple[Tensor, Tensor | None]:
        """The loss as a tensor with one backward node for the whole step, and the model's output, detached.

        The gradients are computed when it returns. `loss.backward()` multiplies them by the delta of the loss and
        returns them to autograd. So what works on autograd's gradients works here, too: accumulation, gradient scaling,
        clipping, DistributedDataParallel.
        """
        compiled, tensors = self.compiled(inputs, targets)
        loss, output = Whole.apply(lambda: compiled.run(tensors, False), *compiled.targets)
        return loss, output

    def compiled(self, inputs: tuple, targets: Any) -> tuple[Compiled, list[Tensor]]:
        if self.now() != self.state:
            self.watched()
        if self.hooked():
            names = [name or "the model" for name, module in self.model.named_modules() if has_hooks(module)]
            raise BadInput(
                f"{', '.join(names)} has hooks, which a written step would not call. expected: a model without hooks. "
                "Remove them, or train without a written step"
            )
        quick = len(inputs) == 1 and isinstance(inputs[0], Tensor) and isinstance(targets, Tensor)
        tensors = [inputs[0], targets] if quick else []
        if quick:
            x = inputs[0]
            key: tuple = (x.shape, x.dtype, x.device, targets.shape, targets.dtype, targets.device)
        else:
            signature = Signature(self.model, inputs, targets)
            others = tuple((k, repr(v)) for k, v in signature.others.items())
            key = (*signature.kinds, others, str(signature.structure))
            tensors = signature.given
        if any([tensor.requires_grad for tensor in tensors]):
            raise BadInput("a written step gives the gradients of parameters. got: an input that requires one")
        found = self.known.get(key)
        if found is None:
            if len(self.known) >= MOST:
                self.known.pop(next(iter(self.known)))
            signature, recording = record(self.model, inputs, targets, self.loss, "kernels")
            if recording.branched:
                raise BadInput(
                    f"the forward reads numbers in {', '.join(sorted(set(recording.branched))) or 'the model'}, on "
                    "which Python may branch: such a step is not the same for each batch. expected: a forward that "
                    "reads no numbers from tensors"
                )
            found = self.known[key] = Compiled(self.model, signature, recording)
        return found, tensors
