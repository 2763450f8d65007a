"""Limits on the shape of a book: how one-sided it is, and how much of it is in few positions. Both only cut."""

from __future__ import annotations

import torch
from torch import Tensor

DUST = 1e-6  # of the portfolio's value: less is no position, and no other is cut to its size
SLACK = 1e-12  # relative: a book that was cut to its limit is not cut again for its rounding


def balanced(weight_EN: Tensor, max_net: float) -> Tensor:
    """Scales down the heavier side, longs or shorts, until |sum of weights| <= ``max_net``: float64 (E, N)."""
    long_E1 = weight_EN.clamp(min=0.0).sum(1, keepdim=True)
    short_E1 = weight_EN.clamp(max=0.0).sum(1, keepdim=True).abs()
    long_scale_E1, short_scale_E1 = (
        (max_net + other_E1) / torch.maximum(side_E1, max_net + other_E1)
        for side_E1, other_E1 in ((long_E1, short_E1), (short_E1, long_E1))
    )
    return weight_EN * torch.where(weight_EN > 0.0, long_scale_E1, short_scale_E1)


def scaled_to_net(weight_EN: Tensor, max_net: float) -> Tensor:
    """Scales the whole book down until |sum of weights| <= ``max_net``: float64 (E, N)."""
    return weight_EN * (max_net / weight_EN.sum(1, keepdim=True).abs().clamp(min=max_net))


def spread_out(weight_EN: Tensor, most: float) -> Tensor:
    """Clips the largest weights until sum(s_i^2) <= ``most``, s_i = |w_i| / sum |w|: float64 (E, N).

    That sum (Herfindahl and Hirschman) of a book clipped at c rises with c. With m weights clipped, S the sum and Q the
    sum of squares of the others, (Q + m c^2) / (S + m c)^2 = H is a quadratic in c:

        c = (H S + sqrt((H S)^2 - (1 - H m) (Q - H S^2) / m)) / (1 - H m)

    A book of n positions has 1 / n at the least: where that is above ``most``, all of them become equal.
    """
    size_EN = weight_EN.abs()
    size_EN = torch.where(size_EN < DUST, 0.0, size_EN).sort(dim=1).values
    sum_EN, square_EN = size_EN.cumsum(1), size_EN.square().cumsum(1)
    above_N = torch.arange(size_EN.shape[1] - 1, -1, -1, dtype=torch.float64, device=size_EN.device)
    clipped_EN = (square_EN + above_N * size_EN.square()) / (sum_EN + above_N * size_EN).square()
    fits_EN = clipped_EN <= most * (1.0 + SLACK)  # NaN, where all up to here are 0, does not
    last_E1 = (size_EN == 0.0).sum(1, keepdim=True) + fits_EN.sum(1, keepdim=True) - 1
    at_E1 = last_E1.clamp(min=0)
    above_E1, sum_E1, square_E1 = (
        column_EN.gather(1, at_E1) for column_EN in (above_N.expand_as(size_EN), sum_EN, square_EN)
    )
    lead_E1, part_E1 = 1.0 - most * above_E1, most * sum_E1
    root_E1 = (part_E1.square() - lead_E1 * (square_E1 - part_E1 * sum_E1) / above_E1).clamp(min=0.0).sqrt()
    cut_E1 = (part_E1 + root_E1) / lead_E1
    least_E1 = torch.where(size_EN > 0, size_EN, torch.inf).amin(1, keepdim=True)
    cut_E1 = torch.where(fits_EN.any(1, keepdim=True), cut_E1, least_E1)
    cut_E1 = torch.where(fits_EN[:, -1:], torch.inf, cut_E1)
    return torch.clamp(weight_EN, -cut_E1, cut_E1)
