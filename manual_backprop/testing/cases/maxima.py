"""Rows of adaptive and fractional max pooling, max unpooling, and pooling by a p-norm."""

from math import prod

import torch

import manual_backprop as mb

from ..case import Case, Spec, constant, normal, uniform
from ._make import function, layer

D = {1: (9,), 2: (6, 5), 3: (3, 4, 5)}


def images(n: int) -> Spec:
    """A batch of two, with few elements, because finite differences visit each."""
    return normal(2, 2 if n < 3 else 1, *D[n])


def distinct(high: int, *shape: int) -> Spec:
    """Indices below `high`, all different within a channel; the first two axes are batch and channels."""

    def make(generator: torch.Generator, dtype: torch.dtype) -> torch.Tensor:
        counts = shape[0] * shape[1], prod(shape[2:])
        rows = [torch.randperm(high, generator=generator)[: counts[1]] for _ in range(counts[0])]
        return torch.stack(rows).reshape(shape)

    return Spec(make, differentiable=False)


ADAPTIVE = [
    *(layer(f"AdaptiveMaxPool{n}d", 1, inputs=(images(n),)) for n in D),
    *(layer(f"AdaptiveMaxPool{n}d", 4, inputs=(images(n),)) for n in D),
    *(layer(f"AdaptiveMaxPool{n}d", 3, return_indices=True, inputs=(normal(2, *D[n]),), tag="unbatched") for n in D),
    layer("AdaptiveMaxPool2d", (None, 2), inputs=(normal(2, 2, 3, 5),)),
    *(function(f"adaptive_max_pool{n}d", (images(n),), output_size=2) for n in D),
    *(function(f"adaptive_max_pool{n}d_with_indices", (images(n),), output_size=(2,) * n) for n in D),
]

# torch requires more positions than all windows side by side have
WIDE = {2: normal(2, 2, 6, 5), 3: normal(2, 1, 4, 5, 4)}
SAMPLES = {n: uniform(2, 2 if n < 3 else 1, n, grad=False) for n in (2, 3)}
NONE, NO = constant(None), constant(False)

FRACTIONAL = [
    *(layer(f"FractionalMaxPool{n}d", 2, output_size=2, inputs=(WIDE[n],)) for n in WIDE),
    layer("FractionalMaxPool2d", (3, 2), output_ratio=(0.5, 0.7), return_indices=True, inputs=(normal(2, 2, 6, 5),)),
    layer("FractionalMaxPool3d", (1, 2, 3), output_ratio=0.4, inputs=(normal(2, 3, 4, 5),), tag="unbatched"),
    *(function(f"fractional_max_pool{n}d", (WIDE[n], constant(2), constant((2, 3, 2)[-n:]), NONE, NO, SAMPLES[n]))
      for n in WIDE),
    *(function(f"fractional_max_pool{n}d_with_indices", (WIDE[n],), kernel_size=2, output_size=2) for n in WIDE),
]  # fmt: skip

UNPOOL = [
    layer("MaxUnpool1d", 2, inputs=(normal(2, 2, 3), distinct(6, 2, 2, 3))),
    layer("MaxUnpool2d", 2, inputs=(normal(2, 2, 2, 3), distinct(24, 2, 2, 2, 3))),
    layer("MaxUnpool3d", 2, inputs=(normal(2, 1, 2, 1, 2), distinct(32, 2, 1, 2, 1, 2))),
    function("max_unpool1d", (normal(2, 2, 3), distinct(7, 2, 2, 3)), kernel_size=3, stride=2, output_size=[7]),
    function("max_unpool2d", (normal(2, 2, 2, 3), distinct(12, 2, 2, 2, 3)), kernel_size=(3, 2), stride=(2, 1),
             padding=(1, 0), output_size=[3, 4]),
    function("max_unpool3d", (normal(2, 1, 2, 1, 2), distinct(27, 2, 1, 2, 1, 2)), kernel_size=3, stride=(1, 1, 2),
             padding=(0, 0, 1), output_size=[4, 3, 3]),
]  # fmt: skip

OPERATOR = "max_pool2d_with_indices_backward"
# torch's operator for the backward of max_pool2d has a rule in mb.explicit, because it can be differentiated again
PUT_BACK = [
    Case(
        f"PutBack{tag}",
        lambda: lambda values, pooled, indices: mb.functional.call(mb.rules.PutBack, values, pooled, indices, 2),
        lambda: (
            lambda values, pooled, indices: getattr(torch.ops.aten, OPERATOR)(
                values, pooled, [2, 2], [2, 2], [0, 0], [1, 1], False, indices
            )
        ),
        (normal(*batch, 2, 2, 3), normal(*batch, 2, 4, 6), distinct(24, *batch, 2, 2, 3)),
        without={} if batch else {"empty": "the first axis has the channels, and torch refuses to have none"},
    )
    for tag, batch in (("", (2,)), ("-unbatched", ()))
]

POOLS = {1: (7,), 2: (4, 5), 3: (2, 3, 4)}


def positive(n: int) -> Spec:
    """Positive values: every power of them is defined, and no window has norm 0."""
    return uniform(2, 1, *POOLS[n], low=0.5, high=2.0)


P_NORM = [
    *(layer(f"LPPool{n}d", 2, 2, inputs=(normal(2, 1, *POOLS[n]),)) for n in POOLS),
    *(layer(f"LPPool{n}d", 1.5, 2, stride=1, ceil_mode=True, inputs=(positive(n),)) for n in POOLS),
    layer("LPPool2d", 3, (2, 3), stride=(3, 2), ceil_mode=True, inputs=(positive(2),)),
    layer("LPPool1d", 1, 3, inputs=(normal(2, 7),), tag="unbatched"),
    *(function(f"lp_pool{n}d", (positive(n),), norm_type=-2, kernel_size=2) for n in POOLS),
    *(function("lp_pool1d", (normal(2, 2, 7),), norm_type=norm, kernel_size=2)
      for norm in (float("inf"), -float("inf"))),
]  # fmt: skip

CASES = [*ADAPTIVE, *FRACTIONAL, *UNPOOL, *PUT_BACK, *P_NORM]
