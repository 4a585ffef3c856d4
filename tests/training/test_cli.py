"""The command line: what a run leaves behind, and how names are found."""

import csv
import os
import subprocess
import sys

import numpy as np
import pytest
import torch
import yaml
from PIL import Image

import manual_backprop.cli as command
from manual_backprop.errors import BadInput
from manual_backprop.training import cli, datasets, runs
from manual_backprop.training.table import read_rows

from .runs import NET, arguments, fit, last

FULL = ("--trainer.max_epochs=2", *NET)


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    """The folder above a run with everything on."""
    folder = tmp_path_factory.mktemp("runs")
    cli.main(arguments("fit", folder, *FULL))
    return folder


def only_run(folder):
    (run,) = folder.glob("*/*")
    return run


# the dispatcher


def test_usage_names_every_command(capsys):
    assert command.main([]) == 0
    assert command.main(["--help"]) == 0
    shown = capsys.readouterr().out
    assert all(word in shown for word in command.COMMANDS)


def test_unknown_command(capsys):
    assert command.main(["audti"]) == 2
    assert "Unknown command 'audti'. Did you mean 'audit'" in capsys.readouterr().err
    assert command.main(["fitt"]) == 2
    assert "Did you mean 'fit'" in capsys.readouterr().err


def test_a_reader_that_leaves_early():
    read, write = os.pipe()
    os.close(read)
    with os.fdopen(write) as pipe:
        words = [sys.executable, "-m", "manual_backprop.cli", "--help"]
        ended = subprocess.run(words, stdout=pipe, stderr=subprocess.PIPE, check=False)
    assert (ended.returncode, ended.stderr) == (141, b"")


def test_missing_extra_is_named(monkeypatch, capsys):
    find = command.util.find_spec
    monkeypatch.setattr(command.util, "find_spec", lambda name: None if name in ("sklearn", "rich") else find(name))
    assert command.main(["fit"]) == 2
    error = capsys.readouterr().err
    assert "sklearn, rich not installed" in error
    assert 'pip install "manual-backprop[train]"' in error


@pytest.mark.parametrize("option", ["--help", "--model.optimizer.help=AdamW"])
def test_help_shows_the_options(capsys, option):
    with pytest.raises(SystemExit) as ended:
        cli.main(["fit", option])
    assert ended.value.code == 0
    assert "lr" in capsys.readouterr().out


@pytest.mark.parametrize("word", ["fit", "predict"])
def test_help_begins_with_our_own_options(capsys, word):
    with pytest.raises(SystemExit):
        cli.main([word, "--help"])
    shown = capsys.readouterr().out
    does = command.COMMANDS[word][1].capitalize()[:20]
    assert shown.startswith(f"usage: manual-backprop {word} [options]\n\n{does}")
    places = [
        shown.index(f"\n  --{name}") for name in ("model.net ", "data.dataset", "run.folder", "trainer.max_epochs")
    ]
    assert places == sorted(places)
    assert len(shown.splitlines()) < 700, "jsonargparse lists every subclass of torch.nn.Module that it knows"
    assert "torch.optim.SGD" in shown


def test_the_command_and_errors_need_no_lightning():
    code = "import manual_backprop.cli, sys; sys.exit('pytorch_lightning' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code]).returncode == 0


# what a run leaves


def test_run_folder_holds_everything(finished):
    run = only_run(finished)
    assert run.parent.name == "digits_mlp"
    expected = ["config.yaml", "metrics.csv", "deltas.csv", "checkpoints/best.ckpt", "checkpoints/last.ckpt"]
    pictures = ["learning_curves", "confusion_test", "delta_flow", "first_layer", "mistakes_test"]
    for name in [*expected, *(f"pictures/{picture}.png" for picture in pictures)]:
        assert (run / name).stat().st_size > 0, name
    assert list((run / "tensorboard").glob("events.*"))


def test_metrics_hold_every_stage(finished):
    rows = read_rows(only_run(finished) / "metrics.csv")
    columns = {"epoch", "step", "lr-AdamW", "train/loss_step"}
    columns |= {f"{stage}/{name}" for stage in ("train", "val", "test") for name in ("loss", "accuracy")}
    assert set().union(*rows) == columns
    (tested,) = [row for row in rows if "test/accuracy" in row]
    assert 0.5 < float(tested["test/accuracy"]) <= 1


def test_the_kept_config_is_resolved_and_gives_the_same_run_again(finished, tmp_path):
    run = only_run(finished)
    config = yaml.safe_load((run / "config.yaml").read_text())
    assert config["trainer"]["max_epochs"] == 2
    assert config["model"]["scheduler"]["class_path"] == "torch.optim.lr_scheduler.OneCycleLR"
    assert config["data"]["augment"]["shift"] == 1
    again = fit(tmp_path, f"--config={run / 'config.yaml'}")
    first, second = last(run)["state_dict"], last(again)["state_dict"]
    assert all(torch.equal(first[key], second[key]) for key in first)


def test_output(finished, tmp_path, capsys):
    cli.main(arguments("fit", tmp_path, *FULL))
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].startswith("training digits_mlp, run folder")
    assert lines[1].startswith("epoch 1/2")
    shown = "\n".join(lines)
    assert "test accuracy" in shown
    assert "0 autograd" in shown


def test_without_pictures_the_tables_are_kept(tmp_path):
    run = fit(tmp_path, *NET, "--run.test=true")  # fit() asks for --run.pictures=false
    assert not (run / "pictures").exists()
    assert all((run / name).stat().st_size > 0 for name in ("metrics.csv", "deltas.csv"))


def test_a_checkpoint_outside_of_a_run_folder_is_measured_in_a_folder_of_its_own(finished, tmp_path):
    run = only_run(finished)
    moved = tmp_path / "a" / "b" / "moved.ckpt"
    moved.parent.mkdir(parents=True)
    moved.write_bytes((run / "checkpoints" / "best.ckpt").read_bytes())
    cli.main(arguments("test", tmp_path / "runs", f"--ckpt_path={moved}", f"--config={run / 'config.yaml'}"))
    assert (only_run(tmp_path / "runs") / "pictures" / "confusion_test.png").is_file()
    assert list(tmp_path.rglob("pictures")) == [only_run(tmp_path / "runs") / "pictures"]


def test_test_and_validate_take_the_best_checkpoint_and_its_config(finished, capsys):
    metrics = read_rows(only_run(finished) / "metrics.csv")
    tested = next(float(row["test/accuracy"]) for row in metrics if "test/accuracy" in row)
    cli.main(["test", f"--run.folder={finished}", "--run.pictures=false"])
    assert f"{tested:.2%}" in capsys.readouterr().out
    cli.main(["validate", f"--run.folder={finished}", "--run.pictures=false"])
    best = max(float(row["val/accuracy"]) for row in metrics if "val/accuracy" in row)
    assert f"{best:.5f}"[:6] in capsys.readouterr().out


def test_last_is_another_checkpoint_than_best(finished, capsys):
    for which in ("best", "last"):
        cli.main(["test", f"--run.folder={finished}", f"--ckpt_path={which}", "--run.pictures=false"])
    assert capsys.readouterr().out.count("test accuracy") == 2


@pytest.mark.parametrize("options", [("--model.net=cnn",), ("--model.net=resnet", "--model.channels_last=true")])
def test_the_other_models_train(tmp_path, options):
    run = fit(tmp_path, *options)
    assert run.parent.name == f"digits_{options[0].rpartition('=')[2]}"
    rows = read_rows(run / "metrics.csv")
    losses = [float(row["val/loss"]) for row in rows if "val/loss" in row]
    assert losses[-1] < losses[0] < 3


def test_every_packaged_config_parses_and_its_model_reads_its_data():
    for path in sorted(runs.CONFIGS.glob("*.yaml")):
        config = yaml.safe_load(path.read_text())
        name, model = config["data"]["dataset"], config["model"]
        sizes = cli.DataModule(name).sizes
        task = model.get("task", "classification")
        learner = cli.Learner(model["net"], model["net_args"], *sizes, task)
        assert sum(p.numel() for p in learner.parameters()) > 300
        assert path.stem.startswith(name)


# predict


@pytest.fixture
def pictures(tmp_path):
    """Ten test digits as PNG files, named after their class."""
    test = datasets.read("digits", "", False, 180, 0)["test"]
    folder = tmp_path / "images"
    folder.mkdir()
    for label in range(10):
        image = test.images[test.labels == label][0, 0]
        Image.fromarray(image.numpy()).save(folder / f"{label}.png")
    return folder


def predictions(folder):
    with open(folder / "predictions.csv", newline="") as file:
        return list(csv.DictReader(file))


def test_predict_a_folder(finished, pictures, capsys):
    cli.main(["predict", f"--run.folder={finished}", "--images", str(pictures)])
    out = only_run(finished) / "predictions"
    rows = predictions(out)
    assert [row["path"] for row in rows] == [str(pictures / f"{label}.png") for label in range(10)]
    assert sum(row["class"] == str(label) for label, row in enumerate(rows)) >= 6  # two epochs: about 80 % right
    for row in rows:
        assert 1 >= float(row["confidence"]) >= float(row["second_confidence"]) >= 0
        assert row["class"] != row["second_class"]
    with Image.open(out / "predictions.png") as picture:
        assert picture.width > 300
    assert "9.png: " in capsys.readouterr().out


def test_predict_named_files_into_a_folder_of_choice(finished, pictures, tmp_path):
    files = [str(pictures / "3.png"), str(pictures / "1.png")]
    cli.main(["predict", f"--run.folder={finished}", f"--run.output={tmp_path / 'out'}", "--images", *files])
    assert [row["path"] for row in predictions(tmp_path / "out")] == files


def test_predict_files_whose_names_are_no_text(finished, pictures, tmp_path, capsys):
    try:
        (pictures / "3.png").rename(pictures / "\udcff.png")
    except (OSError, UnicodeError):
        pytest.skip("this file system takes UTF-8 alone")
    with pytest.raises(BadInput, match=r"udcff\.png': the name is no printable text"):
        cli.main(["predict", f"--run.folder={finished}", "--images", str(pictures / "\udcff.png")])
    cli.main(["predict", f"--run.folder={finished}", f"--run.output={tmp_path}", "--images", str(pictures)])
    assert b"/\xff.png," in (tmp_path / "predictions.csv").read_bytes()
    assert "/?.png: " in capsys.readouterr().out


def test_predict_equals_the_test_time_forward(finished, pictures, tmp_path):
    cli.main(["predict", f"--run.folder={finished}", f"--run.output={tmp_path}", "--images", str(pictures)])
    options = [f"--run.output={tmp_path / '2'}", "--data.eval_batch_size=3"]
    cli.main(["predict", f"--run.folder={finished}", *options, "--images", str(pictures)])
    one, other = predictions(tmp_path), predictions(tmp_path / "2")
    assert [row["class"] for row in one] == [row["class"] for row in other]
    for a, b in zip(one, other, strict=True):
        assert abs(float(a["confidence"]) - float(b["confidence"])) < 1e-5  # another batch size, another order of sums


def test_predict_resizes_and_inverts_on_request(finished, pictures, tmp_path):
    with Image.open(pictures / "0.png") as image:
        large = image.resize((80, 80), Image.Resampling.NEAREST)
    paper = Image.fromarray(255 - np.array(large)).convert("RGB")  # black on white, in colour
    paper.save(tmp_path / "paper.png")
    options = [f"--run.output={tmp_path}", "--data.resize=true", "--data.invert=true"]
    cli.main(["predict", f"--run.folder={finished}", *options, "--images", str(tmp_path / "paper.png")])
    assert predictions(tmp_path)[0]["class"] == "0"


def test_predict_refuses_what_is_no_image_or_of_another_size(finished, tmp_path):
    (tmp_path / "no.png").write_text("no image")
    (tmp_path / "empty").mkdir()
    Image.fromarray(np.zeros((28, 28), np.uint8)).save(tmp_path / "big.png")
    Image.fromarray(np.random.default_rng(0).integers(0, 255, (8, 8), np.uint8)).save(tmp_path / "cut.png")
    (tmp_path / "cut.png").write_bytes((tmp_path / "cut.png").read_bytes()[:60])
    for given, message in {
        "no.png": "no.png is not an image that can be read",
        "cut.png": "cut.png is not an image that can be read",
        "big.png": "big.png is 28 x 28 pixels; the model expects 8 x 8. Add --data.resize=true",
        "empty": "empty holds no image files",
        "gone.png": "No such image file or folder",
    }.items():
        with pytest.raises(BadInput, match=message):
            cli.main(["predict", f"--run.folder={finished}", "--images", str(tmp_path / given)])
    with pytest.raises(BadInput, match="No images to predict"):
        cli.main(["predict", f"--run.folder={finished}", "--images"])
    with pytest.raises(BadInput, match="No images to predict"):
        cli.main(["predict", f"--run.folder={finished}"])


# names of runs


def touch(path, when):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("model: {}")
    os.utime(path, (when, when))


def test_last_means_the_run_started_last_and_best_the_newest_best(tmp_path):
    for name, started, best in (("a/1", 10, 40), ("a/2", 30, None), ("b/1", 20, 35)):
        touch(tmp_path / name / "config.yaml", started)
        if best:
            touch(tmp_path / name / "checkpoints" / "best.ckpt", best)
            touch(tmp_path / name / "checkpoints" / "last.ckpt", best)
    root = f"--run.folder={tmp_path}"
    resolved = runs.resolve(["fit", root, "--ckpt_path=last"]).words
    assert {"--run.name=a", "--run.version=2", f"--config={tmp_path / 'a' / '2' / 'config.yaml'}"} <= set(resolved)
    assert not any(word.startswith("--ckpt_path") for word in resolved), "nothing was saved: it starts again"
    resolved = runs.resolve(["fit", root, "--run.name=b", "--ckpt_path=last"]).words
    assert f"--ckpt_path={tmp_path / 'b' / '1' / 'checkpoints' / 'last.ckpt'}" in resolved
    assert f"--ckpt_path={tmp_path / 'a' / '1' / 'checkpoints' / 'best.ckpt'}" in runs.resolve(["test", root]).words


def test_two_runs_in_one_second_get_two_folders(tmp_path, monkeypatch):
    monkeypatch.setattr(runs.time, "strftime", lambda _: "now")
    made = [runs.make_folder(runs.RunOptions(str(tmp_path), "name"))[1] for _ in range(3)]
    assert made == ["now", "now-2", "now-3"]
