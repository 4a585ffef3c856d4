"""Checkpoint files: whole or not there, read without running what they hold, and of this model or refused."""

import errno
import os
import pickle

import pytest
import torch

from manual_backprop import _files
from manual_backprop._files import write_atomically
from manual_backprop.errors import BadInput
from manual_backprop.training.checkpoints import AtomicCheckpointIO, compare_weights

from .runs import NET, fit


def test_replaces_the_file_and_leaves_nothing_aside(tmp_path):
    path = tmp_path / "new" / "a.ckpt"
    write_atomically(path, b"one")
    write_atomically(path, b"two")
    assert path.read_bytes() == b"two"
    assert [p.name for p in path.parent.iterdir()] == ["a.ckpt"]


@pytest.mark.parametrize("where", ["fsync", "replace"])
@pytest.mark.parametrize(
    ("number", "says"),
    [(errno.ENOSPC, "the disk is full"), (errno.EDQUOT, "the disk is full"), (errno.EIO, "Input/output error")],
)
def test_a_failing_disk_keeps_the_previous_file(tmp_path, monkeypatch, where, number, says):
    path = tmp_path / "last.ckpt"
    write_atomically(path, b"before")

    def fail(*_):
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(_files.os, where, fail)
    with pytest.raises(BadInput, match=rf"Cannot write .*last.ckpt: .*{says}.* The previous last.ckpt is intact"):
        write_atomically(path, b"after")
    assert path.read_bytes() == b"before"
    assert [p.name for p in tmp_path.iterdir()] == ["last.ckpt"]


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="needs /dev/full, a device on which every write fails")
def test_a_truly_full_device(tmp_path):
    path = tmp_path / "last.ckpt"
    write_atomically(path, b"before")
    (tmp_path / f".last.ckpt.{os.getpid()}").symlink_to("/dev/full")
    with pytest.raises(BadInput, match="the disk is full"):
        write_atomically(path, b"after")
    assert path.read_bytes() == b"before"


def test_a_disk_that_fills_up_ends_a_training_with_the_last_checkpoint_intact(tmp_path, monkeypatch):
    run = fit(tmp_path, *NET)
    before = (run / "checkpoints" / "last.ckpt").read_bytes()

    def fail(*_):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(_files.os, "fsync", fail)
    with pytest.raises(BadInput, match="the disk is full"):
        fit(tmp_path, *NET, "--ckpt_path=last", "--trainer.max_epochs=3")
    assert (run / "checkpoints" / "last.ckpt").read_bytes() == before


class Harmful:
    def __reduce__(self):
        return os.system, ("touch harm",)


def test_loading_runs_nothing_from_the_file(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    torch.save({"state_dict": {}, "extra": Harmful()}, "evil.ckpt")
    with pytest.raises(BadInput, match=r"evil.ckpt holds the pickled object \w+.system, .* could run code.* --trust"):
        AtomicCheckpointIO().load_checkpoint("evil.ckpt")
    assert not (tmp_path / "harm").exists()


@pytest.mark.parametrize("data", [b"", b"nothing of torch's", pickle.dumps({"state_dict": {}}, protocol=2)])
def test_files_that_are_no_checkpoints(tmp_path, data):
    (tmp_path / "x.ckpt").write_bytes(data)
    with pytest.raises(BadInput, match=r"x.ckpt is not a checkpoint that can be read"):
        AtomicCheckpointIO().load_checkpoint(tmp_path / "x.ckpt")


def test_a_truncated_checkpoint(tmp_path):
    AtomicCheckpointIO().save_checkpoint({"state_dict": {"w": torch.zeros(1000)}}, tmp_path / "x.ckpt")
    whole = (tmp_path / "x.ckpt").read_bytes()
    (tmp_path / "x.ckpt").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(BadInput, match=r"x.ckpt is not a checkpoint that can be read"):
        AtomicCheckpointIO().load_checkpoint(tmp_path / "x.ckpt")


def test_a_file_of_torch_that_is_no_checkpoint(tmp_path):
    torch.save({"w": torch.zeros(3)}, tmp_path / "x.ckpt")
    with pytest.raises(BadInput, match="holds no state_dict"):
        AtomicCheckpointIO().load_checkpoint(tmp_path / "x.ckpt")


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    return fit(tmp_path_factory.mktemp("runs"), *NET, "--trainer.max_epochs=1")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"state_dict": 5}, "state_dict is int"),
        ({"state_dict": {"a": 1}}, "state_dict holds more than tensors"),
        ({"state_dict": [torch.zeros(1)]}, "state_dict is list"),
        ({"epoch": "x"}, "epoch is str"),
        ({"global_step": None}, "global_step is NoneType"),
        ({"loops": {}}, "loops holds "),
        ({"loops": 5}, "loops is int"),
        ({"pytorch-lightning_version": "junk"}, "pytorch-lightning_version is junk"),
        ({"pytorch-lightning_version": None}, "pytorch-lightning_version is NoneType"),
        ({"optimizer_states": None}, "optimizer_states is NoneType"),
        ({"callbacks": 3}, "callbacks is int"),
    ],
)
def test_a_checkpoint_with_parts_of_another_kind(trained, tmp_path, change, message):
    whole = torch.load(trained / "checkpoints" / "last.ckpt", weights_only=True)
    torch.save({**whole, **change}, tmp_path / "x.ckpt")
    with pytest.raises(BadInput, match=rf"x.ckpt is not a checkpoint of such a run: {message}.*Give one that `fit`"):
        fit(tmp_path / "runs", *NET, f"--ckpt_path={tmp_path / 'x.ckpt'}")
    assert not (tmp_path / "runs").exists()


def test_differences_are_named():
    saved = {"a": torch.zeros(2), "b": torch.zeros(3), "gone": torch.zeros(1)}
    expected = {"a": torch.zeros(2), "b": torch.zeros(4), "new": torch.zeros(5)}
    with pytest.raises(BadInput) as error:
        compare_weights(saved, expected, "some.ckpt")
    lines = str(error.value).splitlines()
    assert lines == [
        "The checkpoint some.ckpt is of another model:",
        "  missing in the checkpoint: new (5,)",
        "  only in the checkpoint:    gone (1,)",
        "  b: checkpoint (3,), model (4,)",
        "Name the run's own config.yaml with --config, or another checkpoint with --ckpt_path.",
    ]
    compare_weights(saved, saved)


def test_resuming_from_another_model_is_refused(tmp_path):
    run = fit(tmp_path, *NET)
    best = run / "checkpoints" / "best.ckpt"
    with pytest.raises(BadInput, match=r"net.1.weight: checkpoint \(32, 64\), model \(16, 64\)"):
        fit(tmp_path, "--model.net_args={hidden: [16], norm: true}", f"--ckpt_path={best}")


def test_best_is_the_last_of_equals(tmp_path):
    # without learning every epoch has the same accuracy
    run = fit(tmp_path, *NET, "--model.optimizer.lr=0.0", "--model.scheduler=null", "--model.net_args.norm=false")
    assert torch.load(run / "checkpoints" / "best.ckpt", weights_only=True)["epoch"] == 1
