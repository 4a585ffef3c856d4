"""A checkpoint from a stranger runs no code: neither its pickle nor the config.yaml beside it."""

import os
import shutil

import pytest
import torch
import yaml

from manual_backprop.errors import BadInput
from manual_backprop.training import cli, runs
from manual_backprop.training.models import build
from manual_backprop.training.trust import require_harmless

from .runs import NET, arguments, fit

HARM = {"class_path": "subprocess.Popen", "init_args": {"args": ["touch", "harm"]}}
ADAMW = {"class_path": "torch.optim.AdamW", "init_args": {"lr": 0.01, "betas": [0.9, 0.999], "fused": None}}


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    return fit(tmp_path_factory.mktemp("runs"), *NET, "--trainer.max_epochs=1")


@pytest.fixture
def stranger(trained, tmp_path, monkeypatch):
    """A copy of a run, and the means to change its config.yaml."""
    run = tmp_path / "from" / "a" / "stranger"
    shutil.copytree(trained, run)
    monkeypatch.chdir(tmp_path)

    def change(**sections):
        config = yaml.safe_load((run / "config.yaml").read_text())
        for name, section in sections.items():
            config[name] = {**config[name], **section} if isinstance(section, dict) else section
        (run / "config.yaml").write_text(yaml.safe_dump(config))
        return run

    return change


def use(command, run, *more):
    checkpoint = run / "checkpoints" / ("last.ckpt" if command == "fit" else "best.ckpt")
    cli.main(arguments(command, run.parents[1], f"--ckpt_path={checkpoint}", "--run.pictures=false", *more))


@pytest.mark.parametrize("command", ["fit", "validate", "test", "predict"])
@pytest.mark.parametrize(
    ("section", "names"),
    [
        ({"model": {"net": "subprocess.getoutput", "net_args": {"cmd": "touch harm"}}}, "model.net: subprocess.getou"),
        ({"model": {"net": HARM}}, "model.net.class_path: subprocess.Popen"),
        ({"model": {"net_args": {"hidden": [HARM]}}}, r"model.net_args.hidden.0.class_path: subprocess.Popen"),
        ({"model": {"net_args": str({"hidden": HARM})}}, r"model.net_args: \{'hidden': "),
        ({"model": {"net_args": {"hidden": str(HARM)}}}, r"model.net_args.hidden: \{'class_path': "),
        ({"model": {"__path__": "x"}}, "model.__path__: x"),
        ({"model": {"optimizer": "harmful.make"}}, "model.optimizer: harmful.make"),
        ({"model": {"scheduler": HARM}}, "model.scheduler.class_path"),
        ({"trainer": {"callbacks": [HARM]}}, "trainer.callbacks"),
        ({"trainer": {"strategy": "harmful.Strategy"}}, "trainer.strategy: harmful.Strategy"),
        ({"data": {"dataset": "harmful.make"}}, "data.dataset: harmful.make"),
        ({"data": {"dataset_args": str({"a": HARM})}}, r"data.dataset_args: \{'a': "),
        ({"data": {"class_path": "harmful.Data"}}, "data.class_path: harmful.Data"),
        ({"data": {"init_args": {"a": "harmful.Data"}}}, "data.init_args.a: harmful.Data"),
        ({"data": {"augment": {"class_path": "harmful.Augment"}}}, "data.augment.class_path"),
        ({"run": {"output": "somewhere/else"}}, "run.output: somewhere/else"),
        ({"weights_only": False}, "weights_only: False"),
        ({"data": "other.yaml"}, "data: other.yaml"),
        ({"trust": True}, "trust: True"),
    ],
)
def test_what_a_config_beside_a_checkpoint_must_not_choose(stranger, tmp_path, command, section, names):
    (tmp_path / "harmful.py").write_text("open('harm', 'w')")
    run = stranger(**section)
    with pytest.raises(BadInput, match=rf"config.yaml lies beside .*{names}.* --trust"):
        use(command, run)
    assert not (tmp_path / "harm").exists()


def test_a_file_named_like_a_model_is_not_read_in_its_place(stranger, tmp_path):
    run = stranger()
    for name in ("mlp", "auto", "cpu", "cos"):
        (run / name).write_text(yaml.safe_dump(HARM))
    use("test", run)
    assert not (tmp_path / "harm").exists()


def test_the_configs_of_our_own_runs_are_harmless(tmp_path, trained):
    require_harmless(trained / "config.yaml")
    for path in runs.CONFIGS.glob("*.yaml"):
        require_harmless(path)
    config = {"model": {"net": "torchvision.models.resnet18", "net_args": {"num_classes": 10}, "optimizer": ADAMW}}
    schedulers = [{"class_path": f"torch.optim.lr_scheduler.{name}"} for name in ("LinearLR", "ExponentialLR")]
    config["model"]["scheduler"] = {"class_path": "SequentialLR", "init_args": {"schedulers": schedulers}}
    (tmp_path / "config.yaml").write_text(yaml.safe_dump(config))
    require_harmless(tmp_path / "config.yaml")


def test_trusted_by_name_or_named_by_the_user(stranger, tmp_path, monkeypatch):
    (tmp_path / "mine.py").write_text(
        "import torch\n\ndef net(width):\n"
        "    return torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(64, width), torch.nn.Linear(width, 10))\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    run = fit(tmp_path / "own", "--model.net=mine.net", "--model.net_args={width: 8}", "--trainer.max_epochs=1")
    with pytest.raises(BadInput, match=r"model\.net: mine\.net"):
        use("test", run)
    use("test", run, "--trust")
    use("test", run, "--model.net=mine.net")
    use("test", run, f"--config={run / 'config.yaml'}")
    with pytest.raises(BadInput, match=r"model\.net: mine\.net"):
        fit(tmp_path / "own", "--ckpt_path=last")
    assert fit(tmp_path / "own", "--ckpt_path=last", "--trust", "--trainer.max_epochs=2") == run


class Pickled:
    def __reduce__(self):
        return os.system, ("touch harm",)


def test_a_pickled_object_is_loaded_only_when_trusted(stranger, tmp_path):
    run = stranger()
    best = run / "checkpoints" / "best.ckpt"
    torch.save({**torch.load(best, weights_only=True), "extra": Pickled()}, best)
    with pytest.raises(BadInput, match=r"best.ckpt holds .*system.* could run code.* --trust") as error:
        use("test", run)
    assert len(str(error.value).splitlines()) == 1
    assert not (tmp_path / "harm").exists()
    use("test", run, "--trust")
    assert (tmp_path / "harm").exists()


@pytest.mark.parametrize(
    ("name", "options", "says"),
    [
        ("subprocess.getoutput", {"cmd": "touch harm"}, "is a function of Python's standard library"),
        ("os.system", {"command": "touch harm"}, "is a function of Python's standard library"),
        ("subprocess.Popen", {"args": ["touch", "harm"]}, "is a class that is no subclass of torch.nn.Module"),
        ("torch.optim.AdamW", {}, "is a class that is no subclass of torch.nn.Module"),
        ("torch.save", {"obj": 1, "f": "harm"}, "is annotated to return None"),
        ("torchvision.models.__version__", {}, "Unknown name in torchvision.models"),
        ("math.pi", {}, "is a float"),
        ("torch.nn.functional", {}, "is a module"),
    ],
)
def test_what_makes_no_module_is_not_called(tmp_path, monkeypatch, name, options, says):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(BadInput, match=says):
        build(name, (1, 8, 8), 10, options)
    assert not (tmp_path / "harm").exists()


def test_functions_that_build_a_module():
    for name in ("torchvision.models.resnet18", "torchvision.models.squeezenet1_0"):
        assert isinstance(build(name, (3, 32, 32), 10, {}), torch.nn.Module)
