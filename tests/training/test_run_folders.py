"""Run folders: below their parent, and of one run each."""

import threading
from concurrent.futures import ThreadPoolExecutor

import pytest

from manual_backprop.errors import BadInput
from manual_backprop.training import cli, runs

from .runs import NET, arguments, fit


@pytest.mark.parametrize("option", ["name", "version"])
@pytest.mark.parametrize(
    "name", ["../../x", "..", ".", "", " ", "/tmp/x", "a/b", "a\\b", "a\nb", "a\0b", "a\udcff", "/"]
)
def test_names_that_leave_the_run_folder_are_refused(tmp_path, option, name):
    message = rf"run.{option}=.*: expected the name of one folder, without / and \\"
    with pytest.raises(BadInput, match=message):
        cli.main(arguments("fit", tmp_path / "in" / "runs", f"--run.{option}={name}"))
    with pytest.raises(BadInput, match=message):
        cli.main(arguments("test", tmp_path / "in" / "runs", f"--run.{option}={name}"))
    assert not list(tmp_path.iterdir())


def test_a_name_in_a_config_is_looked_at_too(tmp_path):
    (tmp_path / "c.yaml").write_text("run: {name: ../../x}")
    with pytest.raises(BadInput, match=r"run.name='../../x': expected the name of one folder"):
        cli.main(arguments("fit", tmp_path / "runs", f"--config={tmp_path / 'c.yaml'}"))


@pytest.mark.parametrize("name", ["ünïcode 数字", "a*", "[b]", "123", "1e5", "-x", "a.b"])
def test_other_names_are_taken_as_they_are(tmp_path, name):
    run = fit(tmp_path, *NET, f"--run.name={name}", f"--run.version={name}", "--trainer.max_epochs=1")
    assert run == tmp_path / name / name
    assert runs.newest(tmp_path, name, name, "checkpoints/best.ckpt") == run
    assert runs.newest(tmp_path, "a*b", None, "") is None


def test_an_explicit_version_is_one_run(tmp_path):
    once = (*NET, "--run.name=a", "--run.version=1", "--trainer.max_epochs=1")
    run = fit(tmp_path, *once)
    before = {path: path.read_bytes() for path in run.rglob("*") if path.is_file()}
    with pytest.raises(BadInput, match=r"run folder .*a/1 exists already. Continue its run with --ckpt_path last, or"):
        fit(tmp_path, *once)
    assert {path: path.read_bytes() for path in run.rglob("*") if path.is_file()} == before
    assert fit(tmp_path, *once, "--ckpt_path=last") == run


@pytest.mark.parametrize("version", [None, "one"])
def test_runs_started_at_once_never_share_a_folder(tmp_path, monkeypatch, version):
    monkeypatch.setattr(runs.time, "strftime", lambda _: "now")
    ready = threading.Barrier(8)

    def make(_):
        ready.wait()
        try:
            return runs.make_folder(runs.RunOptions(str(tmp_path), "name", version))[0]
        except BadInput:
            return None

    with ThreadPoolExecutor(8) as pool:
        made = list(filter(None, pool.map(make, range(8))))
    assert len(made) == len(set(made)) == (1 if version else 8)


def test_ranks_started_from_outside_share_the_version_that_is_named(tmp_path, monkeypatch):
    options = runs.RunOptions(str(tmp_path), "name", "one")
    runs.make_folder(options)
    monkeypatch.setenv("RANK", "1")
    assert runs.make_folder(options)[0] == tmp_path / "name" / "one"


def test_one_run_is_continued_by_one_process(tmp_path, monkeypatch):
    run = fit(tmp_path, *NET, "--trainer.max_epochs=1")
    monkeypatch.setattr(runs, "PATIENCE", 0.2)
    with runs.lock(run), pytest.raises(BadInput, match=rf"Another process is training in {run}. Wait until it ends"):
        fit(tmp_path, *NET, "--ckpt_path=last")
    assert fit(tmp_path, *NET, "--trainer.max_epochs=1", "--ckpt_path=last") == run
