"""torch's own database of operators inside `mb.explicit()`: its results and gradients, and no autograd in the graph."""

from __future__ import annotations

import pytest
import torch

from . import opdb

pytest.importorskip("expecttest", reason="torch's database of operators needs it")

EXCEPTIONS = {
    "sparse.sampled_addmm": "its tensors are sparse",
    "sparse.mm.reduce": "its tensors are sparse",
}
"""Operator -> why autograd computes its derivative."""

OTHERWISE = {
    "as_strided_scatter": "torch gives the input the deltas of other elements than those that were not written",
}
"""Operator -> why its gradient is not torch's: the row of ours passes gradcheck."""

NAMES = tuple(opdb.database())


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("name", NAMES)
def test_the_first_sample_of_each_operator(name: str) -> None:
    found = opdb.check(name, first=True)
    assert bool(found.wrong) == (name in OTHERWISE), found.wrong
    assert name in EXCEPTIONS or not found.autograd


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("name", NAMES)
def test_every_sample_of_each_operator(name: str) -> None:
    found = opdb.check(name)
    assert found.samples
    assert bool(found.wrong) == (name in OTHERWISE), found.wrong
    assert name in EXCEPTIONS or not found.autograd


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("name", [n for n in NAMES if opdb.takes_complex(n)])
def test_every_sample_of_each_operator_of_complex_numbers(name: str) -> None:
    found = opdb.check(name, dtype=torch.complex128)
    assert bool(found.wrong) == (name in OTHERWISE), found.wrong
    assert name in EXCEPTIONS or not found.autograd


@pytest.mark.filterwarnings("ignore")  # torch's own: sparse tensors are in beta
def test_an_exception_is_needed() -> None:
    assert [name for name in EXCEPTIONS if opdb.check(name).right] == []
    assert len(EXCEPTIONS) <= 10


def test_a_wrong_gradient_and_an_autograd_node_are_seen() -> None:
    one = torch.tensor([1.0, 2.0], dtype=torch.float64)
    assert opdb.different(one, one * (1 + 1e-12)) == ""
    assert "of the largest" in opdb.different(one, one * (1 + 1e-8))
    assert "none" in opdb.different(one, None)
    assert opdb.different(torch.zeros(2), None) == ""
    assert "NaN elsewhere" in opdb.different(one, one.log().sqrt().log())
    assert "torch.float32" in opdb.different(one, one.float())
