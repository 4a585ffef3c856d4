"""Signals that ask for the end: SIGTERM of a scheduler or container, SIGINT of Ctrl-C."""

import os
import shlex
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType

from ..errors import BadInput
from .trust import require_harmless


class Stopped(BaseException):
    """Raised by such a signal wherever the main thread is; no Exception, so that nothing takes it for a failure."""

    def __init__(self, number: int) -> None:
        super().__init__(f"stopped by {signal.Signals(number).name}")
        self.status = 128 + number
        self.folder: Path | None = None  # of the run that it stopped


@contextmanager
def stoppable() -> Iterator[list[int]]:
    """Inside, SIGTERM and SIGINT raise Stopped. Yields the numbers received, for one raised where none can be."""
    received: list[int] = []
    owner = os.getpid()

    def stop(number: int, frame: FrameType | None) -> None:
        if os.getpid() != owner:  # a DataLoader's worker, forked with this handler
            signal.signal(number, signal.SIG_DFL)
            os.kill(os.getpid(), number)
            return
        received.append(number)
        if len(received) > 1:  # what was begun by the first ends by itself; a third one ends it anyway
            signal.signal(number, signal.SIG_DFL)
            return
        raise Stopped(number)

    if threading.current_thread() is not threading.main_thread():
        yield received  # only the main thread may set handlers, and only it is interrupted
        return
    before = {number: signal.signal(number, stop) for number in (signal.SIGTERM, signal.SIGINT)}
    try:
        yield received
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def how_to_continue(folder: Path) -> str:
    """Where a run's last checkpoint lies, and the command that goes on from there."""
    last, name = folder / "checkpoints" / "last.ckpt", folder.parent.name
    saved = f"the last checkpoint is {last}. Continue" if last.is_file() else "nothing was saved yet. Start again"
    words = [f"--run.folder={folder.parents[1]}", f"--run.name={name}", f"--run.version={folder.name}"]
    try:
        if (folder / "config.yaml").is_file():
            require_harmless(folder / "config.yaml")
    except BadInput:
        words.append("--trust")  # it names a class of the user's own
    return f"{saved} with: manual-backprop fit {shlex.join(words)} --ckpt_path last"
