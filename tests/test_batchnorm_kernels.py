"""The C of batchnorm.c against the formulas in float64, and aside where it must be."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor

import manual_backprop as mb
from manual_backprop.engine.rule import KERNELS
from manual_backprop.kernels import batchnorm, native
from manual_backprop.memory.recompute import FUSED
from manual_backprop.rules import BatchNorm, ReLU

from .test_native import calls

# relative to the largest; seen over 300 seeds in float32: 1e-6, the formula 1.6e-6
RTOL = {torch.float32: 5e-6, torch.float64: 1e-13, torch.bfloat16: 5e-6}
ROUNDED = {torch.float32: 0.0, torch.float64: 0.0, torch.bfloat16: 2**-7.99}  # relative to each: half of a last place


pytestmark = pytest.mark.usefixtures("c_kernels")


def close(found: Tensor, expected: Tensor, condition: float = 1.0) -> None:
    """Within some roundings of float64's; bfloat16 is rounded once."""
    assert found.stride() == expected.stride()
    atol = condition * RTOL[found.dtype] * float(expected.abs().max())
    torch.testing.assert_close(found.double(), expected, rtol=ROUNDED[found.dtype], atol=atol)


@pytest.mark.parametrize("threads", [1, 3])
@pytest.mark.parametrize("dtype", native.REAL)
@pytest.mark.parametrize(
    ("shape", "memory_format"),
    [
        ((3000, 12), torch.contiguous_format),
        ((300, 97), torch.contiguous_format),
        ((5, 3, 2000), torch.contiguous_format),
        ((6, 5, 30, 41), torch.contiguous_format),
        ((6, 5, 30, 41), torch.channels_last),
        ((2, 19, 3, 3), torch.channels_last),
        ((4, 3, 10, 9, 8), torch.channels_last_3d),
        ((1, 5, 40), torch.contiguous_format),
    ],
)
def test_batch_norm(
    shape: Any, memory_format: Any, dtype: torch.dtype, threads: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch, "get_num_threads", lambda: threads)
    names = calls(monkeypatch)
    input = (torch.randn(shape, dtype=dtype) * 3 + 1).contiguous(memory_format=memory_format)
    weight = torch.randn(shape[1], dtype=dtype)
    real = torch.float32 if dtype == torch.bfloat16 else dtype
    mean = BatchNorm.mean(input.double())
    mean, invstd = mean.to(real), BatchNorm.invstd(input.double(), mean, 1e-5).to(real)
    needs = True, True, True
    for delta in (torch.randn_like(input), torch.randn(shape[::-1], dtype=dtype).permute(*range(len(shape))[::-1])):
        for w in (weight, weight.to(real), None):
            found = KERNELS[BatchNorm.derivatives](delta, input, w, mean, invstd, needs)
            assert [t.dtype for t in found] == [dtype, real, real]
            wide = [None if v is None else v.double() for v in (delta, input, w, mean, invstd)]
            delta_input, *sums = BatchNorm.derivatives(*wide, needs)
            laid_as_input = torch.empty_like(input, dtype=torch.float64).copy_(delta_input)
            for ours, theirs in zip(found, (laid_as_input, *sums), strict=True):
                close(ours, theirs)
    assert names == [f"batch_norm_derivatives_{native.REAL[dtype]}"] * 6


@pytest.mark.parametrize("dtype", batchnorm.SINGLE)
@pytest.mark.parametrize("threads", [1, 3])
@pytest.mark.parametrize(
    ("shape", "memory_format"),
    [
        ((3000, 12), torch.contiguous_format),
        ((300, 97), torch.contiguous_format),
        ((5, 3, 2000), torch.contiguous_format),
        ((6, 37, 30, 41), torch.channels_last),
        ((4, 3, 10, 9, 8), torch.channels_last_3d),
        ((2, 5, 1), torch.contiguous_format),
    ],
)
def test_batch_norm_forward(
    shape: Any, memory_format: Any, dtype: torch.dtype, threads: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch, "get_num_threads", lambda: threads)
    monkeypatch.setattr(batchnorm, "WORTHWHILE", 0)
    names = calls(monkeypatch)
    input = (torch.randn(shape) * 3 + 100).to(dtype).contiguous(memory_format=memory_format)  # far from zero
    weight, bias = torch.randn(2, shape[1])
    for w, b, tracked in ((weight, bias, True), (None, None, True), (weight, None, False)):
        for real in {dtype, torch.float32}:  # of the vectors
            results = []
            for formula, x, kind in (
                (KERNELS[BatchNorm.normalized], input, real),
                (BatchNorm.normalized, input.double(), torch.float64),
            ):
                running = [torch.full((shape[1],), 2.0, dtype=kind) if tracked else None for _ in range(2)]
                parameters = [None if v is None else v.to(real).to(kind) for v in (w, b)]
                results.append([*formula(x, *parameters, *running, 0.3, 1e-5), *running])
            assert [t.dtype for t in results[0][:3]] == [dtype, torch.float32, torch.float32]
            for ours, theirs in zip(*results, strict=True):
                if theirs is not None:
                    # 100 / 3 is what the subtraction of the mean loses
                    close(ours, theirs, 30)
    assert names == [f"batch_norm_normalized_{native.REAL[dtype]}"] * 3 * len({dtype, torch.float32})


@pytest.mark.parametrize("dtype", batchnorm.SINGLE)
@pytest.mark.parametrize("memory_format", [torch.contiguous_format, torch.channels_last])
def test_batch_norm_is_recomputed_from_its_statistics(
    memory_format: Any, dtype: torch.dtype, monkeypatch: pytest.MonkeyPatch
) -> None:
    input = (torch.randn(32, 9, 24, 23) * 3 + 100).to(dtype).contiguous(memory_format=memory_format)
    weight, bias = torch.randn(2, 9)
    output, *statistics = KERNELS[BatchNorm.normalized](input, weight, bias, None, None, 0.3, 1e-5)
    names = calls(monkeypatch)
    assert torch.equal(KERNELS[BatchNorm.scaled](input, weight, bias, *statistics, 1e-5), output)
    with torch.no_grad():
        rectified = FUSED[ReLU.forward, BatchNorm.scaled](input, weight, bias, *statistics, 1e-5)
    assert torch.equal(rectified, output.relu())
    assert names == [f"batch_norm_scaled_{native.REAL[dtype]}"] * 2
    small = input[:2]
    output, *statistics = BatchNorm.forward(small, weight, bias, None, None, 0.3, 1e-5)
    assert torch.equal(KERNELS[BatchNorm.scaled](small, weight, bias, *statistics, 1e-5), output)
    assert len(names) == 2
    net = mb.nn.Sequential(mb.nn.Conv2d(9, 9, 1), mb.nn.BatchNorm2d(9), mb.nn.Conv2d(9, 1, 1)).to(dtype)
    with mb.saving("exact"):
        net(input).sum().backward()
    assert names.count(f"batch_norm_scaled_{native.REAL[dtype]}") == 3  # the second convolution's input


def test_small_batches_keep_atens_forward_and_wrong_vectors_its_errors(monkeypatch: pytest.MonkeyPatch) -> None:
    names = calls(monkeypatch)
    x = torch.randn(64, 8, 15, 17)
    assert torch.equal(mb.nn.BatchNorm2d(8)(x), torch.nn.BatchNorm2d(8)(x))
    assert names == []
    monkeypatch.setattr(batchnorm, "WORTHWHILE", 0)
    for sizes in ((7, 8), (8, 9)):
        weight, running = (torch.ones(n) for n in sizes)
        with pytest.raises(RuntimeError, match=r"(to|should) contain 8 elements"):
            mb.functional.batch_norm(x, running, running, weight, None, True)
    assert names == []


def test_vectors_of_several_dtypes_are_refused_as_torch_does(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(batchnorm, "WORTHWHILE", 0)
    names, x = calls(monkeypatch), torch.randn(4, 8, 3, 3).bfloat16()
    errors = []
    for norm in (mb.functional.batch_norm, torch.nn.functional.batch_norm):
        with pytest.raises(RuntimeError, match="mixed dtype") as raised:
            norm(x, torch.zeros(8).bfloat16(), torch.ones(8).bfloat16(), torch.ones(8), None, True)
        errors.append(str(raised.value).splitlines()[0])
    assert errors[1] in errors[0]
    assert names == []


def test_under_autocast_the_kernels_run(monkeypatch: pytest.MonkeyPatch) -> None:
    """bfloat16 from a convolution, parameters in float32."""
    monkeypatch.setattr(batchnorm, "WORTHWHILE", 0)
    names = calls(monkeypatch)
    net = mb.nn.Sequential(mb.nn.Conv2d(3, 8, 3), mb.nn.BatchNorm2d(8), mb.nn.ReLU(), mb.nn.MaxPool2d(2))
    with torch.autocast("cpu", torch.bfloat16):
        output = net(torch.randn(4, 3, 16, 16))
    output.float().sum().backward()
    assert output.dtype == torch.bfloat16
    assert net[1].weight.grad.dtype == torch.float32
    kinds = "batch_norm_normalized", "max_pool_winners", "max_pool_delta_input", "batch_norm_derivatives"
    assert names == [f"{kind}_bfloat16" for kind in kinds]
