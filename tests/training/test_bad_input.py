"""Bad input to the training commands: each one clear message, and where it shows early no run folder."""

import pytest
import torch

import manual_backprop.cli as command
from manual_backprop.errors import BadInput
from manual_backprop.training import cli

from .runs import NET, arguments, fit, start


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--config=mnist_fst"], "Unknown config .* 'mnist_fst'. Did you mean 'mnist_fast'"),
        (["--config=configs/mnist_fast.yaml"], "Unknown config"),
        (["--data.dataset=mnits"], "Unknown dataset 'mnits'. Did you mean 'mnist'"),
        (["--model.net=mpl"], "Unknown model 'mpl'. Did you mean 'mlp'"),
        (["--model.net_args.hiden=[3]"], "Unknown option of model mlp 'hiden'. Did you mean 'hidden'"),
        (["--model.optimzer=SGD"], "Did you mean --model.optimizer in place of --model.optimzer"),
        (["--data.agument.shift=1"], "Did you mean --data.augment.shift in place of --data.agument.shift"),
        (["--model.optimizer=AdmW"], "Did you mean AdamW in place of AdmW"),
        (["--model.optimizer=SGD", "--model.optimizer.momentm=0.9"], "Did you mean momentum in place of momentm"),
        (["--data.batch_size=many"], "Expected a <class 'int'>. Got value: many"),
        (["--data.batch_size=0"], "data.batch_size=0: give 1 or more"),
        (["--data.augment.shift=-1"], "data.augment.shift=-1: give 0 or more"),
        (["--run.patience=-1"], "run.patience=-1: give 0 or more"),
        (["--run.checkpoint_every=-1"], "run.checkpoint_every=-1: give 0 or more"),
        (["--seed_everything=-1"], "seed_everything=-1: give 0 to 4294967295"),
        (["--model.optimizer.lr=-0.1"], "model.optimizer cannot be made with these options: Invalid learning rate"),
        (["--model.scheduler=StepLR"], "the following arguments are required: step_size"),
        (["--model.label_smoothing=2"], "model.label_smoothing=2.0: give 0 to 1"),
        (["--delta_flow.every_n_steps=0"], "every_n_steps must be a positive integer, got 0"),
        (["--model.saving=int9"], "^model.saving=int9: expected one of .*'int8', 'int4'.*, null.$"),
        (["--trainer.max_epochs=nan"], "^trainer.max_epochs=nan: expected one of int, null.$"),
        (["--model.optimizer=AdamW", "--model.optimizer.lr=inf"], "lr=inf: expected one of float, Tensor.$"),
        (["--data.split_seed=4294967296"], "data.split_seed=4294967296: give 0 to 4294967295"),
        (["--model.net_args={1: 2}"], "Unknown option of model mlp '1'"),
        (["--trainer.accumulate_grad_batches=0"], "trainer.accumulate_grad_batches=0: give 1 or more"),
        (["--trainer.check_val_every_n_epoch=0"], "trainer.check_val_every_n_epoch=0: give 1 or more"),
        (["--trainer.val_check_interval=0"], "trainer.val_check_interval=0: give a share"),
        (["--trainer.limit_train_batches=-1"], "trainer.limit_train_batches=-1(.0)?: give 0 or more"),
        (["--trainer.accelerator=cpuu"], "Unknown accelerator 'cpuu'. Did you mean 'cpu'"),
        (["--model.net=torchvision.models.resnt18"], "Did you mean 'resnet18'.* the nearest: resnet18, resnet,"),
        (["--data.dataset=mnist", "--data.root=nowhere"], "mnist is not complete in .*nowhere: put train-images"),
        (["--ckpt_path=gone.ckpt"], "No checkpoint file gone.ckpt. Give a path, best or last"),
        (["--ckpt_path=best"], "No checkpoints/best.ckpt in .* Train first"),
    ],
)
def test_bad_input_says_what_to_do_and_leaves_no_run_folder(tmp_path, monkeypatch, options, message):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(BadInput, match=message):
        cli.main(arguments("fit", tmp_path / "runs", *options))
    assert not (tmp_path / "runs").exists()


def test_a_trainer_that_cannot_be_made_leaves_nothing_in_the_run_folder(tmp_path):
    with pytest.raises(BadInput, match=r"The trainer cannot be made .*strategy='dpp'"):
        cli.main(arguments("fit", tmp_path, "--trainer.strategy=dpp"))
    assert not any(path.is_file() for path in tmp_path.rglob("*"))


@pytest.mark.parametrize(
    "options",
    [
        ["--data.batch_size=1", "--model.net_args={norm: true}"],
        ["--data.batch_size=1", "--model.net=cnn", "--model.net_args={channels: [4], pools: 2, hidden: [4]}"],
    ],
)
def test_one_image_and_a_norm_over_the_batch(tmp_path, options):
    with pytest.raises(BadInput, match=r"^1 training image.* BatchNorm .* needs two or more to train. Give a larger"):
        fit(tmp_path, *options)


@pytest.mark.parametrize(
    "options",
    [
        ["--trainer.log_every_n_steps=0"],
        ["--trainer.limit_val_batches=0", "--run.test=true"],
        ["--seed_everything=false"],
        ["--data.batch_size=99999999999999999999", "--data.augment.shift=1"],
    ],
)
def test_numbers_at_the_edge_that_mean_something(tmp_path, options):
    run = fit(tmp_path, "--model.net_args={hidden: [4], norm: false}", "--trainer.limit_train_batches=2", *options)
    assert (run / "checkpoints" / "last.ckpt").is_file()


def test_validation_after_more_batches_than_there_are(tmp_path):
    with pytest.raises(BadInput, match=r"`val_check_interval` \(1000\) must be less than or equal"):
        fit(tmp_path, "--trainer.val_check_interval=1000")


@pytest.mark.parametrize("word", ["audit", "trace"])
@pytest.mark.parametrize("count", [10**15, 10**30])
def test_a_batch_that_no_memory_holds(capsys, word, count):
    assert command.main([word, "--model=mlp", f"--input={count},1,28,28"]) == 2
    assert capsys.readouterr().err.startswith(f"error: --input '{count},1,28,28': such a batch cannot be made: ")


def test_a_folder_with_a_nul(tmp_path):
    with pytest.raises(BadInput, match="cannot be written"):
        cli.main(arguments("fit", f"{tmp_path}/a\0b"))


def test_one_image_without_a_norm_trains(tmp_path):
    fit(
        tmp_path,
        "--data.batch_size=1",
        "--model.net_args={hidden: [4], norm: false}",
        "--trainer.limit_train_batches=3",
    )


@pytest.mark.skipif(torch.backends.mps.is_available(), reason="this machine has what the test asks for in vain")
@pytest.mark.parametrize("accelerator", ["tpu", "mps"])
def test_an_accelerator_that_is_not_here(tmp_path, accelerator):
    with pytest.raises(BadInput, match=rf"trainer.accelerator={accelerator}: .* not here. .*--trainer.accelerator=cpu"):
        cli.main(["fit", f"--run.folder={tmp_path / 'runs'}", f"--trainer.accelerator={accelerator}"])
    assert not (tmp_path / "runs").exists()


def test_a_scheduler_that_the_optimizer_refuses(tmp_path):
    with pytest.raises(BadInput, match=r"model.scheduler cannot be made .*must support momentum"):
        fit(tmp_path, "--model.optimizer=LBFGS")


def test_devices_that_are_no_number_of_them(tmp_path):
    with pytest.raises(BadInput, match=r"The trainer cannot be made .*int > 0"):
        cli.main(arguments("fit", tmp_path, "--trainer.devices=-1"))
    assert not any(path.is_file() for path in tmp_path.rglob("*"))


def test_a_truncated_checkpoint_and_one_of_another_model(tmp_path):
    whole = (fit(tmp_path / "trained", *NET) / "checkpoints" / "best.ckpt").read_bytes()
    (tmp_path / "cut.ckpt").write_bytes(whole[: len(whole) // 2])
    (tmp_path / "moved.ckpt").write_bytes(whole)
    for name, message in {
        "cut.ckpt": "cut.ckpt is not a checkpoint that can be read",
        "moved.ckpt": "moved.ckpt is of another model:(?s:.*)missing in the checkpoint: (?s:.*) with --config",
    }.items():
        with pytest.raises(BadInput, match=message):
            cli.main(arguments("test", tmp_path / "runs", f"--ckpt_path={tmp_path / name}"))


def test_continuing_where_nothing_was_started_says_so(tmp_path, capsys):
    fit(tmp_path / "none", *NET, "--ckpt_path=last", "--trainer.max_epochs=1")
    shown = capsys.readouterr()
    assert f"no earlier run in {tmp_path / 'none' / '*' / '*'}, starting a new one" in shown.err
    assert "training digits_mlp, run folder" in shown.out


@pytest.mark.slow
def test_bad_input_ends_the_command_with_status_2_and_no_traceback(tmp_path):
    with start(*arguments("fit", tmp_path, "--data.dataset=minst")) as process:
        shown, _ = process.communicate()
    assert process.returncode == 2
    assert shown.startswith("error: Unknown dataset 'minst'. Did you mean 'mnist'? Known: digits, mnist")
    assert len(shown.splitlines()) == 1


@pytest.mark.parametrize("word", ["test", "validate", "predict"])
def test_nothing_trained_yet(tmp_path, word):
    with pytest.raises(BadInput, match="Train first: manual-backprop fit"):
        cli.main(arguments(word, tmp_path))


def test_an_option_without_its_value(tmp_path):
    with pytest.raises(BadInput, match=r"^Argument --ckpt_path: expected one argument.$"):
        cli.main(arguments("fit", tmp_path, "--ckpt_path"))


def test_bad_yaml(tmp_path):
    (tmp_path / "a.yaml").write_text("model: [")
    with pytest.raises(BadInput, match=r"a.yaml is no YAML file"):
        cli.main(arguments("fit", tmp_path, f"--config={tmp_path / 'a.yaml'}"))
    (tmp_path / "c.yaml").write_text("just words")
    with pytest.raises(BadInput, match=r"c.yaml holds 'just words', expected sections such as model:, data:"):
        cli.main(arguments("fit", tmp_path, f"--config={tmp_path / 'c.yaml'}"))
    for text in ("model: 5", "trainer: []", "", "a: &a [*a]", "model: &a {net_args: *a}", "a: 1\n---\nb: 2"):
        (tmp_path / "d.yaml").write_text(text)
        with pytest.raises(BadInput, match=r"^.*d.yaml (holds|is no YAML file: ).*$"):
            cli.main(arguments("fit", tmp_path, f"--config={tmp_path / 'd.yaml'}"))
    (tmp_path / "e.yaml").write_text("trainer: {callbacks: {class_path: Timer, init_args: {duration: zz}}}")
    with pytest.raises(BadInput, match=r"^The run cannot be made with these options: .*zz"):
        fit(tmp_path, f"--config={tmp_path / 'e.yaml'}")
    (tmp_path / "b.yaml").write_text("model: {nett: mlp}")
    with pytest.raises(BadInput, match=r"Did you mean model.net in place of model.nett"):
        cli.main(arguments("fit", tmp_path, f"--config={tmp_path / 'b.yaml'}"))


@pytest.mark.skipif(torch.cuda.is_available(), reason="this machine has what the test asks for in vain")
@pytest.mark.parametrize("name", ["gpu", "cuda"])
def test_cuda_where_none_is(tmp_path, name):
    with pytest.raises(
        BadInput, match=rf"--trainer.accelerator={name}: .* no CUDA device .* --trainer.accelerator=cpu"
    ):
        cli.main(["fit", f"--run.folder={tmp_path / 'runs'}", f"--trainer.accelerator={name}"])
    assert not (tmp_path / "runs").exists()


def test_a_run_folder_that_cannot_be_written(tmp_path):
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(BadInput, match=r"The run folder .* cannot be written: .* Choose one with --run.folder"):
        cli.main(arguments("fit", tmp_path / "file"))


def test_a_loss_that_is_not_a_number_stops_the_run(tmp_path):
    sgd = "--model.optimizer={class_path: torch.optim.SGD, init_args: {lr: 1e20}}"
    with pytest.raises(BadInput, match=r"the training loss became (nan|inf)"):
        fit(tmp_path, "--model.scheduler=null", "--model.net_args={hidden: [8]}", sgd)


def test_a_batch_that_devices_cannot_share_evenly():
    data = cli.DataModule(batch_size=63)
    data.trainer = type("Two", (), {"world_size": 2, "strategy": type("S", (), {"root_device": torch.device("cpu")})})
    with pytest.raises(BadInput, match=r"data.batch_size=63 cannot be shared evenly by 2 devices"):
        data.setup("fit")
