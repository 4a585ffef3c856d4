"""What detection networks compute with torchvision's own operators."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from .. import rules
from ._call import call
from ._overloads import stands_for


def roi_align(
    input: Tensor,
    boxes: Tensor | Sequence[Tensor],
    output_size: int | tuple[int, int],
    spatial_scale: float = 1.0,
    sampling_ratio: int = -1,
    aligned: bool = False,
) -> Tensor:
    """Regions of pictures at one size, as torchvision.ops.roi_align; rule: `mb.rules.RoIAlign`.

    input (N, C, H, W)   boxes (K, 5): index of the picture, x1, y1, x2, y2; or for each picture (L, 4)
    output (K, C, *output_size)

    ImportError without torchvision. ValueError for boxes of another shape or of more pictures than there are,
    RuntimeError for inputs of two dtypes. Indices in boxes (K, 5) are not checked, as in torchvision.
    """
    try:
        import torchvision  # noqa: F401  # it registers the operator
    except ImportError as error:
        raise ImportError(f"roi_align runs torchvision's forward: pip install torchvision. got: {error}") from error
    each, width = ([boxes], 5) if isinstance(boxes, Tensor) else (list(boxes), 4)
    for some in each:
        if some.dim() != 2 or some.shape[1] != width:
            raise ValueError(
                f"roi_align: boxes of shape {tuple(some.shape)}. expected: (L, 4) in a list with one tensor for each "
                "picture, or one tensor (K, 5) with the index of the picture first"
            )
    if width == 4 and len(each) > len(input):
        raise ValueError(f"roi_align: boxes of {len(each)} pictures. expected: at most {len(input)}, as input has")
    if width == 4:
        each = [torch.cat([torch.full_like(some[:, :1], i), some], 1) for i, some in enumerate(each)]
    rois = torch.cat(each) if each else input.new_zeros(0, 5)
    size = (output_size, output_size) if isinstance(output_size, int) else output_size
    return _of_operator(input, rois, spatial_scale, size[0], size[1], sampling_ratio, aligned)


@stands_for("torchvision::roi_align")
def _of_operator(
    input: Tensor, rois: Tensor, spatial_scale: float, pooled_height: int, pooled_width: int, sampling_ratio: int,
    aligned: bool,
) -> Tensor:  # fmt: skip
    found: Tensor = call(
        rules.RoIAlign, input, rois, spatial_scale, pooled_height, pooled_width, sampling_ratio, aligned
    )
    return found.to(input.dtype)  # autocast computes in float32 and returns the dtype of the input
