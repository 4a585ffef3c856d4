"""The Triton kernels go through Triton's compiler and ptxas for real GPUs, which needs none.

What TRITON_INTERPRET cannot show, types and shapes that the compiler refuses or too much shared memory, shows here;
whether they run right on a GPU, the tests marked `gpu` show.
"""

from __future__ import annotations

import importlib.util
from typing import Any

import pytest
import torch
from torch import Tensor

from manual_backprop import rules
from manual_backprop.kernels import cuda

pytestmark = pytest.mark.skipif(
    importlib.util.find_spec("triton") is None or not torch.backends.cuda.is_built(),
    reason="the package triton is not installed, or has no compiler for CUDA",
)

SHARED = {80: 163 * 1024, 90: 227 * 1024}
"""Compute capability, 8.0 and 9.0, and bytes of shared memory that a program may have there."""
POINTERS = {
    torch.float32: "*fp32", torch.float16: "*fp16", torch.bfloat16: "*bf16", torch.int64: "*i64", torch.uint8: "*u8",
}  # fmt: skip


@pytest.fixture(params=SHARED, ids=lambda capability: f"sm{capability}")
def compiled(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Kernels are compiled where they would be launched; their names."""
    from triton.backends.compiler import GPUTarget
    from triton.compiler import ASTSource
    from triton.compiler import compile as build

    names: list[str] = []

    def launch(kernel: Any, programs: int, like: Tensor, *args: Any, **options: Any) -> None:
        signature: dict[str, str] = {}
        constants = {}
        for position, name in enumerate(kernel.arg_names):
            if position >= len(args):
                signature[name], constants[(position,)] = "constexpr", options.pop(name)
            elif isinstance(args[position], Tensor):
                signature[name] = POINTERS[args[position].dtype]
            elif isinstance(args[position], float):
                signature[name] = "fp32"
            elif args[position] == 1:  # Triton makes a constant of it
                signature[name], constants[(position,)] = "constexpr", 1
            else:
                signature[name] = "i32"
        target = GPUTarget("cuda", request.param, 32)
        binary = build(ASTSource(kernel, signature, constants, {}), target=target, options=options)
        assert binary.asm["cubin"]
        assert binary.metadata.shared <= SHARED[request.param]
        names.append(kernel.__name__)

    monkeypatch.setattr(cuda.module("launch"), "INTERPRETED", True)  # tensors of the CPU will do
    for name in cuda.SERVED:
        monkeypatch.setattr(cuda.module(name), "launch", launch)
    return names


def kernel_of(formula: Any) -> Any:
    return next(cuda.kernel(name, formula) for name, formulas in cuda.SERVED.items() if formula in formulas)


def test_rows(compiled: list[str]) -> None:
    delta, output, labels = torch.randn(64, 1024), torch.rand(64, 1024), torch.randint(1024, (64,))
    kernel_of(rules.Softmax.delta_input)(delta, output, -1)
    kernel_of(rules.LogSoftmax.delta_input)(delta.bfloat16(), output, -1)
    loss, facts = rules.LinearCrossEntropyLoss, (labels, torch.rand(1024), -100)
    kernel_of(rules.CrossEntropyLoss.delta_input)(torch.randn(()), output, *facts, "mean", 0.1)
    kernel_of(loss.losses)(output.bfloat16(), *facts, 0.1, torch.float32)
    kernel_of(loss.delta_logits)(torch.randn(64), output.bfloat16(), *facts, 0.0, torch.float32)
    assert set(compiled) == {"_softmax_delta", "_cross_entropy", "_cross_entropy_delta"}


@pytest.mark.parametrize("n", [768, 2**14])
def test_norms_of_rows(n: int, compiled: list[str]) -> None:
    x, w, scale = torch.randn(64, n), torch.randn(n), torch.rand(64, 1)
    kernel_of(rules.LayerNorm.derivatives)(x, x.bfloat16(), w, scale, scale, torch.Size([n]), (True, True, True))
    kernel_of(rules.RMSNorm.derivatives)(x, x, None, torch.Size([n]), 1e-5, (True, True))
    kernel_of(rules.RMSNorm.normalized)(x, (n,), w, 1e-5)
    kernel_of(rules.RMSNorm.invrms)(x, torch.Size([n]), 1e-5)
    assert compiled == ["_norm_derivatives", "_rms_norm"] * 2 + ["_rms_norm"]


@pytest.mark.parametrize("n", [768, 2**14])
def test_rows_behind_a_residual_or_a_bias(n: int, compiled: list[str]) -> None:
    x, w, scale, shape = torch.randn(64, n), torch.randn(n), torch.rand(64, 1), torch.Size([n])
    kernel_of(rules.AddLayerNorm.outputs)(x, x.bfloat16(), shape, w, w, 1e-5)
    kernel_of(rules.AddRMSNorm.outputs)(x.bfloat16(), x.bfloat16(), shape, None, 1e-5)
    kernel_of(rules.AddLayerNorm.derivatives)(x, x, x, w, scale, scale, shape, (True, True, True))
    for activation in ("relu", "gelu", "mish"):
        kernel_of(rules.BiasActivation.output)(x, w, activation)
    kernel_of(rules.BiasActivation.derivatives)(x, x, None, "relu", shape, (True, True))
    kernel_of(rules.BiasActivation.derivatives)(x.half(), x.half(), w.half(), "gelu", shape, (True, True))
    assert compiled == ["_add_norm"] * 2 + ["_norm_derivatives"] + ["kernel"] * 5


def test_norms_of_channels_and_pools(compiled: list[str]) -> None:
    x, vector, groups = torch.randn(4, 64, 14, 14), torch.rand(64), torch.rand(4, 8)
    kernel_of(rules.GroupNorm.derivatives)(x, x, vector, groups, groups, (True, True, True))
    for y in (x.bfloat16(), x.contiguous(memory_format=torch.channels_last)):
        kernel_of(rules.BatchNorm.derivatives)(y, y, vector, vector, vector, (True, True, True))
        output, winner = kernel_of(rules.MaxPool.winners)(y, (3, 3), (2, 2), (1, 1), (1, 1), False)
        kernel_of(rules.MaxPool.delta_input)(output, winner, y.shape, (3, 3), (2, 2), (1, 1), (1, 1))
        kernel_of(rules.AvgPool.delta_input)(output, y.shape, (3, 3), (2, 2), (1, 1), True, None)
    pools = ["_max_pool_winners", "_max_pool_delta", "_avg_pool_delta"]
    first, last = ["_row_sums", "_affine", *pools], ["_column_sums", "_affine", *pools]
    assert compiled == ["_row_sums", "_affine", *first, *last]


def test_pointwise(compiled: list[str]) -> None:
    x = torch.randn(100)
    for rule in (rules.Mish, rules.Tanhshrink, rules.Hardtanh, rules.ELU, rules.Softsign):
        _, numbers = cuda.module("pointwise").printer.parameters(rule.delta_input)
        kernel_of(rule.delta_input)(x, x, *[0.5 for _ in numbers])
    kernel_of(rules.GELU.by_erf)(x.bfloat16(), x.bfloat16())
    kernel_of(rules.Dropout.delta_input)(x, x > 0, 0.1)
    cuda.module("pointwise").kernel(rules.LogSigmoid.output)(x)
    assert compiled == ["kernel"] * 8


ATTENTIONS = (
    (torch.bfloat16, 64, "causal"),
    (torch.bfloat16, 64, "mask"),
    (torch.float16, 128, "dropout"),
    (torch.bfloat16, 256, "causal"),
    (torch.float32, 128, "added"),
)


# 13 seconds each: by default one, for the GPU with less shared memory
@pytest.mark.parametrize(
    ("compiled", "dtype", "width", "how"),
    [
        pytest.param(capability, *given, marks=[] if (capability, i) == (80, 0) else pytest.mark.slow)
        for capability in SHARED
        for i, given in enumerate(ATTENTIONS)
    ],
    indirect=["compiled"],
)
def test_attention(dtype: torch.dtype, width: int, how: str, compiled: list[str]) -> None:
    q, rule = torch.randn(2, 4, 197, width, dtype=dtype), rules.ScaledDotProductAttention
    mask = {"mask": torch.rand(197, 197) < 0.5, "added": torch.randn(2, 1, 197, 197)}.get(how)
    p, kept = (0.1, torch.rand(2, 4, 197, 197) < 0.9) if how == "dropout" else (0.0, None)
    output, lse = kernel_of(rule.attended)(q, q, q, mask, kept, p, how == "causal", 0.1)
    given = q, q, q, q, mask, kept, output, lse
    kernel_of(rule.deltas)(*given, p, how == "causal", 0.1, (True, True, True, False))
    assert compiled == ["attended", "row_dots", "delta_query", "delta_key_value"]


def test_what_a_gpu_cannot_do_is_refused(compiled: list[str]) -> None:
    """The compiler is asked in earnest: a block that is no power of 2."""
    rows = cuda.module("rows")
    x = torch.randn(4, 6)
    with pytest.raises(Exception, match="power of 2"):
        rows.launch(rows._softmax_delta, 1, x, x, x, x, 4, 6, SIGN=1, LOG=False, ROWS=3, COLUMNS=8)
