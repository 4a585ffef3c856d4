"""Runs many programs in several processes, and collects the failures, each kind once."""

from __future__ import annotations

import logging
import multiprocessing
import random
import re
import time
import traceback
from collections import Counter
from dataclasses import dataclass, field
from multiprocessing.connection import Connection, wait
from typing import Any

import torch

from manual_backprop.engine import node
from manual_backprop.memory import saving

from .generate import generate
from .judge import Failure, judge
from .program import Program
from .shrink import shrink

PATIENCE = 180
"""Seconds after which a program counts as one that hangs; most take a hundredth of one."""


def drawn(seed: int, number: int, compiled: bool = False, focus: str = "") -> Program:
    """The program of that number: the same in any process."""
    return generate(random.Random(f"{seed}/{number}"), compiled, focus)


def signature(program: Program, failure: Failure) -> str:
    """Equal for programs that fail for the same reason, as far as can be told: what fails, and which steps it takes."""
    codes = [program.modules[s.module] if s.module is not None else s.code for s in program.steps]
    steps = sorted({re.sub(r"[\d.]+|\(.*", "", re.sub(r"\{\d\}|F\.|nn\.", "", code)) for code in codes[-2:]})
    return f"{failure.kind} {failure.key()[1] if failure.kind != 'differs' else ''} {' '.join(steps)}"


@dataclass
class Worker:
    process: Any
    pipe: Connection
    number: int = 0
    since: float = 0.0
    program: Program | None = None  # what it runs
    failure: Failure | None = None  # what it makes small


@dataclass
class Hunt:
    """What has been found so far."""

    seed: int
    programs: int = 0
    asked: Counter[str] = field(default_factory=Counter)
    failures: int = 0
    found: dict[str, tuple[int, Program, Failure]] = field(default_factory=dict)

    def __str__(self) -> str:
        return f"{self.programs} programs, {self.failures} failed, {len(self.found)} of them for different reasons"


def small_programs() -> None:
    """From 16,384 elements on tensors are recomputed, and native nodes record the first call: programs are small, and
    what they do is done once or twice."""
    saving.LARGE = 2**14
    if node.wait():
        node.limits(2**14, calls=0)


def work(
    pipe: Connection, seed: int, compiled: bool, focus: str, seconds: float, only: dict[str, object], ignored: list[str]
) -> None:
    """Judge the programs whose numbers come in; shrink those that fail."""
    torch.set_num_threads(1)
    logging.disable(logging.WARNING)
    small_programs()
    while (number := pipe.recv()) is not None:
        try:
            program = drawn(seed, number, compiled, focus).with_modes(**only)
            pipe.send(("drawn", program, None))
            failure = judge(program)
        except Exception:
            pipe.send(("broken", number, traceback.format_exc()))
            raise
        if failure is not None and any(words in failure.detail for words in ignored):
            failure = None
        if failure is not None:
            pipe.send(("failed", program, failure))
            program, failure = shrink(program, failure, seconds)
        pipe.send(("done", program, failure))


def hunt(
    seed: int,
    seconds: float,
    programs: int | None = None,
    processes: int = 2,
    compiled: bool = False,
    focus: str = "",
    shrinking: float = 60,
    only: dict[str, object] | None = None,
    ignored: list[str] | None = None,
    report: Any = lambda *_: None,
) -> Hunt:
    """Programs 0, 1, 2, ... of that seed, until the seconds or the programs are used up."""
    result, end, following = Hunt(seed), time.monotonic() + seconds, 0
    context = multiprocessing.get_context("spawn")

    def start() -> Worker:
        here, there = context.Pipe()
        args = (there, seed, compiled, focus, shrinking, only or {}, ignored or [])
        process = context.Process(target=work, args=args, daemon=True)
        process.start()
        there.close()
        return Worker(process, here)

    def feed(worker: Worker) -> bool:
        nonlocal following
        if time.monotonic() > end or (programs is not None and following >= programs):
            worker.pipe.send(None)
            return False
        worker.number, worker.since, worker.program, worker.failure = following, time.monotonic(), None, None
        following += 1
        worker.pipe.send(worker.number)
        return True

    def note(number: int, program: Program, failure: Failure) -> None:
        result.failures += 1
        key = signature(program, failure)
        if key not in result.found:
            result.found[key] = number, program, failure
            report(result, number, program, failure)

    workers = [start() for _ in range(processes)]
    workers = [w for w in workers if feed(w)]
    while workers:
        ready = wait([w.pipe for w in workers], timeout=5)
        for worker in list(workers):
            failed = None
            if worker.pipe in ready:
                try:
                    word, program, failure = worker.pipe.recv()
                except EOFError:
                    worker.process.join()
                    failed = f"the process died with status {worker.process.exitcode}"
                else:
                    if word in ("drawn", "failed"):
                        worker.program, worker.failure = program, failure
                        worker.since = time.monotonic() + (shrinking if failure else 0)
                        continue
                    if word == "broken":  # the test itself
                        raise RuntimeError(f"seed {seed}, program {program}: {failure}")
                    result.programs += 1
                    result.asked[program.modes.ask] += 1
                    if failure is not None:
                        note(worker.number, program, failure)
                    if not feed(worker):
                        workers.remove(worker)
                    continue
            elif time.monotonic() - worker.since > PATIENCE:
                worker.process.kill()
                failed = f"no end after {PATIENCE} s"
            if failed:
                result.programs += 1
                if worker.program is not None:  # else torch has died of it while it was drawn
                    note(worker.number, worker.program, worker.failure or Failure("crash", failed, failed))
                workers.remove(worker)
                fresh = start()
                if feed(fresh):
                    workers.append(fresh)
        report(result, None, None, None)
    return result
