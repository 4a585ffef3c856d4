"""The networks that training steps are measured on, in plain torch.nn, each with a batch."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from . import small_networks as small


@dataclass(frozen=True)
class Network:
    """A network: how to build it, its inputs, and its number of classes or vocabulary size."""

    build: Callable[[], nn.Module]
    input: Callable[[], Tensor]
    target: Callable[[], Tensor]


class Mixer(nn.Module):
    """A block of MLP-Mixer (Tolstikhin et al. 2021): an MLP over patches, then one over channels."""

    def __init__(self, patches: int, width: int) -> None:
        super().__init__()
        self.norms = nn.ModuleList([nn.LayerNorm(width), nn.LayerNorm(width)])
        self.over_patches = nn.Sequential(nn.Linear(patches, width // 2), nn.GELU(), nn.Linear(width // 2, patches))
        self.over_channels = nn.Sequential(nn.Linear(width, 4 * width), nn.GELU(), nn.Linear(4 * width, width))

    def forward(self, x: Tensor) -> Tensor:
        x = x + self.over_patches(self.norms[0](x).transpose(1, 2)).transpose(1, 2)
        return x + self.over_channels(self.norms[1](x))


class Block(nn.Module):
    """A pre-norm transformer block on scaled_dot_product_attention."""

    def __init__(self, width: int, heads: int, causal: bool) -> None:
        super().__init__()
        self.heads, self.causal = heads, causal
        self.norms = nn.ModuleList([nn.LayerNorm(width), nn.LayerNorm(width)])
        self.qkv, self.out = nn.Linear(width, 3 * width), nn.Linear(width, width)
        self.mlp = nn.Sequential(nn.Linear(width, 4 * width), nn.GELU(), nn.Linear(4 * width, width))

    def forward(self, x: Tensor) -> Tensor:
        batch, tokens, width = x.shape
        q, k, v = self.qkv(self.norms[0](x)).view(batch, tokens, 3, self.heads, -1).permute(2, 0, 3, 1, 4)
        y = F.scaled_dot_product_attention(q, k, v, is_causal=self.causal)
        x = x + self.out(y.transpose(1, 2).reshape(batch, tokens, width))
        return x + self.mlp(self.norms[1](x))


class Patches(nn.Module):
    """Images (N, 3, H, W) as patches (N, T, width), with learned positions."""

    def __init__(self, size: int, patch: int, width: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, width, patch, patch)
        self.positions = nn.Parameter(torch.zeros(1, (size // patch) ** 2, width))

    def forward(self, x: Tensor) -> Tensor:
        return self.conv(x).flatten(2).transpose(1, 2) + self.positions


class Mean(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return x.mean(1)


class Embed(nn.Module):
    """Tokens (N, T) as (N, T, width), with learned positions."""

    def __init__(self, vocabulary: int, tokens: int, width: int) -> None:
        super().__init__()
        self.tokens = nn.Embedding(vocabulary, width)
        self.positions = nn.Parameter(torch.zeros(tokens, width))

    def forward(self, x: Tensor) -> Tensor:
        return self.tokens(x) + self.positions


def mlp(activation: Callable[[], nn.Module]) -> nn.Module:
    layers = nn.Linear(784, 512), activation(), nn.Linear(512, 256), activation(), nn.Linear(256, 10)
    return nn.Sequential(*layers)


def mnist_fast() -> nn.Module:
    """The network of `manual-backprop fit mnist_fast`."""
    from manual_backprop.convert import revert
    from manual_backprop.training.models import CNN

    options = {"channels": (16, 32, 64), "kernels": (5, 3, 3), "strides": (2, 1, 1), "paddings": (2, 0, 1)}
    return revert(CNN((1, 28, 28), 10, pools=(1, 2, 2), **options))  # type: ignore[arg-type]


def resnet18() -> nn.Module:
    from torchvision.models import resnet18

    return resnet18(num_classes=10)


def mixer(width: int = 512, depth: int = 8) -> nn.Module:
    """MLP-Mixer-S/16: 8 blocks, width 512, patches of 16 x 16."""
    blocks = [Mixer(196, width) for _ in range(depth)]
    return nn.Sequential(Patches(224, 16, width), *blocks, nn.LayerNorm(width), Mean(), nn.Linear(width, 10))


def vit() -> nn.Module:
    """ViT-Tiny/16: 12 blocks, width 192, 3 heads; the mean over patches replaces the class token."""
    blocks = [Block(192, 3, causal=False) for _ in range(12)]
    return nn.Sequential(Patches(224, 16, 192), *blocks, nn.LayerNorm(192), Mean(), nn.Linear(192, 10))


def gpt(vocabulary: int = 8192, tokens: int = 256, width: int = 256, heads: int = 8, depth: int = 6) -> nn.Module:
    blocks = [Block(width, heads, causal=True) for _ in range(depth)]
    head = nn.Linear(width, vocabulary, bias=False)
    return nn.Sequential(Embed(vocabulary, tokens, width), *blocks, nn.LayerNorm(width), head, nn.Flatten(0, 1))


def images(count: int, channels: int, size: int) -> Callable[[], Tensor]:
    return lambda: torch.randn(count, channels, size, size)


def labels(count: int, classes: int = 10) -> Callable[[], Tensor]:
    return lambda: torch.randint(classes, (count,))


NETWORKS = {
    "mlp": Network(lambda: mlp(nn.ReLU), lambda: torch.randn(128, 784), labels(128)),
    "mlp-gelu": Network(lambda: mlp(nn.GELU), lambda: torch.randn(128, 784), labels(128)),
    "mnist_fast": Network(mnist_fast, images(256, 1, 28), labels(256)),
    "resnet18": Network(resnet18, images(16, 3, 64), labels(16)),
    "mixer-s16": Network(mixer, images(4, 3, 224), labels(4)),
    "vit-tiny": Network(vit, images(4, 3, 224), labels(4)),
    "gpt": Network(gpt, lambda: torch.randint(8192, (4, 256)), labels(4 * 256, 8192)),
}
"""By name: the six networks with targets, and a variant of the first with GELU."""

SMALL = {
    "mlp-small": Network(lambda: small.mlp((8, 64, 64, 4), nn.Tanh), lambda: torch.randn(64, 8), labels(64, 4)),
    "mlp-silu": Network(lambda: small.mlp((256,) * 4 + (10,), nn.SiLU), lambda: torch.randn(32, 256), labels(32)),
    "lenet-5": Network(small.lenet5, images(64, 1, 28), labels(64)),
    "resnet-20": Network(small.resnet20, images(32, 3, 32), labels(32)),
    "gpt-small": Network(lambda: gpt(256, 64, 128, 4, 4), lambda: torch.randint(256, (8, 64)), labels(8 * 64, 256)),
    "unet": Network(small.UNet, images(2, 3, 64), lambda: torch.randint(10, (2, 64, 64))),
}
NETWORKS |= SMALL

FEW = {
    "mlp-16": Network(lambda: mlp(nn.ReLU), lambda: torch.randn(16, 784), labels(16)),
    "mlp-relu": Network(lambda: small.mlp((8, 64, 64, 4), nn.ReLU), lambda: torch.randn(64, 8), labels(64, 4)),
}
"""Networks with small batches, for the written step (benchmarks/written.py)."""
