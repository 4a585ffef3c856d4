"""The C kernels compute what their formulas compute and step aside where they cannot; no compiler: formulas run."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

import manual_backprop as mb
from manual_backprop.kernels import cpu, native
from manual_backprop.rules import BatchNorm, MaxPool
from manual_backprop.rules._rule import KERNELS

# relative to the largest; seen over 300 seeds in float32: 1e-6, the formula 1.6e-6
RTOL = {torch.float32: 5e-6, torch.float64: 1e-13}


@pytest.fixture(autouse=True)
def the_library_is_there() -> None:
    if shutil.which("cc") is None:
        pytest.skip("no C compiler on this machine")
    assert native.library() is not None
    torch.manual_seed(0)


def calls(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The names of the functions of cpu.c that run from now on."""
    names: list[str] = []
    run = native.call

    def noted(name: str, *arguments: Any) -> None:
        names.append(name)
        run(name, *arguments)

    monkeypatch.setattr(native, "call", noted)
    return names


def close(found: Tensor, expected: Tensor, condition: float = 1.0) -> None:
    assert found.stride() == expected.stride()
    atol = condition * RTOL[found.dtype] * float(expected.abs().max())
    torch.testing.assert_close(found, expected, rtol=0, atol=atol)


@pytest.mark.parametrize("threads", [1, 3])
@pytest.mark.parametrize("dtype", cpu.REAL)
@pytest.mark.parametrize(
    ("shape", "memory_format"),
    [
        ((3000, 12), torch.contiguous_format),
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
    _, mean, invstd = BatchNorm.forward(input, weight, None, None, None, 0.1, 1e-5)
    for delta in (torch.randn_like(input), torch.randn(shape[::-1], dtype=dtype).permute(*range(len(shape))[::-1])):
        for w in (weight, None):
            found = KERNELS[BatchNorm.derivatives](delta, input, w, mean, invstd)
            expected = BatchNorm.derivatives(delta.double(), input.double(), w, mean.double(), invstd.double())
            for ours, theirs in zip(found, expected, strict=True):
                close(ours, theirs.to(dtype))
    assert names == [f"batch_norm_derivatives_{cpu.REAL[dtype]}"] * 4


@pytest.mark.parametrize("threads", [1, 3])
@pytest.mark.parametrize(
    ("shape", "memory_format"),
    [
        ((3000, 12), torch.contiguous_format),
        ((5, 3, 2000), torch.contiguous_format),
        ((6, 37, 30, 41), torch.channels_last),
        ((4, 3, 10, 9, 8), torch.channels_last_3d),
        ((2, 5, 1), torch.contiguous_format),
    ],
)
def test_batch_norm_forward(shape: Any, memory_format: Any, threads: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch, "get_num_threads", lambda: threads)
    monkeypatch.setattr(cpu, "WORTHWHILE", 0)
    names = calls(monkeypatch)
    input = (torch.randn(shape) * 3 + 100).contiguous(memory_format=memory_format)  # far from zero
    weight, bias = torch.randn(2, shape[1])
    for w, b, tracked in ((weight, bias, True), (None, None, True), (weight, None, False)):
        results = []
        for formula, x in ((KERNELS[BatchNorm.normalized], input), (BatchNorm.normalized, input.double())):
            running = [torch.full((shape[1],), 2.0, dtype=x.dtype) if tracked else None for _ in range(2)]
            parameters = [None if v is None else v.to(x.dtype) for v in (w, b)]
            results.append([*formula(x, *parameters, *running, 0.3, 1e-5), *running])
        for ours, theirs in zip(*results, strict=True):
            if theirs is not None:
                # 100 / 3 is what the subtraction of the mean loses
                close(ours, theirs.float(), 30)
    assert names == ["batch_norm_normalized_float"] * 3


@pytest.mark.parametrize("memory_format", [torch.contiguous_format, torch.channels_last])
def test_batch_norm_is_made_again_from_its_statistics(memory_format: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    input = (torch.randn(32, 9, 24, 23) * 3 + 100).contiguous(memory_format=memory_format)
    weight, bias = torch.randn(2, 9)
    output, *statistics = KERNELS[BatchNorm.normalized](input, weight, bias, None, None, 0.3, 1e-5)
    names = calls(monkeypatch)
    assert torch.equal(KERNELS[BatchNorm.scaled](input, weight, bias, *statistics, 1e-5), output)
    assert names == ["batch_norm_scaled_float"]
    small = input[:2]
    output, *statistics = BatchNorm.forward(small, weight, bias, None, None, 0.3, 1e-5)
    assert torch.equal(KERNELS[BatchNorm.scaled](small, weight, bias, *statistics, 1e-5), output)
    assert len(names) == 1
    net = mb.nn.Sequential(mb.nn.Conv2d(9, 9, 1), mb.nn.BatchNorm2d(9), mb.nn.Conv2d(9, 1, 1))
    with mb.saving("exact"):
        net(input).sum().backward()
    assert names.count("batch_norm_scaled_float") == 2  # the second convolution's input


def test_small_batches_keep_atens_forward_and_wrong_vectors_its_errors(monkeypatch: pytest.MonkeyPatch) -> None:
    names = calls(monkeypatch)
    x = torch.randn(64, 8, 15, 17)
    assert torch.equal(mb.nn.BatchNorm2d(8)(x), torch.nn.BatchNorm2d(8)(x))
    assert names == []
    monkeypatch.setattr(cpu, "WORTHWHILE", 0)
    for sizes in ((7, 8), (8, 9)):
        weight, running = (torch.ones(n) for n in sizes)
        with pytest.raises(RuntimeError, match=r"(to|should) contain 8 elements"):
            mb.functional.batch_norm(x, running, running, weight, None, True)
    assert names == []


POOLS = [  # kernel_size, stride, padding, dilation, ceil_mode
    ((2, 2), (2, 2), (0, 0), (1, 1), False),
    ((3, 3), (2, 2), (1, 1), (1, 1), True),
    ((3, 2), (1, 3), (1, 0), (2, 1), False),
    ((4, 5), (3, 4), (2, 2), (1, 2), True),
    ((1, 3), (5, 1), (0, 1), (3, 3), True),
    ((2, 2), (3, 3), (1, 1), (4, 3), True),
]


@pytest.mark.parametrize("dtype", cpu.REAL)
@pytest.mark.parametrize("memory_format", [torch.contiguous_format, torch.channels_last])
@pytest.mark.parametrize("options", POOLS)
def test_max_pool(options: Any, memory_format: Any, dtype: torch.dtype, monkeypatch: pytest.MonkeyPatch) -> None:
    names = calls(monkeypatch)
    input = torch.randn(3, 18, 11, 13, dtype=dtype).round(decimals=1)  # ties
    input[0, 0, :5, :5] = -torch.inf
    input[1, :3, 2:4, 3:7] = torch.nan
    input[2] = 0.0
    input = input.contiguous(memory_format=memory_format)
    found, expected = KERNELS[MaxPool.winners](input, *options), MaxPool.winners(input, *options)
    torch.testing.assert_close(found[0], expected[0], rtol=0, atol=0, equal_nan=True)
    assert torch.equal(found[1], expected[1])
    assert found[1].dtype == expected[1].dtype == torch.uint8
    assert [t.stride() for t in found] == [t.stride() for t in expected]
    _, stride, padding, *_ = options
    for delta in (torch.randn_like(found[0]), torch.randn_like(found[0]).transpose(2, 3).contiguous().transpose(2, 3)):
        arguments = delta, found[1], (11, 13), stride, padding
        torch.testing.assert_close(
            # overlapping windows add in another order: some roundings of float32
            KERNELS[MaxPool.delta_input](*arguments),
            MaxPool.delta_input(*arguments),
            rtol=0,
            atol=1e-5,
        )
    kinds = ["max_pool_winners", "max_pool_delta_input", "max_pool_delta_input"]
    assert names == [f"{kind}_{cpu.REAL[dtype]}" for kind in kinds]


@pytest.mark.parametrize("dtype", cpu.REAL)
@pytest.mark.parametrize("options", POOLS)
def test_max_pool_of_rows_of_every_width(options: Any, dtype: torch.dtype) -> None:
    """Windows of one row are taken 16, 8 or 4 at a time, the last of them overlapping those before."""
    for width in (*range(9, 45), 63, 130):
        input = torch.randn(2, 3, 9, width, dtype=dtype).round(decimals=1)
        input[0, 0, ::2, ::3] = torch.nan
        found, expected = KERNELS[MaxPool.winners](input, *options), MaxPool.winners(input, *options)
        torch.testing.assert_close(found[0], expected[0], rtol=0, atol=0, equal_nan=True)
        assert torch.equal(found[1], expected[1])


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("options", [(3, 2, 1, 1, True), (2, 2, 0, 1, False), (2, 1, 1, 2, False)])
def test_max_pool_of_one_axis(options: Any, dtype: torch.dtype, monkeypatch: pytest.MonkeyPatch) -> None:
    names = calls(monkeypatch)
    *axes, ceil_mode = options
    size, stride, padding, dilation = ((v,) for v in axes)
    for shape in ((2, 3, 9), (1, 1, 4), (3, 8, 130)):
        input = torch.randn(shape, dtype=dtype).round(decimals=1)
        found = KERNELS[MaxPool.winners](input, size, stride, padding, dilation, ceil_mode)
        expected = MaxPool.winners(input, size, stride, padding, dilation, ceil_mode)
        assert all(torch.equal(a, b) and a.stride() == b.stride() for a, b in zip(found, expected, strict=True))
        delta = torch.randn_like(found[0])
        back = KERNELS[MaxPool.delta_input](delta, found[1], shape[2:], stride, padding)
        close(back, MaxPool.delta_input(delta.double(), found[1], shape[2:], stride, padding).to(dtype))
    real = {torch.float32: "float", torch.float64: "double"}[dtype]
    assert names == [f"max_pool_winners_{real}", f"max_pool_delta_input_{real}"] * 3


@pytest.mark.parametrize(
    "make",
    [
        lambda: (torch.randn(2, 3, 9, 80), ((9, 2), (1, 1), (0, 0), (1, 1), False)),  # reaches further than a byte
        lambda: (torch.randn(3, 9, 9), ((2, 2), (2, 2), (0, 0), (1, 1), False)),  # unbatched
        lambda: (torch.randn(2, 3, 9, 9, dtype=torch.bfloat16), ((2, 2), (2, 2), (0, 0), (1, 1), False)),
        lambda: (torch.randn(2, 3, 9, 18)[..., ::2], ((2, 2), (2, 2), (0, 0), (1, 1), False)),
    ],
)
def test_what_the_kernel_of_max_pool_does_not_take_goes_to_the_formula(
    make: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    names = calls(monkeypatch)
    input, options = make()
    for found, expected in zip(
        KERNELS[MaxPool.winners](input, *options), MaxPool.winners(input, *options), strict=True
    ):
        assert torch.equal(found, expected)
    assert names == []


def test_a_window_that_holds_nothing_reads_and_writes_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    names = calls(monkeypatch)
    options = (2, 2), (3, 3), (1, 1), (4, 4), True  # steps at -1 and 3, where x has the one place 0
    input = torch.ones(2, 3, 1, 1)
    output, winner = KERNELS[MaxPool.winners](input, *options)
    assert names == []
    assert torch.equal(output, torch.nn.functional.max_pool2d(input, *options))
    assert output.eq(-torch.inf).all()
    delta_input = KERNELS[MaxPool.delta_input](torch.ones_like(output), winner, (1, 1), (3, 3), (1, 1))
    assert names == ["max_pool_delta_input_float"]
    assert torch.equal(delta_input, torch.zeros_like(input))


def test_torch_still_refuses_what_it_refuses() -> None:
    for options in ({"kernel_size": 2, "padding": 2}, {"kernel_size": 20}, {"kernel_size": 2, "stride": 0}):
        errors = []
        for pool in (mb.functional.max_pool2d, torch.nn.functional.max_pool2d):
            with pytest.raises(RuntimeError) as raised:
                pool(torch.randn(1, 1, 4, 4, requires_grad=True), **options)
            errors.append(str(raised.value).splitlines()[0])
        assert errors[1] in errors[0]


def test_the_backend_decides(monkeypatch: pytest.MonkeyPatch) -> None:
    names = calls(monkeypatch)
    x = torch.randn(1, 1, 4, 4, requires_grad=True)
    with mb.backend("formula"):
        mb.functional.max_pool2d(x, 2).sum().backward()
    assert names == []
    mb.functional.max_pool2d(x, 2).sum().backward()
    assert names == ["max_pool_winners_float", "max_pool_delta_input_float"]


BUILD = """
import logging, sys, torch
logging.basicConfig(format="%(message)s", stream=sys.stdout)
import manual_backprop as mb
x = torch.tensor([[[[-1.0, 2.0]]]], requires_grad=True)
for _ in range(2):
    mb.functional.max_pool2d(x, (1, 2)).sum().backward()
print(x.grad.flatten().tolist(), mb.kernels.native.library() is not None)
"""


def built(environment: dict[str, str]) -> str:
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", BUILD], env={**os.environ, **environment}, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_without_a_compiler_formulas_run_and_say_so_once(tmp_path: Path) -> None:
    printed = built({"CC": "no-such-compiler", "XDG_CACHE_HOME": str(tmp_path)})
    assert printed.count("no C kernels, formulas run in their place") == 1
    assert "no-such-compiler" in printed
    assert printed.endswith("[0.0, 2.0] False\n")
    broken = tmp_path / "cc"
    broken.write_text("#!/bin/sh\n[ $1 = --version ] && exit 0\necho 'cpu.c: bad' >&2; exit 1\n")
    broken.chmod(0o755)
    printed = built({"CC": str(broken), "XDG_CACHE_HOME": str(tmp_path)})
    assert "cpu.c: bad" in printed
    assert not list((tmp_path / "manual_backprop").iterdir()), "nothing half-written is left"


def test_it_is_built_once_and_by_many_at_the_same_time(tmp_path: Path) -> None:
    environment = {"XDG_CACHE_HOME": str(tmp_path)}
    command = [sys.executable, "-W", "ignore", "-c", BUILD]
    together = [
        subprocess.Popen(command, env={**os.environ, **environment}, stdout=subprocess.PIPE, text=True)
        for _ in range(3)
    ]
    assert [p.communicate()[0] for p in together] == ["[0.0, 2.0] True\n"] * 3
    (library,) = (tmp_path / "manual_backprop").iterdir()
    made = library.stat().st_mtime_ns
    assert built(environment) == "[0.0, 2.0] True\n"
    assert library.stat().st_mtime_ns == made


def test_a_cache_that_cannot_be_written_is_done_without(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    assert built({"XDG_CACHE_HOME": str(tmp_path / "file")}) == "[0.0, 2.0] True\n"
