"""Times one layer, or the training step of one network, against torch.nn."""

from __future__ import annotations

import argparse
import json
import sys
import textwrap
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch

from .._files import write_atomically
from .._options import EXPECTED, build_model, random_batch, running
from .._tables import text_table
from ..convert import revert
from ..errors import BadInput, require_at_least, unknown
from ..training.models import MODELS
from . import layers, steps
from .networks import NETWORKS, Network
from .peers import PEERS
from .rows import SIZES, rows
from .timing import disturbed, machine, threads

DTYPES = ("float32", "bfloat16", "float16", "float64")

LEGEND = """\
forward, backward, both: speed relative to torch.nn, above 1 faster; medians, and quartiles of the ratios per round"""


def main(argv: Sequence[str] | None = None) -> int:
    """Measure and print. Raises BadInput for an unknown name and for a layer or network that cannot run."""
    known = dict.fromkeys(row.layer for row in rows())
    names = (f"layers: {', '.join(known)}", f"networks: {', '.join(NETWORKS)}")
    parser = argparse.ArgumentParser("manual-backprop bench", description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter,
                                     epilog="\n\n".join(textwrap.fill(text, 100) for text in names))  # fmt: skip
    what = parser.add_mutually_exclusive_group(required=True)
    what.add_argument("--layer", metavar="NAME", help="forward and backward at three sizes; names: below")
    what.add_argument("--model", metavar="NAME", help="a training step; names: below, or an import path such as "
                      "torchvision.models.resnet18 (then with --input)")  # fmt: skip
    parser.add_argument("--model-args", default="{}", metavar="JSON", help="arguments of a model by import path")
    parser.add_argument("--input", metavar="N,C,H,W", help="shape of a batch for a model by import path")
    parser.add_argument("--compile", action="store_true", help="with --model: measure torch.compile's step, too")
    parser.add_argument("--device", default="cpu", choices=("cpu", "cuda"), help="default %(default)s")
    parser.add_argument("--dtype", default="float32", choices=DTYPES, help="default %(default)s")
    parser.add_argument("--threads", type=int, metavar="N", help="default: the number that torch chooses")
    parser.add_argument("--rounds", type=int, metavar="N", help="default: as many as fit into a few seconds")
    parser.add_argument("--json", metavar="FILE", help="also write the numbers to this file")
    options = parser.parse_args(argv)
    require_at_least("bench", 1, rounds=options.rounds, threads=options.threads)
    if options.device == "cuda" and not torch.cuda.is_available():
        raise BadInput("--device cuda: torch sees no CUDA device here; run without --device.")
    dtype = getattr(torch, options.dtype)
    with threads(options.threads):
        found = _layer(options, dtype, known) if options.layer else _model(options, dtype)
        where = machine()
    print(f"{options.dtype} on {where['gpu'] if options.device == 'cuda' else where['cpu']}, "
          f"{where['threads']} threads, torch {where['torch']}")  # fmt: skip
    if options.json:
        text = json.dumps({"machine": where, "results": found}, indent=1)
        write_atomically(Path(options.json), f"{text}\n".encode())
    return 0


def _layer(options: argparse.Namespace, dtype: torch.dtype, known: dict[str, Any]) -> Any:
    chosen = [row for row in rows() if row.layer == options.layer]
    if not chosen:
        raise unknown("layer", options.layer, known, shown=len(known))
    if options.compile or options.input:
        raise BadInput("--compile and --input need --model; they do not apply to --layer.")
    found = [layers.measure(row, size, options.device, dtype, options.rounds) for row in chosen for size in SIZES]
    table = text_table(layers.HEAD, [m.cells() for m in found], left=(0, 1, 8))
    print("\n".join(filter(None, (table, LEGEND, disturbed([m.spread for m in found])))))
    return [m.json() for m in found]


def _model(options: argparse.Namespace, dtype: torch.dtype) -> Any:
    with torch.random.fork_rng(), _running(options):
        torch.manual_seed(0)
        network = _network(options)
        names = (*steps.CONTESTANTS, *["compile"] * options.compile, *PEERS)
        found = steps.measure(network, names, options.rounds, device=options.device, dtype=dtype)
    print("\n".join([text_table(steps.HEAD, found.cells()), *found.notes()]))
    return {options.model: found.json()}


def _network(options: argparse.Namespace) -> Network:
    """The network of that name, or one by import path with a batch of `--input`."""
    if options.model in NETWORKS:
        if options.input:
            raise BadInput(f"--input {options.input}: {options.model} has its own batch; leave --input out.")
        return NETWORKS[options.model]
    if "." not in options.model and options.model not in MODELS:
        raise unknown("network", options.model, [*dict.fromkeys([*NETWORKS, *MODELS]), "any.import.path"])
    if not options.input:
        raise BadInput(f"--model {options.model} needs --input: {EXPECTED}.")
    options.no_convert = True
    x = random_batch(options)
    model = revert(build_model(options, x.shape))
    with torch.no_grad():
        output = model(x)
    if not isinstance(output, torch.Tensor) or output.ndim != 2 or len(output) != len(x):
        got = tuple(output.shape) if isinstance(output, torch.Tensor) else type(output).__name__
        raise BadInput(
            f"{options.model} gives {got} for {len(x)} inputs. expected: logits of shape ({len(x)}, classes)."
        )
    classes = output.shape[1]
    return Network(lambda: model, lambda: x, lambda: torch.randint(classes, (len(x),)))


@contextmanager
def _running(options: argparse.Namespace) -> Iterator[None]:
    """Turns an error while a network runs into BadInput, which names network, dtype and device."""
    if options.model not in NETWORKS:
        with running(options):
            yield
        return
    try:
        yield
    except (RuntimeError, ImportError) as error:
        raise BadInput(f"{options.model} cannot run in {options.dtype} on {options.device}: {error}") from error


if __name__ == "__main__":
    sys.exit(main())
