"""Rows of the pooling layers."""

from itertools import product

import torch

from ..case import Maker, Spec, normal
from ._make import function, layer

D = {1: (9,), 2: (6, 5), 3: (3, 4, 5)}
"""Spatial sizes by number of axes, no two equal."""


def images(n: int) -> Spec:
    """A batch of two, with few elements, because finite differences visit each."""
    return normal(2, 2 if n < 3 else 1, *D[n])


def rising(n: int) -> Maker:
    """Increasing values, so that the last of a window is its maximum."""
    return lambda generator, dtype: torch.linspace(0, 1, n, dtype=torch.float64).to(dtype).reshape(1, 1, n)


WIDE = {"without": dict.fromkeys(
    ("gradcheck", "gradgradcheck", "batched_grad", "forward_mode", "transforms", "specials"), "too many elements"
)}  # fmt: skip

MAX = [
    *(layer(f"MaxPool{n}d", 2, inputs=(images(n),)) for n in D),
    *(layer(f"MaxPool{n}d", 3, stride=2, padding=1, inputs=(images(n),)) for n in D),
    *(layer(f"MaxPool{n}d", 3, stride=1, dilation=2, padding=1, ceil_mode=True, inputs=(images(n),))
      for n in D),
    *(layer(f"MaxPool{n}d", 2, return_indices=True, inputs=(images(n),)) for n in D),
    *(layer(f"MaxPool{n}d", 2, inputs=(normal(2, *D[n]),), tag="unbatched") for n in D),
    layer("MaxPool1d", 4, stride=3, ceil_mode=True, inputs=(normal(2, 3, 9),), row={"larger": (normal(4, 8, 64),)}),
    layer("MaxPool2d", (3, 2), stride=(1, 2), padding=(1, 0), dilation=(2, 3), inputs=(normal(2, 3, 7, 8),)),
    layer("MaxPool2d", 2, stride=3, ceil_mode=True, inputs=(normal(2, 3, 7, 5),), row={"larger": (normal(2, 8, 16, 15),)}),
    # one byte stores the winner's position within its window, so large inputs do not overflow it
    layer("MaxPool2d", (1, 2), inputs=(normal(2, 3, 4, 5),), row={"larger": (normal(2, 2, 3, 600),)}),
    layer("MaxPool2d", 3, stride=2, padding=1, inputs=(normal(1, 17, 3, 4),), tag="many-channels"),
    # windows with one position more than fits in 8 and 15 bits; that position wins
    *(layer("MaxPool1d", places, stride=1, inputs=(Spec(rising(places + 3)),), tag=f"wide-{places}", row=WIDE)
      for places in (2**8 + 1, 2**15 + 1)),
    layer("MaxPool2d", 2, return_indices=True, ceil_mode=True, inputs=(normal(3, 5, 7),), tag="unbatched"),
    layer("MaxPool3d", (2, 1, 3), stride=(1, 2, 2), inputs=(normal(1, 2, 3, 3, 5),)),
    *(function(f"max_pool{n}d", (images(n),), kernel_size=3, stride=2) for n in D),
    *(function(f"max_pool{n}d_with_indices", (images(n),), kernel_size=3, stride=2, ceil_mode=True) for n in D),
    function("max_pool2d", (normal(2, 2, 5, 6),), kernel_size=(2,), stride=(), return_indices=True),
]  # fmt: skip

AVERAGE = [
    *(layer(f"AvgPool{n}d", 2, inputs=(images(n),)) for n in D),
    *(layer(f"AvgPool{n}d", 3, stride=2, padding=1, ceil_mode=ceil, count_include_pad=include,
            inputs=(images(n),))
      for n, ceil, include in product(D, (False, True), (False, True)) if n != 3 or ceil != include),
    *(layer(f"AvgPool{n}d", 3, divisor_override=5, stride=1, inputs=(images(n),)) for n in (2, 3)),
    *(layer(f"AvgPool{n}d", 2, inputs=(normal(2, *D[n]),), tag="unbatched") for n in D),
    layer("AvgPool1d", 4, stride=3, padding=2, ceil_mode=True, inputs=(normal(2, 3, 9),)),
    layer("AvgPool2d", 1, inputs=(normal(2, 3, 4, 4),)),
    layer("AvgPool1d", 1, inputs=(normal(2, 3, 4),)),
    layer("AvgPool2d", 2, inputs=(normal(2, 3, 6, 4),), tag="tiles", row={"larger": (normal(2, 8, 16, 14),)}),
    layer("AvgPool2d", (2, 3), stride=(3, 4), inputs=(normal(2, 3, 7, 8),), tag="gaps"),
    layer("AvgPool2d", (4, 2), stride=(3, 1), padding=(2, 1), ceil_mode=True, inputs=(normal(2, 3, 7, 5),),
          row={"larger": (normal(2, 4, 13, 12),)}),
    layer("AvgPool2d", 2, divisor_override=-3, ceil_mode=True, inputs=(normal(2, 3, 5, 7),)),
    layer("AvgPool3d", (2, 1, 3), stride=(1, 2, 2), padding=(1, 0, 1), divisor_override=3, inputs=(normal(2, 2, 4, 3, 6),)),
    *(function(f"avg_pool{n}d", (images(n),), kernel_size=3, stride=2) for n in D),
]  # fmt: skip

ADAPTIVE = [
    *(layer(f"AdaptiveAvgPool{n}d", 1, inputs=(images(n),)) for n in D),
    *(layer(f"AdaptiveAvgPool{n}d", 3, inputs=(images(n),)) for n in D),
    *(layer(f"AdaptiveAvgPool{n}d", 4, inputs=(normal(2, *D[n]),), tag="unbatched") for n in D),
    layer("AdaptiveAvgPool1d", (4,), inputs=(normal(2, 3, 9),)),
    layer("AdaptiveAvgPool2d", (2, 3), inputs=(normal(2, 3, 4, 9),), tag="tiles", row={"larger": (normal(2, 8, 16, 15),)}),
    layer("AdaptiveAvgPool2d", (None, 4), inputs=(normal(2, 3, 5, 6),)),
    layer("AdaptiveAvgPool2d", (11, 2), inputs=(normal(2, 3, 5, 7),), row={"larger": (normal(2, 4, 13, 12),)}),
    layer("AdaptiveAvgPool3d", (None, 1, 5), inputs=(normal(2, 2, 3, 4, 3),)),
    *(function(f"adaptive_avg_pool{n}d", (images(n),), output_size=4) for n in D),
]  # fmt: skip

CASES = [*MAX, *AVERAGE, *ADAPTIVE]
