"""Large results of kernels lie on huge pages, and are ordinary tensors."""

from __future__ import annotations

import mmap
from pathlib import Path

import pytest
import torch

from manual_backprop.kernels import memory

SETTING = Path("/sys/kernel/mm/transparent_hugepage/enabled")
NOTES = Path("/proc/self/smaps")


def _flags(address: int) -> list[str]:
    """What the system notes of the piece of memory that an address lies in."""
    inside = False
    for line in NOTES.read_text().splitlines():
        name, _, rest = line.partition(" ")
        if "-" in name and not name.endswith(":"):
            begin, end = (int(part, 16) for part in name.split("-"))
            inside = begin <= address < end
        elif inside and name == "VmFlags:":
            return rest.split()
    return []


@pytest.mark.skipif(
    not (SETTING.exists() and NOTES.exists() and "VmFlags:" in NOTES.read_text()),
    reason="this system knows no huge pages, or does not tell which memory is marked",
)
def test_large_memory_is_marked_for_huge_pages() -> None:
    """Marked alone: whether there are whole ones left is the system's affair."""
    like = torch.empty(2**26, dtype=torch.uint8, device="meta")
    asked, other = memory.empty_like(like, device="cpu"), torch.empty_like(like, device="cpu")
    middle = asked.data_ptr() + asked.nbytes // 2
    assert "hg" in _flags(middle)
    assert "hg" not in _flags(other.data_ptr() + other.nbytes // 2)


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


def test_the_largest_cache_is_what_the_system_says(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(memory, "CACHES", tmp_path)
    memory.largest_cache.cache_clear()
    assert memory.largest_cache() == 32 * 2**20, "not known: as many as are usual"
    for i, size in enumerate(("32K", "1024K", "8192K")):
        (tmp_path / f"index{i}").mkdir()
        (tmp_path / f"index{i}" / "size").write_text(f"{size}\n")
    memory.largest_cache.cache_clear()
    assert memory.largest_cache() == 8 * 2**20
    assert memory.around(*torch.empty(2, 2**20))
    assert not memory.around(*torch.empty(2, 2**20 - 1))
    memory.largest_cache.cache_clear()


def test_without_a_system_that_knows_them(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(memory, "_advise", lambda: None)
    like = torch.empty(2, 3, 1024, 1024).contiguous(memory_format=torch.channels_last)
    assert memory.empty_like(like).stride() == like.stride()
