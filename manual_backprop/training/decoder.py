"""A decoder-only language model. The default has 7 billion parameters: an example for the command `plan`."""

from __future__ import annotations

from torch import Tensor

import manual_backprop.functional as F
import manual_backprop.nn as nn
from manual_backprop import rules


class Block(nn.Module):
    """Causal attention, then an MLP, each normalized first and added to its input."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.norms = nn.ModuleList([nn.RMSNorm(width), nn.RMSNorm(width)])
        self.qkv, self.out = nn.Linear(width, 3 * width, bias=False), nn.Linear(width, width, bias=False)
        self.mlp = nn.Sequential(
            nn.Linear(width, 4 * width, bias=False), nn.GELU(), nn.Linear(4 * width, width, bias=False)
        )

    def forward(self, x: Tensor) -> Tensor:
        qkv = F.transpose(self.qkv(self.norms[0](x)), 0, 1)
        query, key, value = F.call(rules.Heads, qkv, 3, self.heads)
        y = F.scaled_dot_product_attention(query, key, value, is_causal=True)
        x = F.add(x, self.out(F.reshape(F.transpose(y, 1, 2), x.shape)))
        return F.add(x, self.mlp(self.norms[1](x)))


class Decoder(nn.Module):
    """Tokens (N, T) to logits (N, T, V); `vocabulary` is V. The same weights embed the tokens and give the logits."""

    def __init__(self, vocabulary: int = 32_000, width: int = 4096, depth: int = 32, heads: int = 32) -> None:
        super().__init__()
        self.embedding = nn.Embedding(vocabulary, width)
        self.blocks = nn.Sequential(*[Block(width, heads) for _ in range(depth)], nn.RMSNorm(width))
        self.head = nn.Linear(width, vocabulary, bias=False)
        self.head.weight = self.embedding.weight

    def forward(self, tokens: Tensor) -> Tensor:
        return self.head(self.blocks(self.embedding(tokens)))
