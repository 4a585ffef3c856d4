"""GroupNorm as ATen's operator native_group_norm, whose outputs mean and invstd may be differentiated, too."""

from __future__ import annotations

from torch import Tensor

from .normalization import GroupNorm, by_group, per_channel, spread


class NativeGroupNorm(GroupNorm):
    """y = w x̂ + b,   x̂ = (x - mean) invstd,   mean and var over a group of channels and their positions

    input, output, delta (N, C, *)   weight, bias (C,) or None   mean, invstd (N, G)   n elements in a group

    from delta, as GroupNorm; added for the deltas of mean and invstd:
    delta_input = delta_mean / n - delta_invstd invstd³ (x - mean) / n

    Source: Wu, He 2018, "Group Normalization".
    """

    operator = "native_group_norm"

    def forward(
        input: Tensor, weight: Tensor | None, bias: Tensor | None, batch: int, channels: int, positions: int,
        num_groups: int, eps: float,
    ) -> tuple[Tensor, Tensor, Tensor]:  # fmt: skip
        return GroupNorm.forward(input, num_groups, weight, bias, eps)

    def delta_input_from_mean(delta_mean: Tensor, input: Tensor, num_groups: int) -> Tensor:
        share = delta_mean * (num_groups / input.shape[1:].numel())
        return spread(per_channel(share, input), input).expand_as(input)

    def delta_input_from_invstd(
        delta_invstd: Tensor, input: Tensor, mean: Tensor, invstd: Tensor, num_groups: int
    ) -> Tensor:
        share = delta_invstd * invstd.pow(3) * (num_groups / input.shape[1:].numel())
        mean, share = (spread(per_channel(values, input), input) for values in (mean, share))
        return -share * (input - mean)

    def tangent(inputs: tuple, tangents: tuple, output: tuple) -> tuple:
        input, weight, bias, _, _, _, num_groups, eps = inputs
        t_input, t_weight, t_bias, *_ = tangents
        moved = GroupNorm.tangent(
            (input, num_groups, weight, bias, eps), (t_input, None, t_weight, t_bias, None), output
        )[0]
        if t_input is None:
            return moved, None, None
        mean = GroupNorm.mean(input, num_groups)
        invstd = GroupNorm.invstd(input, mean, num_groups, eps)
        change, centered = by_group(t_input, num_groups).flatten(2), by_group(input, num_groups).flatten(2)
        centered = centered - mean.unsqueeze(2)
        return moved, change.mean(2), -invstd.pow(3) * (centered * change).mean(2)
