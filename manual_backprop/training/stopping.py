"""Ends a run on a signal: SIGTERM from a scheduler or container, SIGINT from Ctrl-C."""

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
    """Raised in the main thread by such a signal. It is no Exception, so that `except Exception` does not catch it."""

    def __init__(self, number: int) -> None:
        super().__init__(f"stopped by {signal.Signals(number).name}")
        self.status = 128 + number
        self.folder: Path | None = None  # of the stopped run


@contextmanager
def stoppable() -> Iterator[list[int]]:
    """SIGTERM and SIGINT raise Stopped inside. Yields the list of signals received, in case the exception gets lost."""
    received: list[int] = []
    owner = os.getpid()

    def stop(number: int, frame: FrameType | None) -> None:
        if os.getpid() != owner:  # a DataLoader's worker, forked with this handler
            signal.signal(number, signal.SIG_DFL)
            os.kill(os.getpid(), number)
            return
        received.append(number)
        if len(received) > 1:  # the shutdown begun by the first signal goes on; a third one kills
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
    """Names a run's last checkpoint and the command that continues from it."""
    last, name = folder / "checkpoints" / "last.ckpt", folder.parent.name
    saved = f"the last checkpoint is {last}. Continue" if last.is_file() else "nothing was saved yet. Start again"
    words = [f"--run.folder={folder.parents[1]}", f"--run.name={name}", f"--run.version={folder.name}"]
    try:
        if (folder / "config.yaml").is_file():
            require_harmless(folder / "config.yaml")
    except BadInput:
        words.append("--trust")  # config.yaml names a class of the user's own
    return f"{saved} with: manual-backprop fit {shlex.join(words)} --ckpt_path last"
