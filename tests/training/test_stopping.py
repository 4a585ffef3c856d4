"""SIGTERM and SIGINT end a training with a status of their own, a line that says how to go on, and no half file."""

import os
import shlex
import signal
import time

import pytest

import manual_backprop.cli as command
from manual_backprop._files import write_atomically
from manual_backprop.training import cli, stopping
from manual_backprop.training.stopping import Stopped, stoppable

from .runs import NET, arguments, last, start

LONG = ("--trainer.max_epochs=10000", "--run.pictures=false", "--run.test=false", "--run.checkpoint_every=5", *NET)


@pytest.mark.parametrize("number", [signal.SIGTERM, pytest.param(signal.SIGINT, marks=pytest.mark.slow)])
def test_a_signal_ends_a_training_and_its_line_continues_it(tmp_path, capsys, number):
    with start(*arguments("fit", tmp_path / "my runs", *LONG, "--run.name=a b")) as process:
        for _ in range(2):
            process.stdout.readline()
        process.send_signal(number)
        shown, _ = process.communicate(timeout=120)
    assert process.returncode == 128 + number, shown
    (run,) = (tmp_path / "my runs").glob("*/*")
    (line,) = [line for line in shown.splitlines() if not line.startswith("epoch ")]
    assert line.startswith(
        f"stopped by {number.name}; the last checkpoint is {run}/checkpoints/last.ckpt. Continue with:"
    )
    assert not list(run.rglob(".*"))
    last(run)
    words = shlex.split(line.partition("manual-backprop ")[2])
    epochs = f"--trainer.max_epochs={last(run)['epoch'] + 1}"
    assert cli.main([*words, "--trainer.accelerator=cpu", epochs]) == 0
    assert f"continuing digits_mlp, run folder {run}" in capsys.readouterr().out


def test_before_anything_was_saved(tmp_path):
    line = stopping.how_to_continue(tmp_path / "a" / "b")
    assert line == (
        "nothing was saved yet. Start again with: "
        f"manual-backprop fit --run.folder={tmp_path} --run.name=a --run.version=b --ckpt_path last"
    )


def test_stopped_while_a_file_is_written(tmp_path, monkeypatch):
    write_atomically(tmp_path / "last.ckpt", b"before")

    def stopped(_):
        raise Stopped(signal.SIGTERM)

    monkeypatch.setattr("manual_backprop._files.os.fsync", stopped)
    with pytest.raises(Stopped):
        write_atomically(tmp_path / "last.ckpt", b"after")
    assert [p.name for p in tmp_path.iterdir()] == ["last.ckpt"]
    assert (tmp_path / "last.ckpt").read_bytes() == b"before"


def test_handlers_are_put_back_and_a_second_signal_does_not_interrupt_what_the_first_began():
    before = [signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT)]
    received = []

    def interrupted():
        with stoppable() as numbers:
            try:
                os.kill(os.getpid(), signal.SIGTERM)
                time.sleep(10)
            finally:
                os.kill(os.getpid(), signal.SIGINT)
                received.extend(numbers)

    with pytest.raises(Stopped) as stopped:
        interrupted()
    assert received == [signal.SIGTERM, signal.SIGINT]
    assert stopped.value.status == 143
    assert [signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT)] == before


def test_a_child_process_dies_of_the_signal(monkeypatch):
    sent = []
    with stoppable() as received:
        handler = signal.getsignal(signal.SIGTERM)
        monkeypatch.setattr(stopping.os, "getpid", lambda: -1)  # as a process forked off here would see it
        monkeypatch.setattr(stopping.os, "kill", lambda *what: sent.append((*what, signal.getsignal(signal.SIGTERM))))
        handler(signal.SIGTERM, None)
        assert sent == [(-1, signal.SIGTERM, signal.SIG_DFL)]
        assert not received


def test_the_other_commands_end_without_a_traceback(monkeypatch, capsys):
    def interrupted(_):
        raise KeyboardInterrupt

    monkeypatch.setattr(command, "run", interrupted)
    assert command.main([]) == 130
    assert capsys.readouterr().err == "stopped by SIGINT\n"


@pytest.mark.parametrize(
    "own", ["model: {net: mine.net}", "data: {class_path: mine.Data, init_args: {}}", "data: {dataset: mine.data}"]
)
def test_a_config_of_the_users_own_class_is_continued_with_trust(tmp_path, own):
    (tmp_path / "a" / "b").mkdir(parents=True)
    (tmp_path / "a" / "b" / "config.yaml").write_text(own)
    assert "--trust --ckpt_path last" in stopping.how_to_continue(tmp_path / "a" / "b")
