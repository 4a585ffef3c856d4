"""Modules that differ in options, or in a part that only some have, share one pair of functions."""

from __future__ import annotations

import pytest
from torch import Tensor, nn

from manual_backprop.listing import merging
from tests.test_structure import Net, chained, text_of


class Scaled(nn.Module):
    """A block with an option."""

    def __init__(self, slope: float, size: int = 6) -> None:
        super().__init__()
        self.inner, self.act, self.fc = nn.Linear(size, size), nn.LeakyReLU(slope), nn.Linear(size, size)

    def forward(self, x: Tensor) -> Tensor:
        return x + self.fc(self.act(self.inner(x)))


class Residual(nn.Module):
    """A block that projects its input where its sizes differ, as in a ResNet."""

    def __init__(self, size: int, out: int) -> None:
        super().__init__()
        self.inner, self.act, self.fc = nn.Linear(size, size), nn.Tanh(), nn.Linear(size, out)
        if size != out:
            self.project = nn.Linear(size, out)

    def forward(self, x: Tensor) -> Tensor:
        return self.fc(self.act(self.inner(x))) + (self.project(x) if hasattr(self, "project") else x)


class Normed(Residual):
    """A block in which the added value differs where it is normalized: it is no block with something left out."""

    def __init__(self, norm: bool) -> None:
        super().__init__(6, 6)
        if norm:
            self.norm = nn.LayerNorm(6)

    def forward(self, x: Tensor) -> Tensor:
        y = self.fc(self.act(self.inner(x)))
        return self.norm(y) + y if hasattr(self, "norm") else y + x


class Late(Residual):
    """A block in which the value that stands for the projection is computed after the projection."""

    def __init__(self, project: bool) -> None:
        super().__init__(6, 6)
        if project:
            self.project = nn.Linear(6, 6)

    def forward(self, x: Tensor) -> Tensor:
        skip = self.project(x) if hasattr(self, "project") else None
        y = self.fc(self.act(self.inner(x)))
        return y + (y.detach() if skip is None else skip)


class Squeezed(nn.Module):
    """A block whose shapes differ with its size, and are read in the backward."""

    def __init__(self, size: int, out: int) -> None:
        super().__init__()
        self.inner, self.act, self.fc = nn.Linear(size, size), nn.Sigmoid(), nn.Linear(size, out)

    def forward(self, x: Tensor) -> Tensor:
        return self.fc(x * self.act(self.inner(x.mean(0, keepdim=True))))


def test_an_option_that_differs_is_a_parameter() -> None:
    text = text_of(Net([Scaled(slope) for slope in (0.1, 0.2, 0.1, 0.3)], chained))
    assert text.count("def scaled_forward(") == 1
    assert "def scaled_forward(p, at, x, negative_slope):" in text
    assert 'in zip([f"blocks.{i}." for i in range(4)], (0.1, 0.2, 0.1, 0.3)):' in text


def test_an_option_of_a_block_outside_a_loop_is_an_argument() -> None:
    def apart(blocks: nn.ModuleList, x: Tensor) -> Tensor:
        return blocks[0](x) * blocks[1](x)

    text = text_of(Net([Scaled(0.1), Scaled(0.2)], apart))
    assert "negative_slope=0.1)" in text
    assert "negative_slope=0.2)" in text


def test_a_part_that_only_some_have_is_below_a_condition() -> None:
    text = text_of(Net([Residual(6, 6), Residual(6, 8), Residual(8, 8), Residual(8, 6), Residual(6, 6)], chained))
    assert text.count("def residual_forward(") == 1
    assert text.count('if at + "project.weight" in p:') == 2  # in the forward and in the backward
    assert "residual_2" not in text


def test_one_block_with_a_further_part_is_enough() -> None:
    text = text_of(Net([Residual(6, 8), Residual(8, 8), Residual(8, 8)], lambda blocks, x: chained(blocks, x)[:, :6]))
    assert text.count("def residual_forward(") == 1


def test_stages_of_blocks_are_one_loop() -> None:
    stages = [nn.Sequential(Residual(a, b), Residual(b, b)) for a, b in ((6, 8), (8, 6), (6, 6))]
    text = text_of(Net(list(stages), chained))
    assert 'for at in [f"blocks.{i}.{j}." for i in range(3) for j in range(2)]:' in text


def test_stages_of_different_length_are_one_loop() -> None:
    stages = [nn.Sequential(*(Residual(6, 6) for _ in range(n))) for n in (2, 3, 2)]
    text = text_of(Net(list(stages), chained))
    assert 'for at in [f"blocks.{i}.{j}." for i, n in enumerate((2, 3, 2)) for j in range(n)]:' in text


def test_blocks_that_compute_other_values_stay_apart() -> None:
    text = text_of(Net([Normed(norm) for norm in (False, True, False, True)], chained))
    assert text.count("def normed_") == 4


def test_what_stands_for_a_left_out_value_has_to_be_there_before() -> None:
    def apart(blocks: nn.ModuleList, x: Tensor) -> Tensor:
        return x + sum(block(x.detach()) for block in blocks)

    text = text_of(Net([Late(project) for project in (False, True, False, True)], apart))
    assert text.count("def late_") == 4


def test_an_option_that_is_overlooked_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(merging, "differing", lambda *_: {})
    with pytest.raises(AssertionError):
        text_of(Net([Scaled(0.1), Scaled(0.9)], chained))


def test_more_options_than_a_reader_can_follow_stay_apart() -> None:
    class Many(Scaled):
        def __init__(self, k: int) -> None:
            super().__init__(0.1)
            self.k = k

        def forward(self, x: Tensor) -> Tensor:
            for n in range(merging.MOST + 1):
                x = nn.functional.leaky_relu(x, 0.1 * (n + 1) + 0.01 * self.k)
            return super().forward(x)

    assert text_of(Net([Many(1), Many(1), Many(2), Many(2)], chained)).count("_forward(p, at") >= 2


def test_blocks_of_other_sizes_read_their_shapes_from_what_they_keep() -> None:
    text = text_of(Net([Squeezed(6, 8), Squeezed(8, 10), Squeezed(10, 6)], chained))
    assert text.count("def squeezed_forward(") == 1
    assert ".sum_to_size(a_act.shape)" in text


def test_a_path_with_a_hyphen_gives_names() -> None:
    class Named(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.stem = nn.Linear(6, 6)
            self.add_module("block-1", Scaled(0.1))
            self.add_module("block-2", Scaled(0.1))

        def forward(self, x: Tensor) -> Tensor:
            for block in self.children():
                x = block(x)
            return x

    assert 'at in ("block-1.", "block-2.")' in text_of(Named())
