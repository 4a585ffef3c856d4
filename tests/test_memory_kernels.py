"""Large results of kernels lie on huge pages, and are ordinary tensors."""

from __future__ import annotations

import mmap
from pathlib import Path

import pytest
import torch

from manual_backprop.kernels import memory

SETTING = Path("/sys/kernel/mm/transparent_hugepage/enabled")


def _huge_bytes() -> int:
    lines = Path("/proc/self/smaps_rollup").read_text().splitlines()
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith("AnonHugePages"))


@pytest.mark.skipif(
    not SETTING.exists() or "[never]" in SETTING.read_text(), reason="this system hands out no huge pages"
)
def test_large_memory_lies_on_huge_pages() -> None:
    before = _huge_bytes()
    tensor = memory.empty_like(torch.empty(2**26, dtype=torch.uint8, device="meta"), device="cpu").fill_(1)
    assert _huge_bytes() - before >= tensor.nbytes // 2  # the kernel may be short of whole ones


def test_the_advice_stays_inside_of_the_tensor(monkeypatch: pytest.MonkeyPatch) -> None:
    given: list[tuple[int, int, int]] = []
    monkeypatch.setattr(memory, "_advise", lambda: lambda *arguments: given.append(arguments))
    tensor = memory.on_huge_pages(torch.empty(memory.LARGE + 100, dtype=torch.uint8)[50:-50])
    ((first, size, advice),) = given
    assert tensor.data_ptr() <= first
    assert first + size <= tensor.data_ptr() + tensor.nbytes
    assert first % mmap.PAGESIZE == size % mmap.PAGESIZE == 0
    assert size >= tensor.nbytes - 2 * mmap.PAGESIZE
    assert advice == mmap.MADV_HUGEPAGE
    memory.empty_like(torch.empty(100))
    assert len(given) == 1


def test_without_a_system_that_knows_them(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(memory, "_advise", lambda: None)
    like = torch.empty(2, 3, 1024, 1024).contiguous(memory_format=torch.channels_last)
    assert memory.empty_like(like).stride() == like.stride()
