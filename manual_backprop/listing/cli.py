"""Writes a network's training step, forward and backward, as a Python file that needs torch alone."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence

import torch

from .. import nn
from .._options import CLASSES, add_model, build_model, random_batch, running
from .program import LEVELS, Program, write_out


def add_level(parser: argparse.ArgumentParser, default: str) -> None:
    parser.add_argument(
        "--level",
        default=default,
        choices=LEVELS,
        help="formulas: call each layer's formulas by name; torch: write out the torch operations in them "
        "(default %(default)s)",
    )


def of_model(options: argparse.Namespace) -> Program:
    """The program of the model that the options name: random images and labels, cross-entropy.

    Raises BadInput for a model that cannot be built, run, or written out.
    """
    batch = random_batch(options)
    with torch.random.fork_rng():
        torch.manual_seed(0)
        model = build_model(options, batch.shape)
        labels = torch.randint(CLASSES, (len(batch),))
        labels[0] = CLASSES - 1  # the file draws its labels from 0 up to the largest label here
        with running(options):
            return write_out(model, batch, targets=labels, loss=nn.CrossEntropyLoss(), level=options.level)


def main(argv: Sequence[str] | None = None) -> int:
    """`manual-backprop write`: random images and labels, cross-entropy. Raises BadInput as `of_model` does."""
    parser = argparse.ArgumentParser("manual-backprop write", description=__doc__)
    add_model(parser, required=True)
    add_level(parser, "formulas")
    parser.add_argument("--out", metavar="FILE", help="write to this file instead of standard output")
    options = parser.parse_args(argv)
    program = of_model(options)
    if options.out:
        program.save(options.out)
        print(f"{options.out}: {len(program.text.splitlines())} lines")
    else:
        print(program, end="")
    return 0


if __name__ == "__main__":
    sys.exit(main())
