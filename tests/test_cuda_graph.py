"""A CUDA graph records what a step asks of the GPU: no rule may wait for a number from it, or copy one to it.

Without a GPU the rows run on tensors that only say they lie on one, of which a number cannot be asked. With one
(`gpu`), training steps are captured and replayed.
"""

from __future__ import annotations

import copy
import re
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Tensor
from torch._subclasses.fake_tensor import DataDependentOutputException, FakeTensor, FakeTensorMode
from torch.utils._python_dispatch import TorchDispatchMode

import manual_backprop as mb
from manual_backprop.bench.networks import Block, Embed
from manual_backprop.listing.step import Step
from manual_backprop.testing.case import Case, normal
from manual_backprop.testing.cases import CASES
from tests import tiers

COPIES = ("TransformerEncoder", "TransformerDecoder", "Transformer")
"""Copy a layer that was made before, which tensors without numbers do not allow; each of their layers has its row."""

WAITING = {
    "AdaptiveLogSoftmaxWithLoss": "how many labels fall into a cluster is read, as by torch",
    "CTCLoss": "the lengths are read, as by torch",
    "ctc_loss": "the lengths are read, as by torch",
    "grouped_mm": "on a GPU torch multiplies groups in 16 bits alone",
    "linalg_eig": "whether a loss hangs on the phase of a vector is looked at, as by torch",
    "linalg_lu_solve": "its pivots are numbers of the row",
    "lu_unpack": "made of a factorization, whose information is read, as by torch",
    "roi_align-output_size=(2,3)-aligned=True-adaptive": "how many samples a bin has sets the length of a loop",
    "segment_reduce": "the lengths are read, as by torch",
    "SyncBatchNorm": "waits for the other processes",
    "to_sparse": "the size of the result hangs on the numbers, as in torch",
    "varlen_attn": "the lengths are read",
    "RNN": "torch's module asks where its weights lie, which such a tensor does not know",
    "LSTM": "torch's module asks where its weights lie, which such a tensor does not know",
    "GRU": "torch's module asks where its weights lie, which such a tensor does not know",
    "_standard_gamma": "torch has no version of it for tensors without numbers",
    "as_strided_scatter": "its twin is one of the row",
}
"""Public name or row -> why a step waits for the GPU, or cannot run on tensors that only say they lie on one."""

ROWS = [
    pytest.param(case, id=case.name, marks=[] if tiers.first_of_its_name(case) else pytest.mark.slow)
    for case in CASES
    if case.covers not in COPIES and case.covers not in WAITING and case.name not in WAITING
]


class Watch(TorchDispatchMode):
    """Notes copies between the memories of CPU and GPU, which a capture refuses."""

    def __init__(self) -> None:
        super().__init__()
        self.copies: list[str] = []

    def __torch_dispatch__(self, func: Any, types: Any, args: tuple = (), kwargs: dict | None = None) -> Any:
        result = func(*args, **(kwargs or {}))
        if isinstance(result, Tensor):
            sources = [a for a in args if isinstance(a, Tensor) and a.device != result.device]
            if func._schema.name in ("aten::_to_copy", "aten::copy_") and sources:
                self.copies.append(f"{func} from {sources[0].device} to {result.device}")
        return result


def on_gpu(value: Any, mode: FakeTensorMode) -> Any:
    """A tensor as one on a GPU, without its numbers."""
    if isinstance(value, (list, tuple)):
        return type(value)(on_gpu(v, mode) for v in value)
    return mode.from_tensor(value).to("cuda") if isinstance(value, Tensor) else value


def tensors_of(value: Any) -> Iterator[Tensor]:
    if isinstance(value, Tensor):
        yield value
    elif isinstance(value, (list, tuple)):
        for v in value:
            yield from tensors_of(v)


def run_backward(outputs: list[Tensor]) -> int:
    """Every node behind the outputs with deltas of ones, as the engine would, which needs a GPU for such tensors."""
    waiting: dict[Any, int] = {}
    queue = [o.grad_fn for o in outputs]
    while queue:
        for following, _ in queue.pop().next_functions:
            if following is not None:
                waiting[following] = waiting.get(following, 0) + 1
                if waiting[following] == 1:
                    queue.append(following)
    deltas: dict[Any, dict[int, Tensor]] = {}
    for output in outputs:
        deltas.setdefault(output.grad_fn, {})[output.output_nr] = torch.ones_like(output)
    ready, done = [node for node in deltas if not waiting.get(node)], 0
    while ready:
        node, done = ready.pop(), done + 1
        if type(node).__name__ == "AccumulateGrad":
            continue
        given = deltas.pop(node, {})
        count = len(node._input_metadata)
        run = node.apply if hasattr(node, "needs_input_grad") else node
        results = run(*[given.get(i) for i in range(count)])
        results = results if isinstance(results, tuple) else (results,)
        if hasattr(node, "needs_input_grad"):  # of a rule: one for each argument, tensor or not
            results = tuple(r for r, needed in zip(results, node.needs_input_grad, strict=True) if needed)
        edges = [edge for edge in node.next_functions if edge[0] is not None]
        for (following, place), result in zip(edges, results, strict=True):
            if result is not None:
                there = deltas.setdefault(following, {})
                there[place] = there[place] + result if place in there else result
            waiting[following] -= 1
            if not waiting[following]:
                ready.append(following)
    return done


def step(case: Case) -> list[str]:
    """Forward and backward of a row on a GPU that is not there: the copies between its memory and the CPU's."""
    generator = torch.Generator().manual_seed(0)
    inputs = [spec.make(generator, torch.float32) for spec in case.inputs]
    cudnn = case.covers != "grid_sample"  # cuDNN's sampler does not run on tensors without numbers, torch's own does
    with FakeTensorMode() as mode, torch.backends.cudnn.flags(enabled=cudnn):
        with torch.device("cuda"):
            layer = case.build()
        if isinstance(layer, torch.nn.Module):  # weights of classes are given as they are
            for name, buffer in layer.named_buffers():
                if not isinstance(buffer, FakeTensor):
                    setattr(layer, name, on_gpu(buffer, mode))
        packed = "-packed" in case.name  # torch keeps the batch sizes of such sequences, the second input, on the CPU
        inputs = [v if packed and i == 1 else on_gpu(v, mode) for i, v in enumerate(inputs)]
        for value, spec in zip(inputs, case.inputs, strict=True):
            for tensor in tensors_of(value):
                tensor.requires_grad_(spec.differentiable and tensor.is_floating_point())
        inputs = [v.clone() if isinstance(v, FakeTensor) else v for v in inputs]  # no leaves: some are written over
        with Watch() as watch:
            outputs = [o for o in tensors_of(layer(*inputs)) if o.grad_fn is not None]
            assert all(o.is_cuda for o in outputs)
            assert run_backward(outputs) > 0 or not outputs
    return watch.copies


@pytest.mark.usefixtures("fake_gpu")
@pytest.mark.parametrize("case", ROWS)
def test_no_rule_waits_for_the_gpu(case: Case) -> None:
    """Except where torch's own function waits, too, or does not run on such tensors: then both end in one error."""
    try:
        copies = step(case)
    except RuntimeError as error:
        if case.twin is None:
            raise
        with pytest.raises(type(error), match=re.escape(str(error).split("\n")[0])):
            step(replace(case, build=case.twin))
        return
    assert copies == []


class Waiting(mb.rules.Rule):
    """y = x max(x)

    input, output, delta (*)

    delta_input = delta max(x), with a number from the GPU and one to it
    """

    @staticmethod
    def forward(input: Tensor) -> Tensor:
        return input * input.max()

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple, output: Tensor) -> None:
        ctx.save_for_backward(*inputs)

    @staticmethod
    def backward(ctx: Any, delta: Tensor) -> Tensor:
        (input,) = ctx.saved_tensors
        return delta * (input.max().item() if input.dim() == 1 else torch.tensor([2.0], device=input.device))


@pytest.mark.usefixtures("fake_gpu")
def test_a_rule_that_waits_is_caught() -> None:
    def case(*shape: int) -> Case:
        return Case("Waiting", lambda: lambda x: mb.functional.call(Waiting, x), None, (normal(*shape),))

    with pytest.raises(DataDependentOutputException):
        step(case(3))
    assert len(step(case(3, 2))) == 1


def networks() -> dict[str, tuple[torch.nn.Module, Tensor, Tensor]]:
    """A convolutional network and a transformer's block with a vocabulary, each with a batch."""
    nn = torch.nn
    cnn = nn.Sequential(
        nn.Conv2d(3, 8, 3, bias=False), nn.BatchNorm2d(8), nn.ReLU(), nn.MaxPool2d(3, 2, 1), nn.GroupNorm(2, 8),
        nn.GELU(), nn.Dropout(0.1), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(8, 10),
    )  # fmt: skip
    block = nn.Sequential(Embed(64, 16, 32), Block(32, 2, causal=True), nn.LayerNorm(32), nn.Linear(32, 64))
    block.append(nn.Flatten(0, 1))
    tokens, labels = torch.randint(64, (4, 16)), torch.randint(64, (64,))
    return {"cnn": (cnn, torch.randn(4, 3, 16, 16), torch.randint(10, (4,))), "block": (block, tokens, labels)}


@pytest.mark.gpu
@pytest.mark.parametrize("autocast", [False, True])
@pytest.mark.parametrize("mode", ["exact", "off"])
@pytest.mark.parametrize("name", ["cnn", "block"])
def test_a_training_step_is_captured_and_replayed(
    name: str, mode: str, autocast: bool, caplog: pytest.LogCaptureFixture
) -> None:
    """Gradients of a new batch, by replaying the graph of another, are those of an eager step."""
    torch.manual_seed(0)
    model, x, y = networks()[name]
    model = mb.convert(model).cuda()
    for module in model.modules():
        if isinstance(module, torch.nn.Dropout):
            module.p = 0.0  # the draws of a replay are others than those of an eager step
    static_x, static_y = x.cuda(), y.cuda()
    parameters = list(model.parameters())

    def step() -> Tensor:
        for p in parameters:
            p.grad = None
        with torch.autocast("cuda", torch.bfloat16, enabled=autocast), mb.saving(mode), mb.explicit():
            loss: Tensor = mb.functional.cross_entropy(model(static_x), static_y)
        loss.backward()
        return loss

    stream = torch.cuda.Stream()
    stream.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(stream):  # kernels are built, and cuBLAS and cuDNN get their memory
        for _ in range(3):
            step()
    torch.cuda.current_stream().wait_stream(stream)
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        loss = step()
    captured = [p.grad for p in parameters]
    new_x, new_y = (torch.randn_like(x), torch.randint_like(y, 10)) if name == "cnn" else (x.flip(0), y.flip(0))
    static_x.copy_(new_x)
    static_y.copy_(new_y)
    graph.replay()
    torch.cuda.synchronize()
    found = [loss.clone(), *[g.clone() for g in captured if g is not None]]
    expected = [step(), *[p.grad for p in parameters if p.grad is not None]]
    tolerance = 2e-2 if autocast else 1e-4  # sums in another order, rounded to bfloat16
    for ours, eager in zip(found, expected, strict=True):
        torch.testing.assert_close(ours, eager, rtol=tolerance, atol=tolerance * float(eager.abs().max() + 1e-6))
    assert "no Triton kernel" not in caplog.text


@pytest.mark.gpu
def test_a_written_step_is_captured_and_trains_as_torch_does() -> None:
    torch.manual_seed(0)
    layers = torch.nn.Linear(8, 32), torch.nn.GELU(), torch.nn.LayerNorm(32), torch.nn.Linear(32, 4)
    theirs = torch.nn.Sequential(*layers).cuda()
    ours = mb.convert(copy.deepcopy(theirs))
    mine, other = (torch.optim.SGD(m.parameters(), lr=0.1) for m in (ours, theirs))
    step = Step(ours, torch.nn.functional.cross_entropy, mine)
    for _ in range(5):
        x, t = torch.randn(16, 8, device="cuda"), torch.randint(4, (16,), device="cuda")
        loss = step(x, targets=t)
        other.zero_grad()
        expected = torch.nn.functional.cross_entropy(theirs(x), t)
        expected.backward()
        other.step()
        torch.testing.assert_close(loss, expected.detach(), rtol=1e-5, atol=1e-6)  # float32, sums in another order
    (compiled,) = step.known.values()
    assert compiled.captured is not None
    assert compiled.captured.graph is not None
    for p, q in zip(ours.parameters(), theirs.parameters(), strict=True):
        torch.testing.assert_close(p, q, rtol=1e-4, atol=1e-5)  # float32 over five steps
