"""Rows of sampling at the positions of a grid."""

from itertools import product

import torch

from ..case import INFINITE, Spec, normal, uniform
from ._make import function

# special values for images must not make neighbours equal: there the derivative is only a rounding error
SPECIAL = (0.0, *INFINITE)
IMAGE = uniform(2, 2, 4, 3, low=-1.0, specials=SPECIAL)
VOLUME = uniform(1, 2, 2, 3, 2, low=-1.0, specials=SPECIAL)
# some positions are beyond the borders, where reflection maps them back once or twice
PLACES, IN_VOLUME = uniform(2, 2, 3, 2, low=-2.9, high=2.9), uniform(1, 2, 1, 2, 3, low=-2.9, high=2.9)
PADDINGS = ("zeros", "border", "reflection")
OPTIONS = [*product(PADDINGS, (False, True))]

CANCEL = {"without": {"specials": "sixteen terms cancel: ours and the twin differ by more than the check's tolerance"}}

FAR = uniform(2, 2, 3, 2, low=-9.0, high=9.0)


def exact(generator: torch.Generator, dtype: torch.dtype) -> torch.Tensor:
    """Positions that coincide with elements, also at the border."""
    return torch.randint(-2, 3, (2, 4, 3, 2), generator=generator).to(dtype) / 2


KINKS = {"without": dict.fromkeys(
    ("gradcheck", "gradgradcheck", "batched_grad", "forward_mode", "transforms"), "the function has a kink at elements"
)}  # fmt: skip

CASES = [
    *(function("grid_sample", (IMAGE, FAR), padding_mode="reflection", align_corners=corners, tag="far")
      for corners in (False, True)),
    *(function("grid_sample", (uniform(2, 2, 3, 5, low=-1.0), Spec(exact)), mode=mode, padding_mode=padding,
               align_corners=True, tag="exact", row=KINKS)
      for mode in ("bilinear", "bicubic") for padding in PADDINGS),
    *(function("grid_sample", (IMAGE, PLACES), mode=mode, padding_mode=padding, align_corners=corners,
               row=CANCEL if mode == "bicubic" else None)
      for mode in ("bilinear", "nearest", "bicubic") for padding, corners in OPTIONS),
    *(function("grid_sample", (VOLUME, IN_VOLUME), mode=mode, padding_mode=padding, align_corners=corners, tag="3d")
      for mode in ("bilinear", "nearest") for padding, corners in OPTIONS),
    *(function("grid_sample", (normal(2, 1, 1, 3), PLACES), padding_mode=padding, align_corners=True, tag="one")
      for padding in PADDINGS),
    function("grid_sampler_2d", (IMAGE, PLACES), interpolation_mode=0, padding_mode=1, align_corners=False),
]  # fmt: skip
