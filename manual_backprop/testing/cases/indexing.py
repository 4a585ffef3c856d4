"""Rows of functions that read or write by index, or that reduce groups given by an index."""

from collections.abc import Callable
from typing import Any

import torch

from manual_backprop.functional.indexing import _masked_index, _masked_index_put

from ..case import Case, Spec, complex_normal, constant, index, normal, tensors, uniform
from ._make import COMPLEX, function


def chosen(*values: int) -> Spec:
    return constant(torch.tensor(values))


def where(*rows: str) -> Spec:
    """A mask, written with a dot for False."""
    return constant(torch.tensor([[mark != "." for mark in row] for row in rows]))


matrix: Spec = normal(4, 3)
cube: Spec = normal(2, 4, 3)
complex_matrix: Spec = complex_normal(4, 3)
places: Spec = index(4, 5, 3)
some: Spec = chosen(2, 0, 2)
distinct: Spec = chosen(2, 0)
mask: Spec = where("x.x", ".x.", "...", "xx.")
column: Spec = where("x", ".", "x", "x")
nonzero: Spec = uniform(4, 3, low=0.5, high=2.0)
parts: Spec = uniform(5, 3, low=0.5, high=2.0)
apart: Spec = Spec(
    lambda generator, dtype: (torch.randperm(15, generator=generator).reshape(5, 3) / 4 - 1.625).to(dtype)
)
groups: Spec = constant(torch.tensor([[0, 1, 2], [0, 1, 0], [3, 1, 0], [3, 0, 1], [0, 0, 0]]))
permuted: Spec = constant(torch.tensor([[2, 0, 3], [0, 1, 1]]))
short: Spec = constant(torch.tensor([[2, 0], [0, 1]]))
equal: Spec = Spec(
    lambda generator, dtype: torch.tensor(
        [[2.0, 1.0, 3.0], [2.0, 1.0, 0.5], [1.0, 2.0, 3.0], [2.0, 1.0, 0.5], [1.0, 2.0, 3.0]]
    ).to(dtype)
)
zeros: Spec = Spec(
    lambda generator, dtype: torch.tensor(
        [[2.0, 0.0, 3.0], [0.0, 0.0, 0.5], [1.0, 2.0, 0.0], [2.0, 1.0, 0.5], [0.0, 2.0, 3.0]]
    ).to(dtype)
)


def written(
    input: torch.Tensor, src: torch.Tensor, size: tuple, stride: tuple, storage_offset: int = 0
) -> torch.Tensor:
    """as_strided_scatter with the right derivative: torch's gradient by input belongs to other elements."""
    output = input.clone()
    output.as_strided(size, stride, storage_offset).copy_(src)
    return output


def with_used(function: Callable[..., Any]) -> Callable[..., Any]:
    """torch's function on the part of src that index covers: torch has no derivative by the rest; it is 0."""

    def run(input: torch.Tensor, dim: int, index: torch.Tensor, src: torch.Tensor, **options: Any) -> torch.Tensor:
        return function(input, dim, index, src[tuple([slice(size) for size in index.shape])], **options)

    return run


KINK = {
    check: "finite differences at a tie" for check in ("gradcheck", "gradgradcheck", "forward_mode", "batched_grad")
}
CONTIGUOUS = {
    "without": {"layouts": "like torch's, needs a contiguous input", "transforms": "torch has no batching rule for it"}
}
PRODUCT = {
    "forward_mode": "our formula calls scatter_reduce, whose forward mode in torch is wrong for prod",
    "transforms": "torch tests for zeros, which vmap does not allow",
}
ZEROS = {
    **PRODUCT,
    "gradgradcheck": "torch has no second derivative of a product with zeros",
    "specials": "torch's derivative by a NaN is NaN, even where another factor of 0 makes it 0",
}
CONJUGATE = {
    "without": {**COMPLEX["without"], "autocast": "torch's own derivative by source lacks the conjugate of alpha"}
}


def grouped(name: str, at: Spec, *reductions: str) -> list[Case]:
    return [
        function(
            name,
            (nonzero, constant(0), at, parts),
            reduce=reduce,
            include_self=include_self,
            row={"without": PRODUCT if reduce == "prod" else {}},
        )  # fmt: skip
        for reduce in reductions
        for include_self in (True, False)
    ]


def segments(data: Spec, reduce: str, tag: str = "", **options: Any) -> Case:
    row = {
        "without": {
            "empty": "torch reads past the end of the data if offsets or lengths are too large",
            **((ZEROS if data is zeros else PRODUCT) if reduce == "prod" else {}),
        }
    }
    return function("segment_reduce", (data,), twin=torch.segment_reduce, reduce=reduce, tag=tag, row=row, **options)


def indexed(input: Spec, *indices: Spec | None, tag: str, row: dict | None = None) -> Case:
    given = [constant(None) if each is None else each for each in indices]
    return function("index", (input, tensors(*given)), tag=tag, row=row)


def put(
    input: Spec, values: Spec, *indices: Spec | None, tag: str, accumulate: bool = False, row: dict | None = None
) -> Case:
    given = [constant(None) if each is None else each for each in indices]
    twin = torch.ops.aten.index_put
    return function("index_put", (input, tensors(*given), values), twin=twin, tag=tag, accumulate=accumulate, row=row)


def clamped(input: torch.Tensor, indices: list[torch.Tensor]) -> tuple[torch.Tensor, ...]:
    return tuple([i.clamp(-size, size - 1) for i, size in zip(indices, input.shape, strict=True)])


def read_where(input: torch.Tensor, mask: torch.Tensor, indices: list[torch.Tensor], fill: float) -> torch.Tensor:
    """torch's private operator, composed: where the mask is false, indices may be out of range."""
    return torch.where(mask, input[clamped(input, indices)], fill)


def added_where(
    input: torch.Tensor, mask: torch.Tensor, indices: list[torch.Tensor], values: torch.Tensor
) -> torch.Tensor:
    return input.index_put(clamped(input, indices), torch.where(mask, values, 0), accumulate=True)


beyond: Spec = tensors(index(9, 2, 2), index(3, 2, 2))
known: Spec = where("x.", "xx")

CASES = [
    function("gather", (matrix, constant(0), places)),
    function("gather", (cube, constant(-1), index(3, 2, 2, 5)), tag="last-axis"),
    function("gather", (complex_matrix, constant(0), places), tag="complex", row=COMPLEX),
    function("gather", (normal(), constant(0), constant(torch.tensor(0))), tag="0d"),
    function("index_select", (matrix, constant(0), some)),
    function("index_select", (cube, constant(-2), some), tag="middle-axis"),
    function("index_select", (complex_matrix, constant(1), some), tag="complex", row=COMPLEX),
    function("index_select", (normal(), constant(0), constant(torch.tensor([0]))), tag="0d"),
    function("take", (matrix, constant(torch.tensor([[0, 5, -1], [5, 2, 11]])))),
    function("take", (complex_matrix, some), tag="complex", row=COMPLEX),
    function("masked_select", (matrix, mask)),
    function(
        "masked_select",
        (normal(3), column),
        tag="broadcast",
        row={"without": {"transforms": "torch has no jacrev of a mask that is broadcast"}},
    ),
    function("masked_select", (normal(), constant(torch.tensor(True))), tag="0d"),
    function("masked_select", (complex_matrix, mask), tag="complex", row=COMPLEX),
    indexed(matrix, some, tag="rows"),
    indexed(cube, None, some, tag="columns"),
    indexed(cube, chosen(0, 1, 0), None, some, tag="apart"),
    indexed(matrix, index(4, 2, 1), some, tag="broadcast"),
    indexed(matrix, mask, tag="mask"),
    indexed(complex_matrix, chosen(-1, 0, -1), tag="complex", row=COMPLEX),
    Case("index-masked", lambda: _masked_index, lambda: read_where, (matrix, known, beyond, constant(1.5))),
    Case("index_put-masked", lambda: _masked_index_put, lambda: added_where, (matrix, known, beyond, normal(2, 2))),
    put(matrix, normal(2, 3), distinct, tag="rows"),
    put(matrix, normal(3), distinct, tag="broadcast"),
    put(matrix, normal(), mask, tag="mask-one-number"),
    put(matrix, normal(3, 3), some, tag="added", accumulate=True),
    put(cube, normal(2, 1, 3), None, distinct, tag="columns-broadcast"),
    put(complex_matrix, complex_normal(2, 3), distinct, tag="complex", row=COMPLEX),
    function("scatter", (matrix, constant(0), permuted, normal(2, 3))),
    function(
        "scatter", (cube, constant(1), constant(torch.tensor([[[2, 0]], [[0, 1]]])), normal(2, 1, 2)), tag="middle-axis"
    ),
    function("scatter", (matrix, constant(0), short, normal(3, 4)), twin=with_used(torch.scatter), tag="larger-source"),
    function("scatter", (matrix, constant(0), permuted), value=1.5),
    function("scatter", (complex_matrix, constant(0), permuted, complex_normal(2, 3)), tag="complex", row=COMPLEX),
    function("scatter_add", (matrix, constant(0), places, normal(5, 3))),
    function(
        "scatter_add", (matrix, constant(-1), constant(torch.tensor([[2, 2, 0, 1]])), normal(1, 4)), tag="last-axis"
    ),
    function("scatter_add", (complex_matrix, constant(0), places, complex_normal(5, 3)), tag="complex", row=COMPLEX),
    function("index_add", (matrix, constant(0), some, normal(3, 3))),
    function("index_add", (cube, constant(-2), some, normal(2, 3, 3)), alpha=2.5),
    function("index_add", (complex_matrix, constant(1), some, complex_normal(4, 3)), alpha=2 - 1j, row=CONJUGATE),
    function("index_copy", (matrix, constant(0), distinct, normal(2, 3))),
    function("index_copy", (cube, constant(-2), distinct, normal(2, 2, 3)), tag="middle-axis"),
    function("index_copy", (complex_matrix, constant(1), distinct, complex_normal(4, 2)), tag="complex", row=COMPLEX),
    function("index_fill", (matrix, constant(0), some, constant(1.5))),
    function("index_fill", (cube, constant(-2), some, normal()), tag="tensor"),
    function("index_fill", (complex_matrix, constant(1), some, complex_normal()), tag="complex", row=COMPLEX),
    function("put", (matrix, constant(torch.tensor([[0, 5], [-1, 2]])), normal(2, 2))),
    function("put", (matrix, some, normal(3)), accumulate=True),
    function("put", (complex_matrix, distinct, complex_normal(2)), tag="complex", row=COMPLEX),
    function("masked_scatter", (matrix, mask, normal(2, 3))),
    function("masked_scatter", (matrix, column, normal(11)), tag="broadcast"),
    function("masked_scatter", (normal(3), mask, normal(7)), tag="broadcast-input"),
    function("masked_scatter", (complex_matrix, mask, complex_normal(5)), tag="complex", row=COMPLEX),
    function("select_scatter", (cube, normal(2, 3)), dim=1, index=-1),
    function("slice_scatter", (cube, normal(2, 2, 3)), dim=1, start=1, end=4, step=2),
    function("slice_scatter", (matrix, normal(4, 3)), tag="whole"),
    function("diagonal_scatter", (matrix, normal(3))),
    function("diagonal_scatter", (cube, normal(4, 1)), offset=1, dim1=-1, dim2=0, tag="axes"),
    function(
        "as_strided_scatter",
        (matrix, normal(2, 2)),
        twin=written,
        size=(2, 2),
        stride=(1, 4),
        storage_offset=1,
        row=CONTIGUOUS,
    ),
    *grouped("scatter_reduce", groups, "sum", "mean", "prod", "amax", "amin"),
    *grouped("index_reduce", chosen(0, 3, 0, 3, 0), "mean", "prod", "amax", "amin"),
    function("scatter_reduce", (matrix, constant(0), groups, equal), reduce="amax", tag="ties", row={"without": KINK}),
    function(
        "index_reduce",
        (matrix, constant(0), chosen(0, 3, 0, 3, 0), equal),
        reduce="amin",
        tag="ties",
        row={"without": KINK},
    ),
    function(
        "scatter_reduce", (matrix, constant(0), groups, zeros), reduce="prod", tag="zeros", row={"without": ZEROS}
    ),
    function(
        "scatter_reduce",
        (matrix, constant(0), short, normal(3, 4)),
        twin=with_used(torch.scatter_reduce),
        reduce="mean",
        tag="larger-source",
    ),
    *(segments(apart, reduce, lengths=torch.tensor([2, 1, 2])) for reduce in ("sum", "mean", "max", "min", "prod")),
    *(segments(apart, reduce, lengths=torch.tensor([2, 0, 3]), tag="none") for reduce in ("sum", "prod")),
    segments(apart, "max", lengths=torch.tensor([1, 4]), initial=1.0, tag="initial"),
    segments(zeros, "prod", offsets=torch.tensor([0, 2, 5]), initial=2.0, tag="offsets"),
    segments(apart, "sum", offsets=torch.tensor([0, 2, 3]), unsafe=True, tag="part"),
    segments(normal(5, 2, 3), "sum", lengths=torch.tensor([2, 3]), tag="axes-behind"),
    function("index_reduce", (normal(), constant(0), constant(torch.tensor([0])), normal()), reduce="mean", tag="0d"),
    function(
        "as_strided_scatter",
        (matrix, normal(2, 2)),
        twin=written,
        size=(2, 2),
        stride=(3, 1),
        tag="from-the-start",
        row=CONTIGUOUS,
    ),
    segments(cube, "mean", lengths=torch.tensor([[1, 3], [2, 2]]), axis=1, tag="axis"),
]
