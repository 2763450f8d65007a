"""What a term of the reward may have beside its value: a memory."""

from __future__ import annotations

import abc
from typing import TYPE_CHECKING

import torch
from torch import Tensor

if TYPE_CHECKING:  # rewards are made of terms
    from environments.market.rewards import Outcome

Memory = tuple[Tensor, ...]
"""What is remembered from bar to bar: tensors with a row for each copy, (E, ...), of which none is written to."""


class Remembering(abc.ABC):
    """A term with a memory of its own in each copy, which is part of the market's state."""

    @abc.abstractmethod
    def begin(self, zero_EM: Tensor, before: Memory) -> Memory:
        """The memory when an episode begins.

        Args:
            zero_EM: float64 zeros, for the shape and the device.
            before: What was remembered when the episode before it ended; empty in the first one.
        """

    @abc.abstractmethod
    def __call__(self, outcome: Outcome, memory: Memory) -> tuple[Tensor, Memory]:
        """The value of a bar, float64 (E, M), and what is remembered from then on."""


def kept(half_life: float) -> float:
    """What is left of a bar's weight after one bar, when after ``half_life`` of them it is half."""
    return 0.5 ** (1.0 / half_life)


def nothing_yet(zero_EM: Tensor) -> Memory:
    """An exponential mean of nothing, for ``averaged``."""
    return zero_EM, torch.zeros_like(zero_EM[:, :1])


def averaged(memory: Memory, value_EM: Tensor, keep: float) -> Memory:
    """An exponential mean with one more value.

    Args:
        memory: The mean, float64 (E, M), and the sum of its weights, float64 (E, 1): the start is not taken for a value
            of zero (Kingma and Ba 2015, section 3).
        value_EM: What is added.
        keep: See ``kept``.
    """
    mean_EM, weight_E1 = memory
    weight_E1 = keep * weight_E1 + (1.0 - keep)
    return mean_EM + (1.0 - keep) / weight_E1 * (value_EM - mean_EM), weight_E1
