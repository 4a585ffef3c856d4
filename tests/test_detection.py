"""roi_align as a user of torchvision calls it. Its rows are in manual_backprop/testing/cases/detection.py."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
import torch
from torch import Tensor
from torchvision.ops import MultiScaleRoIAlign, RoIAlign, roi_align

import manual_backprop as mb

PICTURES = torch.linspace(-1, 1, 2 * 3 * 8 * 9).reshape(2, 3, 8, 9)
BOXES = [torch.tensor([[1.5, 2.0, 6.5, 7.25]]), torch.tensor([[0.0, 0.0, 4.0, 3.0], [2.0, 1.0, 3.0, 8.5]])]


def test_a_list_of_boxes_and_one_size() -> None:
    ours = mb.functional.roi_align(PICTURES, BOXES, 2, sampling_ratio=2)
    assert torch.equal(ours, roi_align(PICTURES, BOXES, 2, sampling_ratio=2))
    assert mb.functional.roi_align(PICTURES, [], 2).shape == (0, 3, 2, 2)


def test_torchvisions_own_calls_run_on_the_rule_inside_of_explicit() -> None:
    x = PICTURES.clone().requires_grad_()
    several = MultiScaleRoIAlign(["0", "1"], 2, 2)
    levels = {"0": x, "1": x[..., ::2, ::2]}
    with mb.explicit(strict=True):
        single = RoIAlign(2, 1.0, 2)(x, BOXES)
        both = several(levels, BOXES, [(8, 9), (8, 9)])
    assert mb.rule_of(single.grad_fn) is mb.rules.RoIAlign
    torch.testing.assert_close(both, several(levels, BOXES, [(8, 9), (8, 9)]))


@pytest.mark.parametrize("boxes", [torch.zeros(3, 4), torch.zeros(5), [torch.zeros(3, 5)]])
def test_boxes_of_another_shape_are_refused(boxes: object) -> None:
    with pytest.raises(ValueError, match=r"boxes of shape .* expected: \(L, 4\)"):
        mb.functional.roi_align(PICTURES, boxes, 2)


def test_boxes_of_more_pictures_than_there_are_are_refused() -> None:
    with pytest.raises(ValueError, match=r"boxes of 3 pictures\. expected: at most 2"):
        mb.functional.roi_align(PICTURES, [*BOXES, BOXES[0]], 2)


def test_sixteen_bits_under_autocast_stay_sixteen_bits() -> None:
    x = PICTURES.bfloat16().requires_grad_()
    boxes = [box.bfloat16() for box in BOXES]
    with torch.autocast("cpu", dtype=torch.bfloat16):
        ours, twin = mb.functional.roi_align(x, boxes, 2), roi_align(x, boxes, 2)
    assert ours.dtype == twin.dtype == torch.bfloat16
    torch.testing.assert_close(ours, twin)


class Pooled(torch.nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.conv = torch.nn.Conv2d(3, 4, 3)
        self.pool = RoIAlign(2, 1.0, 2)
        self.head = torch.nn.Linear(16, 2)

    def forward(self, x: Tensor, boxes: Tensor) -> Tensor:
        return self.head(self.pool(self.conv(x), boxes).flatten(1))


def test_a_written_step_imports_torchvision(tmp_path: Path) -> None:
    boxes = torch.tensor([[0.0, 1.0, 1.0, 5.0, 6.0], [1.0, 0.0, 0.0, 4.0, 4.0]])
    program = mb.write_out(
        Pooled(), PICTURES, boxes, targets=torch.tensor([0, 1]), loss=torch.nn.functional.cross_entropy
    )
    program.save(tmp_path / "step.py")
    done = subprocess.run([sys.executable, tmp_path / "step.py"], capture_output=True, text=True, check=True)
    assert "conv.weight" in done.stdout
