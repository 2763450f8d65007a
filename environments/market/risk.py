"""Caps on target weights, before any order: a cap never touches what is already held, only what is wanted."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True)
class Classes:
    """Which assets are of which class; the assets of a class lie side by side.

    Attributes:
        class_N: int64, the class of each asset.
        count_C: int64, the number of assets of each class.
    """

    class_N: Tensor
    count_C: Tensor

    def sums(self, value_EN: Tensor) -> Tensor:
        """Sums over each class: (E, C).

        Segment by segment: each row adds in the same order whatever E is, on every device (a matrix product or
        scatter_add does not promise that).
        """
        count_EC = self.count_C.expand(len(value_EN), -1)
        return torch.segment_reduce(value_EN, "sum", lengths=count_EC, axis=1, unsafe=True)

    def spread(self, value_EC: Tensor) -> Tensor:
        """Gives each asset its class's value: (E, N)."""
        return value_EC.index_select(1, self.class_N)


@dataclass(frozen=True)
class Limits:
    """Caps as shares of the portfolio's value; infinity: none. See ``RiskParams``."""

    max_position: float
    max_class: float
    max_gross: float


def capped(weight_EN: Tensor, classes: Classes, limits: Limits) -> Tensor:
    """Clips each weight, then scales down classes, then everything, where the sum of absolute weights is too large.

    Args:
        weight_EN: float64, wanted weights (of assets without an order: the weights held).
        classes: Which asset is of which class.
        limits: The caps.

    Returns:
        float64 (E, N), within all three caps up to rounding; a row that was within them is unchanged to the bit.
    """
    weight_EN = weight_EN.clamp(-limits.max_position, limits.max_position)
    held_EC = classes.sums(weight_EN.abs())
    scale_EC = (limits.max_class / held_EC).clamp(max=1.0)
    gross_E1 = (held_EC * scale_EC).sum(1, keepdim=True)
    scale_EC = scale_EC * (limits.max_gross / gross_E1).clamp(max=1.0)
    return weight_EN * classes.spread(scale_EC)
