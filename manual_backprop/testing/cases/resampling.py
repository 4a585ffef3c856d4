"""Rows of resampling: interpolation, shuffling of channels, folding, affine grids."""

from collections.abc import Iterable
from itertools import product
from typing import Any

from ..case import Spec, normal
from ._make import function, layer

D = {1: (5,), 2: (4, 5), 3: (2, 3, 4)}
MODES: dict[str, Iterable[int]] = {
    **dict.fromkeys(("nearest", "nearest-exact", "area"), D),
    "linear": (1,), "bilinear": (2,), "bicubic": (2,), "trilinear": (3,),
}  # fmt: skip
CORNERS = ("linear", "bilinear", "bicubic", "trilinear")


def images(n: int) -> tuple[Spec]:
    """Few elements, because finite differences visit each."""
    return (normal(2, 1, *D[n]),)


# The size stays equal although a scale is given: torch's kernels then copy, some only in the forward or the backward.
AS_MANY = {"without": {"compiled": "torch.compile's version of the operator does not copy"}}
COPIED = {"without": dict.fromkeys(
    ("float32", "bfloat16", "specials", "transforms", "autocast"),
    "the twin's backward does not fit its forward: only one of them copies where the size stays equal",
)}  # fmt: skip

INTERPOLATION = [
    *(function("interpolate", images(n), size=(7, 3, 5)[:n], mode=mode) for mode, axes in MODES.items() for n in axes),
    *(function("interpolate", images(n), scale_factor=(1.7, 0.6, 2.0)[:n], mode=mode)
      for mode, axes in MODES.items() for n in axes),
    *(function("interpolate", images(n), size=(7, 3, 5)[:n], mode=mode, align_corners=True)
      for mode in CORNERS for n in MODES[mode]),
    *(function("interpolate", images(n), scale_factor=1.3, mode=mode, recompute_scale_factor=True)
      for mode, n in (("nearest", 1), ("bilinear", 2), ("bicubic", 2))),
    *(function("interpolate", images(n), scale_factor=1.1, mode=mode, tag="as-many", row=AS_MANY)
      for mode, n in (("linear", 1), ("bilinear", 2))),
    function("interpolate", images(2), scale_factor=1.1, mode="nearest", tag="as-many", row=AS_MANY),
    function("interpolate", (normal(1, 2, 4, 5),), scale_factor=1.1, mode="nearest", tag="as-many-channels", row=AS_MANY),
    function("interpolate", (normal(1, 2, 5),), scale_factor=1.1, mode="nearest", tag="as-many-along-one", row=COPIED),
    function("interpolate", images(2), scale_factor=1.1, mode="bicubic", tag="as-many", row=COPIED),
    *(function("interpolate", images(2), size=size, mode=mode, antialias=True)
      for size, mode in product(((2, 8), (3, 2)), ("bilinear", "bicubic"))),
    function("interpolate", images(2), scale_factor=(0.4, 1.1), mode="bilinear", antialias=True, row=COPIED),
    function("interpolate", images(2), size=(2, 3), mode="bicubic", antialias=True, align_corners=True),
    function("interpolate", images(2), size=(1, 3), mode="bicubic", antialias=True, align_corners=True),
    function("interpolate", images(2), size=(2, 9), mode="lanczos", antialias=True),
    function("interpolate", (normal(1, 2, 1, 1),), size=(3, 4), mode="bilinear", align_corners=True, tag="one"),
    function("interpolate", (normal(1, 2, 4, 3),), size=1, mode="bilinear", align_corners=True, tag="to-one"),
    function("upsample", images(1), size=7),
    function("upsample_nearest", images(2), scale_factor=2),
    function("upsample_bilinear", images(2), size=(6, 7)),
    layer("Upsample", scale_factor=2, inputs=images(2)),
    layer("Upsample", size=7, mode="linear", align_corners=True, inputs=images(1)),
    layer("Upsample", scale_factor=(1.5, 2.5), mode="bicubic", recompute_scale_factor=True, inputs=images(2)),
    layer("UpsamplingNearest2d", scale_factor=2, inputs=images(2)),
    layer("UpsamplingBilinear2d", scale_factor=2, inputs=images(2)),
]  # fmt: skip

SHUFFLES = [
    layer("PixelShuffle", 2, inputs=(normal(2, 8, 2, 3),)),
    layer("PixelUnshuffle", 2, inputs=(normal(2, 2, 4, 6),)),
    layer("ChannelShuffle", 3, inputs=(normal(2, 6, 2, 3),)),
    function("pixel_shuffle", (normal(9, 2, 3),), upscale_factor=3),
    function("pixel_unshuffle", (normal(2, 3, 6),), downscale_factor=3),
    function("channel_shuffle", (normal(2, 6, 4),), groups=2),
]

WINDOWS: dict[str, Any] = {"kernel_size": (2, 3), "dilation": (1, 2), "padding": (1, 0), "stride": (2, 1)}
LISTED: dict[str, Any] = {name: list(value) for name, value in WINDOWS.items()}

FOLDS = [
    layer("Unfold", 2, inputs=(normal(2, 2, 4, 3),)),
    layer("Unfold", (2, 3), dilation=(1, 2), padding=(1, 2), stride=(2, 1), inputs=(normal(2, 2, 4, 5),)),
    layer("Fold", (4, 3), 2, inputs=(normal(2, 8, 6),)),
    layer("Fold", (4, 5), (2, 3), dilation=(1, 2), padding=(1, 2), stride=(2, 1), inputs=(normal(2, 12, 15),)),
    function("unfold", (normal(2, 4, 6),), **WINDOWS, tag="unbatched"),
    function("fold", (normal(6, 6),), output_size=(4, 6), **WINDOWS, tag="unbatched"),
    function("im2col", (normal(1, 2, 4, 6),), **LISTED),
    function("col2im", (normal(1, 6, 6),), output_size=[4, 6], **LISTED),
]

ROUNDED = {"without": {"autocast": "the twin also rounds its coordinates to the dtype of theta"}}

GRIDS = [
    *(function("affine_grid", (normal(2, n, n + 1),), size=[2, 3, 2, 4, 3][: n + 2], align_corners=corners, row=ROUNDED)
      for n in (2, 3) for corners in (False, True)),
    *(function("affine_grid", (normal(2, 2, 3),), size=[2, 1, 1, 4], align_corners=corners, tag="one",
                row={"without": {"transforms": "torch refuses to make a grid of one value there"}})
      for corners in (False, True)),
]  # fmt: skip

CASES = [*INTERPOLATION, *SHUFFLES, *FOLDS, *GRIDS]
