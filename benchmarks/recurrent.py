"""RNN, LSTM and GRU: time of forward and backward, and bytes saved for the backward, ours divided by torch's.

python -m benchmarks.recurrent                     (a minute on two cores)
python -m benchmarks.recurrent --rounds 5          fewer rounds, without writing results

2 layers of 256 units, 128 steps, batch 32, two threads. "segment 16": gates are not saved, but recomputed in the
backward, 16 steps at a time.
"""

from __future__ import annotations

import argparse
import statistics
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

import manual_backprop as mb
from manual_backprop.bench.timing import duration, threads
from manual_backprop.saving import size

from .common import interleaved, ratio, table, write

UNITS, LAYERS, STEPS, ROWS = 256, 2, 128, 32
CASES: tuple[tuple[str, dict[str, Any], torch.dtype, int], ...] = (
    ("LSTM", {}, torch.float32, 0),
    ("LSTM", {}, torch.float32, 16),
    ("LSTM", {"bidirectional": True}, torch.float32, 0),
    ("LSTM", {"proj_size": 128}, torch.float32, 0),
    ("LSTM", {}, torch.float64, 0),
    ("GRU", {}, torch.float32, 0),
    ("GRU", {}, torch.float32, 16),
    ("RNN", {}, torch.float32, 0),
)


def kept(run: Callable[[], Tensor], *others: Tensor) -> int:
    """Bytes that a forward saves, without the input and the weights."""
    found: dict[int, int] = {}

    def pack(tensor: Tensor) -> Tensor:
        found[tensor.untyped_storage().data_ptr()] = tensor.untyped_storage().nbytes()
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
        output = run()
    for other in others:
        found.pop(other.untyped_storage().data_ptr(), None)
    del output
    return sum(found.values())


def measured(name: str, options: dict[str, Any], dtype: torch.dtype, segment: int, rounds: int) -> dict[str, Any]:
    """Seconds of the forward and of the whole step, and saved bytes."""
    torch.manual_seed(0)
    twin = getattr(torch.nn, name)(UNITS, UNITS, LAYERS, **options).to(dtype)
    ours = getattr(mb.nn, name)(UNITS, UNITS, LAYERS, **options).to(dtype)
    ours.load_state_dict(twin.state_dict())
    if segment:
        ours.segment = segment
    x = torch.randn(STEPS, ROWS, UNITS, dtype=dtype, requires_grad=True)
    delta = torch.randn_like(twin(x)[0])

    def both(module: torch.nn.Module) -> Callable[[], Any]:
        return lambda: module(x)[0].backward(delta)

    forward = interleaved({"ours": lambda: ours(x)[0], "torch": lambda: twin(x)[0]}, rounds)
    step = interleaved({"ours": both(ours), "torch": both(twin)}, rounds)
    bytes_of = {key: kept(lambda m=m: m(x)[0], x, *m.parameters()) for key, m in (("ours", ours), ("torch", twin))}  # type: ignore[misc]
    return {"forward": forward, "step": step, "bytes": bytes_of}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int)
    options = parser.parse_args()
    rows, results = [], []
    with threads(2):
        for case in CASES:
            found = measured(*case, options.rounds or 40)
            name, kinds, dtype, segment = case
            label = ", ".join(
                [name, *(f"{k}={v}" for k, v in kinds.items()), str(dtype).removeprefix("torch.")]
                + [f"segment {segment}"] * bool(segment)
            )
            step, forward, kept_bytes = found["step"], found["forward"], found["bytes"]
            ratios = [str(ratio(seconds["ours"], seconds["torch"])) for seconds in (step, forward)]
            share = kept_bytes["ours"] / kept_bytes["torch"]
            times = [duration(statistics.median(step[key])) for key in ("ours", "torch")]
            sizes = [size(kept_bytes[key]) for key in ("ours", "torch")]
            rows.append((label, *ratios, *times, f"{share:.2f}", *sizes))
            results.append({"case": label, **found})
            print(*rows[-1], flush=True)
    head = ("layer", "step, ours / torch", "forward, ours / torch", "step, ours", "step, torch", "bytes, ours / torch",
            "bytes, ours", "bytes, torch")  # fmt: skip
    about = f"{LAYERS} layers of {UNITS} units, {STEPS} steps, batch {ROWS}; medians, quartiles in brackets."
    text = f"{about}\n\n{table(head, rows)}"
    print(text)
    if options.rounds is None:
        write("recurrent", "Recurrent layers: time and bytes", text, results)


if __name__ == "__main__":
    main()
