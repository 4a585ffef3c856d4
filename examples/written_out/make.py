"""Writes the listings of this folder: python examples/written_out/make.py [FOLDER]

Each is the training step of one network, forward and backward, as a file that needs torch alone and checks its
gradients by finite differences. docs/guides/written_out.md says how to read one.
"""

import sys
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

import manual_backprop as mb
import manual_backprop.functional as F
import manual_backprop.nn as nn


class Perceptron(nn.Module):
    """Two layers."""

    def __init__(self) -> None:
        super().__init__()
        self.fc1, self.fc2 = nn.Linear(8, 6), nn.Linear(6, 3)

    def forward(self, x: Tensor) -> Tensor:
        return self.fc2(F.relu(self.fc1(x)))


class LeNet5(nn.Module):
    """LeCun et al. 1998, "Gradient-based learning applied to document recognition", with plain convolutions."""

    def __init__(self) -> None:
        super().__init__()
        self.conv1, self.conv2 = nn.Conv2d(1, 6, 5, padding=2), nn.Conv2d(6, 16, 5)
        self.pool1, self.pool2 = nn.AvgPool2d(2), nn.AvgPool2d(2)
        self.fc1, self.fc2, self.fc3 = nn.Linear(400, 120), nn.Linear(120, 84), nn.Linear(84, 10)

    def forward(self, x: Tensor) -> Tensor:
        x = self.pool1(F.tanh(self.conv1(x)))
        x = self.pool2(F.tanh(self.conv2(x)))
        x = F.tanh(self.fc1(x.flatten(1)))
        return self.fc3(F.tanh(self.fc2(x)))


class ResidualBlock(nn.Module):
    """He et al. 2015, "Deep residual learning for image recognition": two convolutions, and a skip around them."""

    def __init__(self) -> None:
        super().__init__()
        self.conv1, self.bn1 = nn.Conv2d(4, 4, 3, padding=1, bias=False), nn.BatchNorm2d(4)
        self.conv2, self.bn2 = nn.Conv2d(4, 4, 3, padding=1, bias=False), nn.BatchNorm2d(4)

    def forward(self, x: Tensor) -> Tensor:
        y = F.relu(self.bn1(self.conv1(x)))
        return F.relu(x + self.bn2(self.conv2(y)))


class LastStep(nn.Module):
    """Hochreiter, Schmidhuber 1997, "Long short-term memory": the class of a sequence, from the state at its end."""

    def __init__(self) -> None:
        super().__init__()
        self.lstm, self.fc = nn.LSTM(3, 5, batch_first=True), nn.Linear(5, 4)

    def forward(self, x: Tensor) -> Tensor:
        states, _ = self.lstm(x)
        return self.fc(states[:, -1])


class Block(nn.Module):
    """A block of GPT-2: attention and a perceptron, each behind a LayerNorm and with a skip around it."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.ln_1, self.ln_2 = nn.LayerNorm(width), nn.LayerNorm(width)
        self.qkv, self.proj = nn.Linear(width, 3 * width), nn.Linear(width, width)
        self.fc, self.fc_proj = nn.Linear(width, 4 * width), nn.Linear(4 * width, width)

    def forward(self, x: Tensor) -> Tensor:
        q, k, v = (part.unflatten(-1, (self.heads, -1)).transpose(1, 2) for part in self.qkv(self.ln_1(x)).chunk(3, -1))
        attended = F.scaled_dot_product_attention(q, k, v, is_causal=True)
        x = x + self.proj(attended.transpose(1, 2).flatten(2))
        return x + self.fc_proj(F.gelu(self.fc(self.ln_2(x)), approximate="tanh"))


class GPT(nn.Module):
    """Radford et al. 2019, "Language models are unsupervised multitask learners", of one small block."""

    def __init__(self, tokens: int = 11, length: int = 6, width: int = 8, heads: int = 2) -> None:
        super().__init__()
        self.wte, self.wpe = nn.Embedding(tokens, width), nn.Embedding(length, width)
        self.block, self.ln_f = Block(width, heads), nn.LayerNorm(width)
        self.head = nn.Linear(width, tokens, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        x = self.block(self.wte(x) + self.wpe(torch.arange(x.shape[1])))
        return self.head(self.ln_f(x)).flatten(0, 1)


def listings() -> dict[str, Any]:
    """The programs by the name of their file."""
    labels = torch.tensor
    with torch.random.fork_rng():
        torch.manual_seed(0)
        entropy, square = nn.CrossEntropyLoss(), nn.MSELoss()
        steps = {
            "perceptron": (Perceptron(), torch.randn(4, 8), labels([0, 2, 1, 2]), entropy),
            "lenet": (LeNet5(), torch.randn(2, 1, 28, 28), labels([3, 9]), entropy),
            "resnet_block": (ResidualBlock(), torch.randn(2, 4, 6, 6), torch.randn(2, 4, 6, 6), square),
            "lstm": (LastStep(), torch.randn(2, 4, 3), labels([1, 3]), entropy),
            "gpt_block": (GPT(), torch.randint(11, (2, 6)), torch.randint(11, (12,)), entropy),
        }
        return {name: mb.write_out(net, x, targets=t, loss=loss) for name, (net, x, t, loss) in steps.items()}


def main(arguments: list[str]) -> int:
    folder = Path(arguments[0]) if arguments else Path(__file__).parent
    for name, program in listings().items():
        program.save(folder / f"{name}.py")
        print(f"{folder / name}.py: {len(program.text.splitlines())} lines")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
