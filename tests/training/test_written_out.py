"""`--model.written_out`: a run whose training steps are written programs is the run without."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from manual_backprop.errors import BadInput
from manual_backprop.training.learner import Learner

from .runs import NET, fit, last


def test_it_trains_as_without(tmp_path: Path) -> None:
    """With dropout and BatchNorm, accumulation (which divides the loss) and clipping."""
    options = (*NET, "--seed_everything=1", "--trainer.accumulate_grad_batches=2", "--trainer.gradient_clip_val=0.5")
    graph, written = (
        last(fit(tmp_path / name, *options, f"--model.written_out={name}"))["state_dict"] for name in ("false", "true")
    )
    assert graph.keys() == written.keys()
    for name, tensor in graph.items():
        # float32 over 20 steps, sums in another order
        torch.testing.assert_close(written[name], tensor, rtol=1e-3, atol=1e-4, msg=name)


def test_what_it_keeps_is_not_for_saving_to_choose() -> None:
    with pytest.raises(BadInput, match=r"model\.saving"):
        Learner(written_out=True, saving="int8")


def test_autocast_is_refused(tmp_path: Path) -> None:
    with pytest.raises(BadInput, match="autocast is on"):
        fit(tmp_path, "--model.written_out=true", "--trainer.precision=bf16-mixed")


def test_callbacks_that_look_into_a_step_see_its_deltas(tmp_path: Path) -> None:
    run = fit(tmp_path, "--model.written_out=true", "--delta_flow.every_n_steps=5")
    rows = (run / "deltas.csv").read_text().splitlines()
    assert len(rows) > 3
    assert all(row.split(",")[rows[0].split(",").index("delta_rms")] for row in rows[1:])
