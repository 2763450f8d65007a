"""Caps on target weights, before any order: a cap never touches what is already held, only what is wanted."""

from __future__ import annotations

from dataclasses import dataclass, field

import torch
from torch import Tensor


@dataclass(frozen=True)
class Classes:
    """Which assets are of which class; the assets of a class lie side by side. ``classes_of`` makes them.

    Attributes:
        class_N: int64, the class of each asset.
        count_C: int64, the number of assets of each class.
        number_N: float64, ``class_N`` again: values are spread by comparisons with it, of which a compiler makes
            vectors. None: they are looked up one by one.
    """

    class_N: Tensor
    count_C: Tensor
    number_N: Tensor | None = field(default=None, kw_only=True)

    def sums(self, value_EN: Tensor) -> Tensor:
        """Sums over each class: (E, C).

        Segment by segment: each row adds in the same order whatever E is, on every device (a matrix product or
        scatter_add does not promise that).
        """
        count_EC = self.count_C.expand(value_EN.shape[0], -1)
        return torch.segment_reduce(value_EN, "sum", lengths=count_EC, axis=1, unsafe=True)

    def spread(self, value_EC: Tensor) -> Tensor:
        """Gives each asset its class's value: (E, N)."""
        if self.number_N is None:
            return value_EC.gather(1, self.class_N.expand(value_EC.shape[0], -1))
        spread_EN = value_EC[:, :1].expand(-1, len(self.number_N))
        for i in range(1, len(self.count_C)):
            spread_EN = torch.where(self.number_N >= i, value_EC[:, i : i + 1], spread_EN)
        return spread_EN


@dataclass(frozen=True)
class EvenClasses(Classes):
    """Classes of the same size: their assets are the rows of a matrix.

    Attributes:
        shape: C, and the number of assets of each class.
    """

    shape: tuple[int, int]

    def sums(self, value_EN: Tensor) -> Tensor:
        """See ``Classes``; each sum runs over its own row."""
        return value_EN.reshape(-1, *self.shape).sum(2)


def classes_of(class_N: Tensor) -> Classes:
    """The classes of assets that lie side by side by class."""
    count_C = class_N.bincount()
    sizes = set(count_C.tolist())
    if len(sizes) > 1:
        return Classes(class_N, count_C)
    return EvenClasses(class_N, count_C, (len(count_C), sizes.pop()))


@dataclass(frozen=True)
class Limits:
    """Caps as shares of the portfolio's value; infinity: none. See ``RiskParams``.

    Attributes:
        max_position: Of one asset.
        max_class: Of one class.
        max_gross: Of all; for each copy, float64 (E, 1), where drawdown throttles it.
        max_net: Of longs less shorts.
    """

    max_position: float
    max_class: float
    max_gross: float | Tensor
    max_net: float = torch.inf


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
    excess_EC = (held_EC / limits.max_class).clamp(min=1.0)
    gross_E1 = (held_EC / excess_EC).sum(1, keepdim=True)
    excess_EC = excess_EC * (gross_E1 / limits.max_gross).clamp(min=1.0)
    return weight_EN / classes.spread(excess_EC)


def bound(weight_EN: Tensor, classes: Classes, limits: Limits, rounding: float) -> dict[str, Tensor]:
    """Which of its caps ``capped`` cuts something for, by more than rounding: name -> bool (E,)."""
    held_EC = classes.sums(weight_EN.clamp(-limits.max_position, limits.max_position).abs())
    gross_E1 = held_EC.clamp(max=limits.max_class).sum(1, keepdim=True)
    return {
        "position": (weight_EN.abs() > limits.max_position + rounding).any(1),
        "class": (held_EC > limits.max_class + rounding).any(1),
        "gross": (gross_E1 > limits.max_gross + rounding).any(1),
    }
