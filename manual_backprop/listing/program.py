"""`mb.write_out`: the training step of a network as a Python file that needs torch alone."""

from __future__ import annotations

import inspect
import keyword
import re
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from .._files import write_atomically
from .._observe import unchanged
from ..engine.rule import backend
from ..engine.torch_private import has_gradient_hooks, tree_flatten, tree_unflatten
from ..errors import BadInput
from ..explicit import explicit
from ..saving import saving
from .inlining import RANDOM
from .parts import fixed, reads
from .record import Recorder
from .recording import Recording
from .reducing import reduced
from .sources import used
from .structure import structured
from .text import program_text
from .trial import trial

if TYPE_CHECKING:
    from .step import Step

LEVELS = ("formulas", "torch")
KEEP = ("forward", "backward", "main")


class Program:
    """A training step of one network, written out as source.

    `print(program)` shows it, `program.save(path)` writes the file. `program(*inputs, targets=...)` runs it with the
    network's present parameters, and returns the loss and the gradients by name.
    """

    _loss: Callable[[Any, Any], Tensor]

    def __init__(
        self, text: str, model: torch.nn.Module, constants: dict[str, Tensor], signature: Any, level: str
    ) -> None:
        self.text, self.level = text, level
        self._model, self._constants, self._signature = model, constants, signature
        self._names: dict[str, Any] = {"__name__": "written"}
        exec(compile(text, "<written out>", "exec"), self._names)

    def __str__(self) -> str:
        return self.text

    def save(self, path: str | Path) -> None:
        """Write the file, whole or not at all. Raises BadInput if it cannot be written."""
        write_atomically(Path(path), self.text.encode())

    @property
    def inputs(self) -> list[str]:
        """The names in the program of the tensors among inputs and targets."""
        return list(self._signature.names)

    def step(self, optimizer: torch.optim.Optimizer | None = None) -> Step:
        """The same step, for training: `loss = step(*inputs, targets=...)`. See `Step`."""
        from .step import Step

        return Step(self._model, self._loss, optimizer)

    def parameters(self) -> dict[str, Tensor]:
        """The tensors in the program's `p`: parameters, buffers, and other tensors that the forward reads."""
        return {**named(self._model), **self._constants}

    def __call__(self, *inputs: Any, targets: Any = None) -> tuple[Tensor, dict[str, Tensor]]:
        """The loss, and the gradients by name: of parameters, and of inputs that require one.

        Raises BadInput for inputs whose shapes or dtypes differ from those that the program was written for.
        """
        tensors = self._signature.tensors(inputs, targets)
        with torch.no_grad():
            loss, kept = self._names["forward"](self.parameters(), *tensors)
            return loss, self._names["backward"](self.parameters(), kept)


def named(model: Any) -> dict[str, Tensor]:
    """Parameters and buffers by name."""
    if not isinstance(model, torch.nn.Module):
        return {}
    return {**dict(model.named_parameters()), **dict(model.named_buffers())}


class Signature:
    """The tensors among inputs and targets: their names in the program, and the shape and dtype that each must have."""

    def __init__(self, model: Any, inputs: tuple, targets: Any) -> None:
        flat, self.structure = tree_flatten((inputs, targets))
        self.places = [k for k, v in enumerate(flat) if isinstance(v, Tensor)]
        self.others = {k: v for k, v in enumerate(flat) if not isinstance(v, Tensor)}
        count = sum(isinstance(v, Tensor) for v in tree_flatten(inputs)[0])
        self.names = self._named(model, inputs, count)
        rest = len(self.places) - count
        self.names += ["t"] if rest == 1 else [f"t{k + 1}" for k in range(rest)]
        self.given = [flat[k] for k in self.places]
        self.kinds = [(tuple(t.shape), t.dtype, t.device) for t in self.given]

    def _named(self, model: Any, inputs: tuple, count: int) -> list[str]:
        if count == 1:
            return ["x"]
        if len(inputs) == count and isinstance(model, torch.nn.Module):
            found = [
                p for p in inspect.signature(model.forward).parameters if p not in ("p", "t", "kept", "grad", "at")
            ]
            if len(found) >= count and not any(map(keyword.iskeyword, found)) and "args" not in found[:count]:
                return found[:count]
        return [f"x{k + 1}" for k in range(count)]

    def tensors(self, inputs: tuple, targets: Any) -> list[Tensor]:
        """The tensors of a later call. Raises BadInput if shapes, dtypes or structure are not those of the first."""
        flat, structure = tree_flatten((inputs, targets))
        if structure != self.structure:
            raise BadInput("these inputs and targets are of another structure: write it out anew")
        for k, other in self.others.items():
            if isinstance(flat[k], Tensor) or flat[k] != other:
                raise BadInput(f"the program was written for {other!r}. got: {flat[k]!r}. Write it out anew")
        found = [flat[k] for k in self.places]
        for name, tensor, kind in zip(self.names, found, self.kinds, strict=True):
            got = (tuple(tensor.shape), tensor.dtype, tensor.device) if isinstance(tensor, Tensor) else type(tensor)
            if got != kind:
                raise BadInput(f"{name}: the program was written for {kind}. got: {got}. Write it out anew")
        return found

    def copied(self) -> tuple[tuple[tuple, Any], dict[str, Tensor]]:
        """Inputs and targets with copied tensors, which a forward may edit in place, and the copies by name."""
        copies = [tensor.detach().clone().requires_grad_(tensor.requires_grad) for tensor in self.given]
        flat: list[Any] = [None] * (len(self.places) + len(self.others))
        for k, v in (*self.others.items(), *zip(self.places, copies, strict=True)):
            flat[k] = v
        return tree_unflatten(flat, self.structure), dict(zip(self.names, copies, strict=True))


def write_out(
    model: torch.nn.Module,
    *inputs: Any,
    targets: Any = None,
    loss: Callable[[Any, Any], Tensor],
    level: str = "formulas",
) -> Program:
    """The training step of a network as a program: forward, loss, and every line of the backward.

        program = mb.write_out(model, x, targets=t, loss=mb.nn.CrossEntropyLoss())
        print(program)

    `loss(model(*inputs), targets)` is run once, inside `mb.explicit()`, and recorded. `level`: "formulas" calls the
    formulas of each rule by name, "torch" writes the calls of torch that they consist of. The file is valid for inputs
    of these shapes and dtypes. Where Python branches on numbers, the file has only the branch that was taken, and says
    so. The model does not change.

    Raises TypeError for a model that is not a module. Raises BadInput for nodes of autograd in the backward (`mb.audit`
    shows them), for a loss that is not a scalar or depends on no parameter, for tensors on the meta device, under
    autocast, and inside torch.func's transforms.
    """
    if level not in LEVELS:
        raise BadInput(f"level {level!r} is unknown. expected: {' or '.join(map(repr, LEVELS))}")
    signature, recording = record(model, inputs, targets, loss, level)
    found = written(model, signature, recording, level)
    found._loss = loss
    return found


def record(
    model: torch.nn.Module, inputs: tuple, targets: Any, loss: Callable[[Any, Any], Tensor], level: str
) -> tuple[Signature, Recording]:
    """Run one step and record it."""
    if not isinstance(model, torch.nn.Module):
        raise TypeError(f"write_out takes a torch.nn.Module. got: {type(model).__name__}")
    with (
        unchanged(model, inputs, targets),
        backend("auto" if level == "kernels" else "formula"),
        saving("off"),
    ):
        signature = Signature(model, inputs, targets)
        refuse({**named(model), **dict(zip(signature.names, signature.given, strict=True))})
        recorder = Recorder(level)
        tape = recorder.tape
        leaves = {}
        for name, tensor in named(model).items():
            tape.outside(tensor, f'p["{name}"]')
            if tensor.requires_grad:
                leaves[tensor] = name
        (args, wanted), given = signature.copied()
        for name, tensor in given.items():
            tape.outside(tensor, name)
            if tensor.requires_grad:
                leaves[tensor] = name
        returned: list[Any] = []

        def run() -> Tensor:
            with explicit():
                returned.append(model(*args))
                found = loss(returned[0], wanted)
            if not isinstance(found, Tensor) or found.dim() or not found.requires_grad:
                what = f"{tuple(found.shape)}" if isinstance(found, Tensor) else type(found).__name__
                raise BadInput(
                    f"the loss has to be a scalar that depends on parameters which require a gradient. got: {what}"
                )
            return found

        value = recorder.forward(model, run)
        if any([has_gradient_hooks(tensor) for tensor in tape.alive]):
            raise BadInput(f"a tensor of the forward has hooks, {HOOKED}")
        count = len(tape.lines)
        gradients = recorder.backward(value, leaves)
    found = tape.find(value)
    assert found is not None
    output = tape.find(returned[0]) if isinstance(returned[0], Tensor) else None
    branched = recorder.operators.numbers
    return signature, Recording(tape, count, found, gradients, recorder.regions, branched, output)


HOOKED = "which a program has no place for: a hook sees or changes a gradient. expected: no register_hook"


def refuse(tensors: dict[str, Tensor]) -> None:
    """Raise BadInput where nothing can be recorded: on the meta device, under autocast, with hooks."""
    if any(t.is_meta for t in tensors.values()):
        raise BadInput("the step is recorded while it runs. got: tensors on the meta device. expected: a CPU or a GPU")
    if torch.is_autocast_enabled("cpu") or torch.is_autocast_enabled("cuda"):
        raise BadInput("autocast is on. expected: no autocast. Convert the model to the dtype that you want (model.to)")
    for name, tensor in tensors.items():
        if has_gradient_hooks(tensor):
            raise BadInput(f"{name} has hooks, {HOOKED}")


def written(model: torch.nn.Module, signature: Signature, recording: Recording, level: str) -> Program:
    """The program of a recording."""
    whole, pairs, finder = structured(recording)
    sources = used([*finder.forward, *finder.backward], recording.tape.classes)
    body = "\n".join(program_text(finder, whole, pairs, signature.names))
    imports = dict.fromkeys(
        ("import torch", "import torch.nn.functional as F", "import math", *sources.imports.values())
    )
    parts = ["from __future__ import annotations", "", *sorted(imports), "", sources.text(), "", "", body, ""]
    text = "\n".join(parts)
    constants = recording.tape.constants
    p = {name: t.detach().clone() for name, t in {**named(model), **constants}.items()}
    after: dict[str, Tensor] = {}

    def run(names: dict[str, Any]) -> None:
        tensors = [t.detach().clone() for t in signature.given]  # a forward may write into them
        after.update({**p, **dict(zip(signature.names, tensors, strict=True))})
        with torch.no_grad(), torch.random.fork_rng(devices=[]):
            _, kept = names["forward"](p, *tensors)
            names["backward"](p, kept)

    text = reduced(text, run, KEEP)
    asked = {v.name[3:-2] for line in (*finder.forward, *finder.backward) for v in reads(line) if fixed(v)}
    before = {**named(model), **constants, **dict(zip(signature.names, signature.given, strict=True))}
    changed = [name for name, tensor in after.items() if not same_numbers(tensor, before[name])]
    head, tail = trial(model, signature, recording, asked, constants, draws_numbers(text), changed)
    if "math." in tail and not re.search("^import math$", text, re.MULTILINE):
        text = text.replace("import torch\n", "import math\nimport torch\n", 1)
    if "torch.ops.torchvision" in text:
        text = text.replace("import torch\n", "import torch\nimport torchvision   # defines torch.ops.torchvision\n", 1)
    text = f"{head}\n{text.rstrip()}\n\n\n{tail}"
    return Program(text, model, constants, signature, level)


def same_numbers(one: Tensor, other: Tensor) -> bool:
    """Whether two tensors are equal; False for sparse ones."""
    return one.layout == other.layout == torch.strided and torch.equal(one, other)


def draws_numbers(text: str) -> bool:
    """Whether a file has a call that draws random numbers."""
    return re.search(rf"(?:{'|'.join(RANDOM)})_?(?:\.default)?\(", text) is not None
