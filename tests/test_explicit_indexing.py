"""Inside `mb.explicit()`: x[...] read and written with tensors as indices, and writes by index in place, on rules."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor

import manual_backprop as mb
from manual_backprop._nodes import is_view, name_of, rule_of
from manual_backprop._observe import graph

ROWS = torch.tensor([2, 0, 2])
COLUMNS = torch.tensor([[1], [0]])
MASK = torch.arange(12).reshape(4, 3) % 5 < 2
PLACES = torch.tensor([[0, 1, 2], [3, 0, 0]])

READS: dict[str, Callable[[Tensor], Tensor]] = {
    "rows": lambda x: x[ROWS],
    "columns": lambda x: x[:, ROWS],
    "rows and columns": lambda x: x[COLUMNS, ROWS],
    "slice and rows": lambda x: x[1:, ROWS],
    "list": lambda x: x[[0, 3]],
    "mask": lambda x: x[MASK],
    "mask of rows": lambda x: x[MASK[:, 0]],
    "new axis": lambda x: x[None, ROWS],
    "last": lambda x: x[..., torch.tensor([-1])],
    "number as a tensor": lambda x: x[torch.tensor(1)],
    "two numbers as tensors": lambda x: x[torch.tensor(1), torch.tensor(2)],
    "truth": lambda x: x[torch.tensor(True)],
    "truth, of a number": lambda x: x[0, 0][torch.tensor(True)],
}


def set_rows(x: Tensor, v: Tensor) -> None:
    x[torch.tensor([2, 0])] = v


def set_columns(x: Tensor, v: Tensor) -> None:
    x[:, torch.tensor([2, 0])] = v[:, :2]


def set_mask(x: Tensor, v: Tensor) -> None:
    x[MASK] = v.sum()


def set_mask_to_number(x: Tensor, v: Tensor) -> None:
    x[MASK] = 0.5


def add_to_rows(x: Tensor, v: Tensor) -> None:
    x[torch.tensor([2, 0])] += v[:2]


def set_in_a_view(x: Tensor, v: Tensor) -> None:
    x[1:][torch.tensor([2, 0])] = v[:2]


WRITES: dict[str, Callable[[Tensor, Tensor], object]] = {
    "rows": lambda x, v: set_rows(x, v[:2]),
    "columns": set_columns,
    "mask": set_mask,
    "mask, a number": set_mask_to_number,
    "rows, added": add_to_rows,
    "a view's rows": set_in_a_view,
    "index_put_": lambda x, v: x.index_put_((ROWS,), v[:3], accumulate=True),
    "index_add_": lambda x, v: x.index_add_(0, ROWS, v[:3], alpha=2),
    "index_copy_": lambda x, v: x.index_copy_(0, torch.tensor([2, 0]), v[:2]),
    "index_fill_": lambda x, v: x.index_fill_(0, ROWS, v.sum()),
    "scatter_": lambda x, v: x.scatter_(0, torch.tensor([[0, 1, 2], [3, 0, 1]]), v[:2]),
    "scatter_, a number": lambda x, v: x.scatter_(0, PLACES, 1.5),
    "scatter_add_": lambda x, v: x.scatter_add_(0, PLACES, v[:2]),
    "scatter_reduce_": lambda x, v: x.scatter_reduce_(0, PLACES, v[:2], "amax"),
    "index_reduce_": lambda x, v: x.index_reduce_(0, ROWS, v[:3], "mean"),
    "put_": lambda x, v: x.put_(torch.tensor([3, 7, 0]), v[0]),
    "masked_scatter_": lambda x, v: x.masked_scatter_(MASK, v),
    "tril_": lambda x, v: x.tril_(),
    "triu_ of a view": lambda x, v: x[1:].triu_(),
    "cumsum_": lambda x, v: x.cumsum_(0),
    "cumprod_": lambda x, v: x.cumprod_(1),
    "renorm_": lambda x, v: x.renorm_(2, 0, 0.5),
}


def same_on_rules(run: Callable[[Tensor, Tensor], Tensor]) -> None:
    """Outputs, gradients and the graph's nodes, inside and outside of mb.explicit()."""
    results = []
    for explicit in (False, True):
        x = torch.linspace(-2, 3, 12, dtype=torch.float64).reshape(4, 3).requires_grad_()
        v = torch.linspace(1, -1, 12, dtype=torch.float64).reshape(4, 3).requires_grad_()
        with mb.explicit() if explicit else mb.backend("auto"):
            output = run(x, v)
        if explicit:
            left = {name_of(n) for n in graph([output]) if rule_of(n) is None and not is_view(n)}
            assert left <= {"torch::autograd::AccumulateGrad"}
        delta = torch.linspace(0.5, 1.5, output.numel(), dtype=torch.float64).reshape(output.shape)
        results.append((output, *torch.autograd.grad(output, (x, v), delta, allow_unused=True, materialize_grads=True)))
    for theirs, ours in zip(*results, strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-13, atol=1e-13)


@pytest.mark.parametrize("name", READS)
def test_indexing_with_tensors_runs_on_rules(name: str) -> None:
    same_on_rules(lambda x, v: READS[name](x))


@pytest.mark.parametrize("name", WRITES)
def test_writes_by_index_run_on_rules(name: str) -> None:
    def run(x: Tensor, v: Tensor) -> Tensor:
        output = x * 1.5
        WRITES[name](output, v)
        return output

    same_on_rules(run)


@pytest.mark.parametrize("name", ["rows", "mask", "index_add_", "scatter_", "masked_scatter_"])
def test_writes_into_what_needs_no_gradient_itself(name: str) -> None:
    def run(x: Tensor, v: Tensor) -> Tensor:
        output = torch.zeros(4, 3, dtype=torch.float64)
        WRITES[name](output, v * 2)
        return output + 0 * x

    same_on_rules(run)


def test_a_leaf_cannot_be_written_into() -> None:
    x = torch.zeros(4, 3, requires_grad=True)
    with mb.explicit(), pytest.raises(RuntimeError, match="leaf Variable"):
        x[ROWS] = 1.0


def test_an_edit_of_an_index_after_the_call_is_noticed() -> None:
    x, rows = torch.randn(4, 3, requires_grad=True), ROWS.clone()
    with mb.explicit():
        y = x[rows]
    rows.zero_()
    with pytest.raises(RuntimeError, match="modified by an inplace operation"):
        y.sum().backward()
