"""Two processes that share every global batch end with the weights of one."""

import pytest
import torch

from manual_backprop.training.table import read_rows

from .runs import arguments, last, start

pytestmark = pytest.mark.distributed

# without BatchNorm and dropout, whose numbers depend on how a batch is divided
SAME = ("--model.net_args={hidden: [32]}", "--model.scheduler=null", "--data.augment.shift=1", "--trainer.max_epochs=3")
DDP = ("--trainer.strategy=ddp", "--trainer.devices=2")


def run(folder, *options, config="digits_mlp"):
    configs = [f"--config={config}"] if config else []
    with start(*arguments("fit", folder, *configs, *options)) as process:
        output, _ = process.communicate(timeout=600)
    assert process.returncode == 0, output
    (made,) = folder.glob("*/*")
    return made, output


@pytest.mark.parametrize("optimizer", ["{class_path: torch.optim.SGD, init_args: {lr: 0.1, momentum: 0.9}}"])
def test_two_processes_train_the_same_weights(tmp_path, optimizer):
    options = (*SAME, f"--model.optimizer={optimizer}", "--run.pictures=false")
    one, _ = run(tmp_path / "one", *options)
    two, output = run(tmp_path / "two", *options, *DDP)
    first, second = last(one), last(two)
    assert first["global_step"] == second["global_step"] == 57
    for key, value in first["state_dict"].items():
        if key.startswith("net."):
            # the gradient is summed in two halves: 57 steps of float32 rounding, 1.2e-7 relative each; measured 2e-7
            torch.testing.assert_close(second["state_dict"][key], value, rtol=1e-5, atol=1e-6)
    # counts of all processes, so exactly those of one
    columns = ("val/accuracy", "train/accuracy", "test/accuracy")
    rows = [[row.get(c) for c in columns for row in read_rows(path / "metrics.csv")] for path in (one, two)]
    assert rows[0] == rows[1]
    assert "UserWarning" not in output


def test_everything_on_and_resumed(tmp_path):
    options = (*SAME, *DDP, "--run.checkpoint_every=5")
    made, output = run(tmp_path, *options, "--model.optimizer.lr=0.003")
    assert output.count("test accuracy") == 1, "rank zero alone prints"
    assert (made / "pictures" / "confusion_test.png").is_file()
    whole = last(made)
    with start(*arguments("fit", tmp_path, "--ckpt_path=last", "--trainer.max_epochs=4")) as process:
        output, _ = process.communicate(timeout=600)
    assert process.returncode == 0, output
    assert "continuing digits_mlp" in output
    assert last(made)["global_step"] == whole["global_step"] + 19
