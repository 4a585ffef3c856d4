"""MNIST: a whole run to 99 % against pytorch's own example, and one training step against plain torch.nn.

python -m benchmarks.mnist --root data          both (about four minutes on two cores)
python -m benchmarks.mnist --root data step     the training step alone
"""

from __future__ import annotations

import argparse
import copy
import csv
import importlib
import itertools
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
import yaml
from torch import nn

import manual_backprop as mb
from manual_backprop._style import BLUE, INK, MUTED, SETTINGS

from .common import draw, interleaved, ratio, table, write

TARGET = 0.99


def example_net() -> nn.Module:
    """The network of pytorch's MNIST example."""
    return nn.Sequential(
        nn.Conv2d(1, 32, 3), nn.ReLU(), nn.Conv2d(32, 64, 3), nn.ReLU(), nn.MaxPool2d(2), nn.Dropout(0.25),
        nn.Flatten(), nn.Linear(9216, 128), nn.ReLU(), nn.Dropout(0.5), nn.Linear(128, 10),
    )  # fmt: skip


def example_run(root: str, limit: int) -> dict[str, Any]:
    """pytorch's MNIST example (Adadelta, batch 64, DataLoader with a transform per image) until it tests at 99 %."""
    from torchvision import transforms
    from torchvision.datasets import MNIST

    start = time.perf_counter()
    torch.manual_seed(1)
    transform = transforms.Compose([transforms.ToTensor(), transforms.Normalize((0.1307,), (0.3081,))])
    train = torch.utils.data.DataLoader(MNIST(root, train=True, transform=transform), batch_size=64, shuffle=True)
    test = torch.utils.data.DataLoader(MNIST(root, train=False, transform=transform), batch_size=1000)
    net = example_net()
    optimizer = torch.optim.Adadelta(net.parameters(), lr=1.0)
    scheduler = torch.optim.lr_scheduler.StepLR(optimizer, step_size=1, gamma=0.7)
    epochs = []
    for epoch in range(limit):
        net.train()
        for images, labels in train:
            optimizer.zero_grad()
            F.cross_entropy(net(images), labels).backward()
            optimizer.step()
        net.eval()
        with torch.no_grad():
            right = sum(int((net(images).argmax(1) == labels).sum()) for images, labels in test)
        scheduler.step()
        epochs.append({"epoch": epoch + 1, "accuracy": right / 10_000, "seconds": time.perf_counter() - start})
        print("pytorch example:", epochs[-1], flush=True)
        if right / 10_000 >= TARGET:
            break
    return {"epochs": epochs, "reached": epochs[-1]["accuracy"] >= TARGET, "seconds": epochs[-1]["seconds"]}


def our_run(root: str, seed: int, *options: str) -> dict[str, Any]:
    """`manual-backprop fit --config mnist_fast`, timed as a whole process: imports, training, test, files."""
    with tempfile.TemporaryDirectory() as folder:
        command = [sys.executable, "-m", "manual_backprop.cli", "fit", "--config", "mnist_fast", f"--data.root={root}",
                   f"--run.folder={folder}", f"--seed_everything={seed}", *options]  # fmt: skip
        start = time.perf_counter()
        done = subprocess.run(command, capture_output=True, text=True)
        seconds = time.perf_counter() - start
        if done.returncode:
            raise SystemExit(f"{' '.join(command)} failed:\n{done.stdout}\n{done.stderr}")
        (file,) = Path(folder).glob("**/metrics.csv")
        with file.open(newline="") as lines:
            accuracy = [row["test/accuracy"] for row in csv.DictReader(lines)][-1]
        result = {"seed": seed, "seconds": seconds, "accuracy": float(accuracy)}
    print("ours:", result, flush=True)
    return result


def step_times(root: str, rounds: int) -> dict[str, list[float]]:
    """One training step (forward, loss, backward, optimizer) of mnist_fast's network and recipe, ours and torch's."""
    from manual_backprop.training import datasets, runs
    from manual_backprop.training.batches import Augment, Batches
    from manual_backprop.training.models import build

    config = yaml.safe_load(runs.config_path("mnist_fast").read_text())
    model, data, spec = config["model"], config["data"], datasets.spec("mnist")
    split = datasets.read("mnist", root, False, 5000, 0)["train"]
    augment = Augment(**data["augment"]) if data.get("augment") else None
    batches = Batches(split, spec, data["batch_size"], shuffle=True, augment=augment)
    kept = [batches[i] for i in range(16)]
    memory_format = torch.channels_last if model.get("channels_last") else torch.contiguous_format
    net = build(model["net"], spec.shape, len(spec.classes), model.get("net_args", {})).to(memory_format=memory_format)
    smoothing = model.get("label_smoothing", 0.0)
    module, _, name = model["optimizer"]["class_path"].rpartition(".")
    make_optimizer = getattr(importlib.import_module(module), name)

    def step(net: nn.Module, loss: nn.Module) -> Any:
        optimizer = make_optimizer(net.parameters(), **model["optimizer"]["init_args"])
        turn = itertools.cycle(kept)

        def run() -> None:
            images, labels = next(turn)
            optimizer.zero_grad()
            loss(net(images.contiguous(memory_format=memory_format)), labels).backward()
            optimizer.step()

        return run

    theirs = mb.revert(copy.deepcopy(net))
    contestants = {
        "ours": step(net.train(), mb.nn.CrossEntropyLoss(label_smoothing=smoothing)),
        "torch": step(theirs.train(), nn.CrossEntropyLoss(label_smoothing=smoothing)),
    }
    return interleaved(contestants, rounds, lead=1)


def report_step(times: dict[str, list[float]]) -> tuple[str, dict[str, Any]]:
    found = ratio(times["ours"], times["torch"])
    rows = [[name, f"{statistics.median(values) * 1e3:.2f}"] for name, values in times.items()]
    text = table(["training step of mnist_fast", "median ms"], rows)
    text += f"\n\nours / torch: {found.value:.3f} (quartiles {found.low:.3f} to {found.high:.3f}), "
    text += f"{len(times['ours'])} steps each, alternately"
    return text, {
        "ratio": found.value,
        "quartiles": [found.low, found.high],
        "medians": {k: statistics.median(v) for k, v in times.items()},
    }


def report_run(example: dict[str, Any], ours: list[dict[str, Any]]) -> tuple[str, dict[str, Any]]:
    mean = statistics.mean(r["accuracy"] for r in ours)
    seconds = statistics.median(r["seconds"] for r in ours)
    last = example["epochs"][-1]
    rows = [
        ["pytorch's MNIST example", f"{last['epoch']} epochs", f"{last['seconds']:.0f}", f"{last['accuracy']:.2%}"],
        ["manual-backprop fit --config mnist_fast", f"{len(ours)} seeds", f"{seconds:.1f}", f"{mean:.2%}"],
    ]
    text = table(["whole run to 99 % on the test set", "", "seconds", "test accuracy"], rows)
    text += f"\n\nexample / ours: {last['seconds'] / seconds:.1f}x" + (
        "" if example["reached"] else " at least: it had not reached 99 % yet"
    )
    return text, {"example": example, "ours": ours, "speedup": last["seconds"] / seconds}


def plot(example: dict[str, Any], ours: list[dict[str, Any]]) -> None:
    import matplotlib as mpl
    from matplotlib.figure import Figure

    with mpl.rc_context(SETTINGS):  # type: ignore[arg-type]
        figure = Figure(figsize=(6.4, 3.6), layout="constrained", facecolor="white")
        axes = figure.subplots()
        axes.plot([e["seconds"] for e in example["epochs"]], [100 * e["accuracy"] for e in example["epochs"]], "o-",
                  color=MUTED, label="pytorch's MNIST example, each epoch")  # fmt: skip
        axes.plot([r["seconds"] for r in ours], [100 * r["accuracy"] for r in ours], "s", color=BLUE,
                  label="mnist_fast, whole run, one point a seed")  # fmt: skip
        axes.axhline(100 * TARGET, color=INK, linewidth=1, linestyle="--")
        axes.set(xlabel="seconds from start", ylabel="test accuracy, %", xscale="log", title="MNIST to 99 %")
        axes.legend()
        draw("mnist", figure)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("part", nargs="?", choices=["all", "step"], default="all")
    parser.add_argument("--root", default="data", help="folder that holds MNIST/raw")
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--epochs", type=int, default=6, help="limit for the example (default %(default)s)")
    parser.add_argument("--rounds", type=int, default=200)
    options = parser.parse_args()
    body, data = report_step(step_times(options.root, options.rounds))
    print(body, flush=True)
    write("mnist_step", "One training step on MNIST", body, data)
    if options.part == "step":
        return
    ours = [our_run(options.root, seed) for seed in range(options.seeds)]
    example = example_run(options.root, options.epochs)
    body, data = report_run(example, ours)
    print(body)
    write("mnist_run", "The whole MNIST run", body + "\n\n![accuracy over time](mnist.png)", data)
    plot(example, ours)


if __name__ == "__main__":
    main()
