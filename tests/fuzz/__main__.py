"""`python -m tests.fuzz --minutes 60`: look for programs that differ; print each, shrunk, as a script.

Exits with 1 if there was one.
"""

from __future__ import annotations

import argparse
import os
import sys
import time

import torch

from .hunt import Hunt, drawn, hunt
from .judge import Failure, judge
from .program import Program
from .shrink import shrink


def main(words: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.fuzz", description=__doc__)
    parser.add_argument("--minutes", type=float, default=5)
    parser.add_argument("--programs", type=int, help="at most so many")
    parser.add_argument("--seed", type=int, help="a program follows from seed and number; by default from the clock")
    parser.add_argument("--program", type=int, help="this one program of --seed alone")
    parser.add_argument("--processes", type=int, default=os.cpu_count() or 1)
    parser.add_argument("--compile", action="store_true", help="now and then a program under torch.compile (slow)")
    parser.add_argument("--focus", default="", metavar="PART", help="often steps with this in their name: celu, Conv")
    parser.add_argument("--modes", nargs="*", default=[], metavar="NAME=VALUE", help="in every program: saving=off ...")
    parser.add_argument("--ignore", nargs="*", default=[], metavar="WORDS", help="no failures with these in their text")
    parser.add_argument("--shrink", type=float, default=60, help="seconds at most to make one program small")
    options = parser.parse_args(words)
    if options.program is not None and options.seed is None:
        parser.error("--program needs the --seed that it was printed with")
    seed = options.seed if options.seed is not None else int(time.time())
    only = dict(word.split("=", 1) for word in options.modes)
    if options.program is not None:
        torch.set_num_threads(1)
        return alone(drawn(seed, options.program, options.compile, options.focus).with_modes(**only), options.shrink)
    print(f"seed {seed}, {options.processes} processes, {options.minutes:g} minutes", flush=True)
    last = time.monotonic()

    def report(so_far: Hunt, number: int | None, program: Program | None, failure: Failure | None) -> None:
        nonlocal last
        if program is not None and failure is not None:
            show(f"seed {seed}, program {number}", program, failure)
        elif time.monotonic() - last > 60:
            print(so_far, flush=True)
            last = time.monotonic()

    found = hunt(seed, options.minutes * 60, options.programs, options.processes, options.compile, options.focus,
                 options.shrink, only, options.ignore, report)  # fmt: skip
    print(f"{found}; seed {seed}")
    return 1 if found.found else 0


def alone(program: Program, seconds: float) -> int:
    failure = judge(program)
    if failure is None:
        print(program.code())
        print("# torch and manual_backprop agree")
        return 0
    show("as drawn", program, failure)
    show("shrunk", *shrink(program, failure, seconds))
    return 1


def show(title: str, program: Program, failure: Failure) -> None:
    print(f"\n# ---- {title}: {failure.kind}: {failure.detail}\n{program.code()}", flush=True)


if __name__ == "__main__":
    sys.exit(main())
