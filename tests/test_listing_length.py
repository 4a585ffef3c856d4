"""Listings stay short enough to read. The bounds are the lengths reached, with some lines to spare."""

from __future__ import annotations

import re

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

import manual_backprop as mb


class Block(nn.Module):
    """A block of GPT-2 with torch's layers."""

    def __init__(self, size: int, heads: int) -> None:
        super().__init__()
        self.ln_1, self.ln_2, self.heads = nn.LayerNorm(size), nn.LayerNorm(size), heads
        self.qkv, self.proj = nn.Linear(size, 3 * size), nn.Linear(size, size)
        self.fc, self.fc_proj = nn.Linear(size, 4 * size), nn.Linear(4 * size, size)

    def forward(self, x: Tensor) -> Tensor:
        batch, length, size = x.shape
        parts = [v.view(batch, length, self.heads, -1).transpose(1, 2) for v in self.qkv(self.ln_1(x)).chunk(3, -1)]
        y = F.scaled_dot_product_attention(*parts, is_causal=True)
        x = x + self.proj(y.transpose(1, 2).reshape(batch, length, size))
        return x + self.fc_proj(F.gelu(self.fc(self.ln_2(x))))


class GPT(nn.Module):
    """GPT-2 small, narrower: its width and its vocabulary are not in its length."""

    def __init__(self, size: int = 16, words: int = 50) -> None:
        super().__init__()
        self.wte, self.wpe = nn.Embedding(words, size), nn.Embedding(32, size)
        self.h = nn.Sequential(*(Block(size, 4) for _ in range(12)))
        self.ln_f, self.head = nn.LayerNorm(size), nn.Linear(size, words, bias=False)
        self.head.weight = self.wte.weight

    def forward(self, ids: Tensor) -> Tensor:
        x = self.wte(ids) + self.wpe(torch.arange(ids.shape[1]))
        return self.head(self.ln_f(self.h(x))).flatten(0, 1)


def length(model: nn.Module, x: Tensor, labels: Tensor) -> int:
    lines = str(mb.write_out(mb.convert(model), x, targets=labels, loss=F.cross_entropy)).splitlines()
    imports = [line for line in lines if line.startswith("import ")]
    assert len(set(imports)) == len(imports)
    assert not [line for line in lines if re.search(r"\.reshape\([^()]*\)\.reshape\(", line)]
    return len(lines)


def test_gpt_with_twelve_blocks() -> None:
    assert length(GPT(), torch.randint(50, (2, 8)), torch.randint(50, (16,))) <= 300


def test_gpt2_of_transformers() -> None:
    transformers = pytest.importorskip("transformers")
    config = transformers.GPT2Config(vocab_size=50, n_positions=32, n_embd=16, n_head=4, use_cache=False)

    class Logits(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.gpt = transformers.GPT2LMHeadModel(config).eval()

        def forward(self, ids: Tensor) -> Tensor:
            return self.gpt(ids).logits.flatten(0, 1)

    assert length(Logits(), torch.randint(50, (2, 8)), torch.randint(50, (16,))) <= 315


@pytest.mark.parametrize(
    ("name", "lines"),
    [
        ("resnet18", 335),
        pytest.param("resnet50", 365, marks=pytest.mark.slow),
        pytest.param("mobilenet_v2", 505, marks=pytest.mark.slow),
    ],
)
def test_networks_of_torchvision(name: str, lines: int) -> None:
    models = pytest.importorskip("torchvision.models")
    assert length(getattr(models, name)(num_classes=10), torch.randn(2, 3, 32, 32), torch.tensor([1, 4])) <= lines
