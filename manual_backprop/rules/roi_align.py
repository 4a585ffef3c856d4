"""Pooling of regions of a picture, as detection networks use it: RoIAlign."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from ..engine.rule import Rule

Taps = list[tuple[Tensor, Tensor]]
"""The elements along one axis that samples are interpolated from: pairs of (index, weight), each (K, P)."""


class RoIAlign(Rule):
    """y[k, c, p] = mean over samples s in bin p of box k of sum over i of w_i(s) x[n, c, i], with n = box[k, 0]

    input (N, C, H, W)   rois box (K, 5): image, x1, y1, x2, y2   output, delta (K, C, pooled_height, pooled_width)
    spatial_scale: from units of the boxes to pixels of x   sampling_ratio: samples of a bin along an axis, <= 0: its
    size in pixels, rounded up   aligned: whether pixel i covers i - 1/2 to i + 1/2

    delta_input[n, c, i] = sum over k in image n, over p and over samples s of w_i(s) delta[k, c, p] / count

    w_i(s) is the product over both axes of 1 - |s - i|. A sample at most 1 outside of x is moved to its edge, one
    further outside counts as 0. The boxes receive no delta, as in torchvision.

    Source: He, Gkioxari, Dollar, Girshick 2017, "Mask R-CNN", section 3.
    """

    linear = ("input",)
    upcast = True
    autocast = {"cpu": "float32", "cuda": "float32"}  # noqa: RUF012

    def forward(
        input: Tensor, rois: Tensor, spatial_scale: float, pooled_height: int, pooled_width: int, sampling_ratio: int,
        aligned: bool,
    ) -> Any:  # fmt: skip
        return torch.ops.torchvision.roi_align(
            input, rois, spatial_scale, pooled_height, pooled_width, sampling_ratio, aligned
        )

    def delta_input(
        delta: Tensor, rois: Tensor, input_shape: torch.Size, spatial_scale: float, pooled_height: int,
        pooled_width: int, sampling_ratio: int, aligned: bool,
    ) -> Tensor:  # fmt: skip
        batch, channels, height, width = input_shape
        image, x1, y1, x2, y2 = rois.to(delta.dtype).unbind(1)
        how = spatial_scale, sampling_ratio, aligned
        across = taps(x1, x2, pooled_width, width, *how)
        rows = delta.movedim(1, -1)
        spread = delta.new_zeros(batch * height * width, channels)
        for y, weight_y in taps(y1, y2, pooled_height, height, *how):
            line = image.long().unsqueeze(1) * height + y
            for x, weight_x in across:
                index = line.unsqueeze(2) * width + x.unsqueeze(1)
                weight = weight_y.unsqueeze(2) * weight_x.unsqueeze(1)
                spread.index_add_(0, index.reshape(-1), (weight.unsqueeze(3) * rows).reshape(-1, channels))
        return spread.reshape(batch, height, width, channels).movedim(-1, 1).contiguous()


def taps(
    begin: Tensor, end: Tensor, bins: int, size: int, spatial_scale: float, sampling_ratio: int, aligned: bool
) -> Taps:
    """The two neighbours of each sample along an axis, and their weights, divided by the number of samples of a bin."""
    begin, end = (edge * spatial_scale - 0.5 * aligned for edge in (begin, end))
    extent = end - begin if aligned else (end - begin).clamp(min=1)
    step = extent / bins
    if sampling_ratio > 0:
        most, counts = sampling_ratio, torch.full_like(step, sampling_ratio)
    else:
        counts = step.ceil()
        most = int(counts.max()) if len(counts) else 0
    first = begin.unsqueeze(1) + torch.arange(bins, dtype=begin.dtype, device=begin.device) * step.unsqueeze(1)
    found: Taps = []
    for sample in range(most):
        place = first + ((sample + 0.5) * step / counts).unsqueeze(1)
        used = (sample < counts).unsqueeze(1) & (place >= -1) & (place <= size)
        share = torch.where(used, 1 / counts.unsqueeze(1), 0)
        place = torch.where(used, place, 0).clamp(0, size - 1)
        low = place.floor()
        upper = place - low
        found.append((low.long(), (1 - upper) * share))
        found.append(((low + 1).clamp(max=size - 1).long(), upper * share))
    return found
