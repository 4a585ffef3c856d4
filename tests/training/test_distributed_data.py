"""Two processes on data that is no named set of images: a table, and a LightningDataModule of one's own."""

import pytest
import torch

from manual_backprop.training.table import read_rows

from .runs import last
from .test_distributed import DDP, run

pytestmark = pytest.mark.distributed


def rows(path):
    return read_rows(path / "metrics.csv")


def test_a_regression_in_two_processes_is_that_of_one(tmp_path):
    options = ("--trainer.max_epochs=3", "--run.pictures=false")
    one, _ = run(tmp_path / "one", *options, config="diabetes_mlp")
    two, output = run(tmp_path / "two", *options, *DDP, config="diabetes_mlp")
    first, second = last(one), last(two)
    assert first["global_step"] == second["global_step"] == 24
    for key, value in first["state_dict"].items():
        if key.startswith("net."):
            # the gradient is summed in two halves: 24 steps of float32 rounding
            torch.testing.assert_close(second["state_dict"][key], value, rtol=1e-4, atol=1e-5)
    for column in ("train/r2", "val/r2", "test/r2", "val/loss"):
        first, second = ([float(row[column]) for row in rows(path) if column in row] for path in (one, two))
        assert first == pytest.approx(second, abs=1e-4)  # sums over processes, in float32
    assert "UserWarning" not in output


def test_a_data_module_is_shared_out_by_lightning(tmp_path):
    own = "tests.training.own"
    options = (f"--data={own}.Module", f"--model.net={own}.Net", "--explicit", "--trainer.max_epochs=2")
    made, output = run(tmp_path, *options, *DDP, config=None)
    assert last(made)["global_step"] == 2 * 240 // (2 * 24)
    assert output.count("test accuracy") == 1
    assert (made / "pictures" / "confusion_test.png").is_file()
