"""Modules that are alike become one pair of functions, called in a loop where each takes what the one before gives."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn

import manual_backprop as mb


class Block(nn.Module):
    """Enough lines to be worth a pair of functions."""

    def __init__(self, size: int, out: int | None = None) -> None:
        super().__init__()
        self.inner = nn.Linear(size, size)
        self.act = nn.Tanh()
        self.fc = nn.Linear(size, out or size)

    def forward(self, x: Tensor) -> Tensor:
        return self.fc(self.act(self.inner(x)))


class Net(nn.Module):
    def __init__(self, blocks: list[nn.Module], run: Callable[[nn.ModuleList, Tensor], Tensor]) -> None:
        super().__init__()
        self.stem = nn.Linear(6, 6)  # the input of the first block, too, receives a delta
        self.blocks = nn.ModuleList(blocks)
        self.run = run

    def forward(self, x: Tensor) -> Tensor:
        return self.run(self.blocks, self.stem(x))


def chained(blocks: nn.ModuleList, x: Tensor) -> Tensor:
    for block in blocks:
        x = block(x)
    return x


def kept_aside(blocks: nn.ModuleList, x: Tensor) -> Tensor:
    first = blocks[0](x)
    return first * blocks[2](blocks[1](first))


def shared(blocks: nn.ModuleList, x: Tensor) -> Tensor:
    return blocks[0](blocks[0](blocks[0](x)))


def text_of(model: nn.Module, size: int = 6) -> str:
    """The listing, after its gradients were compared with those of the model."""
    torch.manual_seed(0)
    model = mb.convert(model).double()
    x, target = torch.randn(5, size, dtype=torch.float64), torch.randn(5, 6, dtype=torch.float64)
    loss = mb.nn.MSELoss()
    program = mb.write_out(model, x, targets=target, loss=loss)
    value, grad = program(x, targets=target)
    with mb.explicit():
        wanted = loss(model(x), target)
    wanted.backward()
    assert torch.allclose(value, wanted)
    for name, parameter in model.named_parameters():
        assert parameter.grad is not None
        assert torch.allclose(grad[name], parameter.grad), name
    return str(program)


def test_blocks_one_behind_the_other_are_a_loop() -> None:
    text = text_of(Net([Block(6) for _ in range(4)], chained))
    assert text.count("def block_forward(") == text.count("def block_backward(") == 1
    assert 'for at in [f"blocks.{i}." for i in range(4)]' in text
    assert "reversed(kept_blocks)" in text


def test_an_output_that_is_used_elsewhere_ends_the_loop() -> None:
    text = text_of(Net([Block(6) for _ in range(3)], kept_aside))
    assert text.count("def block_forward(") == 1
    assert 'block_forward(p, "blocks.0.", z_stem)' in text
    assert 'for at in ("blocks.1.", "blocks.2.")' in text


def test_blocks_of_other_shapes_share_the_functions() -> None:
    text = text_of(Net([Block(6, 8), Block(8, 12), Block(12, 6)], chained))
    assert text.count("def block_forward(") == 1
    assert "block_2" not in text


def test_nested_blocks_are_one_pair() -> None:
    inner = [nn.Sequential(Block(6), Block(6)) for _ in range(3)]
    text = text_of(Net(inner, chained))
    assert text.count("_forward(p, at") >= 1
    assert text.count("Tanh.forward(") <= 2


def test_two_blocks_of_another_kind_have_a_pair_of_their_own() -> None:
    class Other(Block):
        def forward(self, x: Tensor) -> Tensor:
            return x + super().forward(x)

    text = text_of(Net([Block(6), Block(6), Other(6), Other(6)], chained))
    assert text.count("def block_forward(") == text.count("def other_forward(") == 1


def test_a_block_that_is_called_several_times_adds_up_its_gradients() -> None:
    text = text_of(Net([Block(6)], shared))
    assert 'grad["blocks.0.fc.weight"]' in text or 'grad[at + "fc.weight"]' in text


def test_a_single_block_is_no_pair() -> None:
    text = text_of(Net([Block(6)], chained))
    assert "block_forward(" not in text
