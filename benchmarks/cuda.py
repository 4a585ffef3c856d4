"""One training step (forward, loss, backward) on a GPU in bfloat16 autocast: time and memory, ours against eager.

python -m benchmarks.cuda                     ResNet-50 and ViT-S/16 (224, batch 64), GPT-2 small (T 1,024, batch 8)
python -m benchmarks.cuda --model gpt2        one, without writing results
python -m benchmarks.cuda --profile           also the GPU kernels in a step of eager and of exact
python -m benchmarks.cuda --dry-run           all of this code on the CPU, with networks of a few thousand parameters

Contestants run alternately in one process. "eager" is torch.nn; "exact" is ours with default settings; "off" is ours
with every tensor saved, as autograd does; "compile" is eager under torch.compile; "liger" is eager with Liger-Kernel's
LayerNorm and cross-entropy, if the package is installed; "eager-graph" and "exact-graph" replay a CUDA graph of a step,
without the overhead of Python.
"""

from __future__ import annotations

import argparse
import copy
import importlib
import statistics
import sys
import traceback
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

import manual_backprop as mb
from manual_backprop.bench.networks import Block, Embed, Mean, Network, Patches, images, labels
from manual_backprop.bench.timing import duration, interleaved, now, ratio

from .common import table, write

TIME, MEMORY = 0.9, 0.6
"""Targets for "exact", relative to eager: at most this time of a step, and these bytes saved by the forward."""

PROFILED = 20
"""How many kernels a profile lists."""

HOW = (
    "bfloat16 autocast; ResNet-50 and ViT-S/16 on 64 images of 224 x 224, GPT-2 small on 8 x 1,024 tokens. A step is "
    "forward, loss and backward, without an optimizer. `eager` is torch.nn, `exact` is ours with default settings, "
    "`off` is ours with every tensor saved, as autograd does; `eager-graph` and `exact-graph` replay a CUDA graph of "
    "such a step."
)

CONTESTANTS = ("eager", "exact", "off", "compile", "liger", "eager-graph", "exact-graph")

Loss = Callable[[Tensor, Tensor], Tensor]


def resnet50() -> nn.Module:
    from torchvision.models import resnet50

    return resnet50()


def vit(size: int = 224, width: int = 384, depth: int = 12, heads: int = 6) -> nn.Module:
    """ViT-S/16; the mean over patches replaces the class token."""
    blocks = [Block(width, heads, causal=False) for _ in range(depth)]
    return nn.Sequential(Patches(size, 16, width), *blocks, nn.LayerNorm(width), Mean(), nn.Linear(width, 1000))


def gpt2(vocabulary: int = 50257, tokens: int = 1024, width: int = 768, depth: int = 12, heads: int = 12) -> nn.Module:
    """GPT-2 small without dropout; its logits have one row per token."""
    blocks = [Block(width, heads, causal=True) for _ in range(depth)]
    last = nn.LayerNorm(width), nn.Linear(width, vocabulary, bias=False), nn.Flatten(0, 1)
    return nn.Sequential(Embed(vocabulary, tokens, width), *blocks, *last)


def tiny_cnn() -> nn.Module:
    first = nn.Conv2d(3, 8, 3, bias=False), nn.BatchNorm2d(8), nn.ReLU(), nn.MaxPool2d(3, 2, 1)
    return nn.Sequential(*first, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(8, 10))


def tokens(vocabulary: int, batch: int, length: int) -> Callable[[], Tensor]:
    return lambda: torch.randint(vocabulary, (batch, length))


NETWORKS = {
    "resnet50": Network(resnet50, images(64, 3, 224), labels(64, 1000)),
    "vit-s16": Network(vit, images(64, 3, 224), labels(64, 1000)),
    "gpt2": Network(gpt2, tokens(50257, 8, 1024), labels(8 * 1024, 50257)),
}
DRY = {
    "resnet50": Network(tiny_cnn, images(2, 3, 32), labels(2)),
    "vit-s16": Network(lambda: vit(32, 16, 1, 2), images(2, 3, 32), labels(2, 1000)),
    "gpt2": Network(lambda: gpt2(50, 8, 16, 1, 2), tokens(50, 2, 8), labels(2 * 8, 50)),
}
"""Tiny versions by the same names, for --dry-run."""


@dataclass
class Found:
    """Results of one network by contestant. seconds: of the steps. kept: bytes saved by the forward. peak: bytes of a
    step above those of the idle model. missing: why a contestant could not run. compiling: seconds of the first step
    of "compile". profiles: text of a profiled step."""

    seconds: dict[str, list[float]] = field(default_factory=dict)
    kept: dict[str, int] = field(default_factory=dict)
    peak: dict[str, int] = field(default_factory=dict)
    missing: dict[str, str] = field(default_factory=dict)
    compiling: float | None = None
    profiles: dict[str, str] = field(default_factory=dict)

    @property
    def good(self) -> bool:
        """Whether torch.nn and ours could run."""
        return not {"eager", "exact", "off"} & self.missing.keys()


class Contestant:
    """A model with its loss; its steps run in bfloat16 autocast."""

    def __init__(self, model: nn.Module, x: Tensor, y: Tensor, loss: Loss, mode: str | None = None) -> None:
        self.model, self.x, self.y, self.loss, self.mode = model, x, y, loss, mode

    def forward(self) -> Tensor:
        self.model.zero_grad(set_to_none=True)
        with torch.autocast(self.x.device.type, torch.bfloat16):
            if self.mode is None:
                return self.loss(self.model(self.x), self.y)
            with mb.saving(self.mode), mb.explicit():
                return self.loss(self.model(self.x), self.y)

    def step(self) -> None:
        self.forward().backward()

    def memory(self) -> tuple[int, int]:
        """Bytes saved by the forward and peak bytes of a step, both above those allocated before."""
        self.model.zero_grad(set_to_none=True)
        before = _allocated(self.x.device)
        loss = self.forward()
        kept = _allocated(self.x.device) - before
        loss.backward()
        return kept, _peak(self.x.device) - before


def _allocated(device: torch.device) -> int:
    """Bytes allocated now; resets the peak. 0 on the CPU, whose allocator does not report it."""
    if device.type != "cuda":
        return 0
    torch.cuda.synchronize()
    torch.cuda.reset_peak_memory_stats()
    return torch.cuda.memory_allocated()


def _peak(device: torch.device) -> int:
    return torch.cuda.max_memory_allocated() if device.type == "cuda" else 0


def liger(model: nn.Module) -> tuple[nn.Module, Loss]:
    """The model with Liger-Kernel's LayerNorm in place of torch's, and its cross-entropy. Raises ImportError."""
    transformers = importlib.import_module("liger_kernel.transformers")
    for module in list(model.modules()):
        for name, child in module.named_children():
            if type(child) is nn.LayerNorm:
                theirs = transformers.LigerLayerNorm(child.normalized_shape[0], eps=child.eps)
                theirs.load_state_dict(child.state_dict())
                setattr(module, name, theirs.to(child.weight.device))
    return model, transformers.LigerCrossEntropyLoss()


def profile(step: Callable[[], None], device: str) -> str:
    """The kernels that take most of the GPU's time in a step, and for how much of the step the GPU is busy."""
    from torch.profiler import ProfilerActivity

    activities = [ProfilerActivity.CPU] + [ProfilerActivity.CUDA] * (device == "cuda")
    with torch.profiler.profile(activities=activities) as record:
        start = now()
        step()
        seconds = now() - start
    on_cpu = torch.profiler.DeviceType.CPU  # these entries repeat the kernels' time for their operators
    kernels = [e for e in record.key_averages() if e.device_type != on_cpu]
    busy = sum(e.self_device_time_total for e in kernels) / 1e6  # of microseconds
    kernels.sort(key=lambda e: e.self_device_time_total, reverse=True)
    lines = [(e.key[:90], e.count, duration(e.self_device_time_total / 1e6)) for e in kernels[:PROFILED]]
    said = f"{duration(busy)} of kernels in a step of {duration(seconds)} (with the profiler's own time)"
    return f"{said}\n\n{table(('kernel', 'times', 'in all'), lines)}"


def measure(
    network: Network, names: Sequence[str], rounds: int | None, budget: float, device: str, profiled: bool = False
) -> Found:
    """Measures the memory of each contestant alone, then the time of all, alternately."""
    torch.manual_seed(0)
    model, x, y = network.build().to(device), network.input().to(device), network.target().to(device)
    found = Found()
    steps: dict[str, Callable[[], Any]] = {}
    alive: list[Contestant] = []  # a CUDA graph reads the memory of their tensors, so they must not be freed
    for name in names:
        theirs = copy.deepcopy(model)
        try:
            kind, _, replayed = name.partition("-")
            if kind == "eager":
                contestant = Contestant(theirs, x, y, F.cross_entropy)
            elif name == "compile":
                compiled: Any = torch.compile(theirs)
                contestant = Contestant(compiled, x, y, F.cross_entropy)
            elif name == "liger":
                contestant = Contestant(*_placed(liger(theirs), x, y))
            else:
                contestant = Contestant(mb.convert(theirs), x, y, mb.functional.cross_entropy, kind)
            start = now()
            contestant.step()
            if name == "compile":
                found.compiling = now() - start
            contestant.step()
            if replayed:
                steps[name] = graphed(contestant.step, device)
                alive.append(contestant)
                continue
        except ImportError as error:
            found.missing[name] = str(error)
            continue
        except torch.OutOfMemoryError:
            found.missing[name] = "out of memory"
            continue
        except Exception as error:  # the other contestants are measured in any case
            traceback.print_exc()
            found.missing[name] = f"failed: {type(error).__name__}"
            continue
        if profiled and name in ("eager", "exact"):
            found.profiles[name] = profile(contestant.step, device)
        found.kept[name], found.peak[name] = contestant.memory()
        contestant.model.zero_grad(set_to_none=True)
        steps[name] = contestant.step
    found.seconds = interleaved(steps, rounds, budget)
    return found


def graphed(step: Callable[[], None], device: str) -> Callable[[], Any]:
    """A function that replays a CUDA graph of a step; on the CPU, the step itself."""
    if device != "cuda":
        return step
    stream = torch.cuda.Stream()
    stream.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(stream):  # lets cuBLAS and cuDNN allocate their memory first
        for _ in range(3):
            step()
    torch.cuda.current_stream().wait_stream(stream)
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        step()
    return graph.replay


def _placed(pair: tuple[nn.Module, Loss], x: Tensor, y: Tensor) -> tuple[nn.Module, Tensor, Tensor, Loss]:
    return pair[0], x, y, pair[1]


def summary(results: dict[str, Found]) -> str:
    """A table for each network, with its targets."""
    parts = []
    for network, found in results.items():
        lines = []
        for name, seconds in found.seconds.items():
            kept, peak = (_over(values, name) for values in (found.kept, found.peak))
            step = str(ratio(seconds, found.seconds["eager"])) if "eager" in found.seconds else "-"
            lines.append((name, duration(statistics.median(seconds)), step, kept, peak))
        head = "contestant", "step", "over eager (quartiles)", "kept (over eager)", "peak (over eager)"
        notes = [f"{name}: n/a, {reason}" for name, reason in found.missing.items()]
        if found.compiling is not None:
            notes.append(f"compile: {duration(found.compiling)} for the first step (its caches may be filled already)")
        if {"eager", "exact"} <= found.seconds.keys():
            time = ratio(found.seconds["exact"], found.seconds["eager"]).value
            notes.append(f"exact: time at most {TIME}: {_verdict(time, TIME)}")
            if found.kept["eager"]:
                kept_ratio = found.kept["exact"] / found.kept["eager"]
                notes.append(f"exact: kept at most {MEMORY}: {_verdict(kept_ratio, MEMORY)}")
        notes += [f"{name}: {text}" for name, text in found.profiles.items()]
        parts.append(f"## {network}\n\n{table(head, lines)}" + "".join(f"\n\n{note}" for note in notes))
    return "\n\n".join(parts)


def _over(values: dict[str, int], name: str) -> str:
    if name not in values:
        return "-"
    over = f"{values[name] / values['eager']:.2f}" if values.get("eager") else "-"
    return f"{values[name] / 2**20:,.0f} MiB ({over})"


def _verdict(value: float, target: float) -> str:
    return "met" if round(value, 2) <= target else "missed"


def main(argv: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", choices=NETWORKS, action="append")
    parser.add_argument("--without", choices=CONTESTANTS[1:], action="append", default=[])
    parser.add_argument("--rounds", type=int)
    parser.add_argument("--budget", type=float, default=60.0, help="seconds for the steps of one network")
    parser.add_argument("--profile", action="store_true", help="names of kernels and their time, for eager and exact")
    parser.add_argument("--dry-run", action="store_true", help="tiny networks on the CPU; no results are written")
    options = parser.parse_args(argv)
    if not options.dry_run and not torch.cuda.is_available():
        print(
            "benchmarks.cuda needs a GPU, and torch sees none (torch.cuda.is_available() is False): run it on a "
            "machine with one, or with --dry-run to try its code on the CPU",
            file=sys.stderr,
        )
        return 2
    networks, device = (DRY, "cpu") if options.dry_run else (NETWORKS, "cuda")
    names = [name for name in CONTESTANTS if name not in options.without]
    results: dict[str, Found] = {}
    for name in options.model or networks:
        results[name] = measure(networks[name], names, options.rounds, options.budget, device, options.profile)
        print(summary({name: results[name]}) + "\n", flush=True)
        if not options.dry_run and not options.model:  # after each network, so that a crash loses no earlier results
            data = {network: vars(found) for network, found in results.items()}
            write("cuda", "A training step on a GPU", f"{HOW}\n\n{summary(results)}", data)
    return 0 if all(found.good for found in results.values()) else 1


if __name__ == "__main__":
    sys.exit(main())
