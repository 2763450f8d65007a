"""Differential Sharpe ratio."""

from __future__ import annotations

from pydantic import Field
from torch import Tensor

from environments.base import Params as Parameters
from environments.market.rewards import Outcome
from environments.market.terms.base import Memory, Remembering, kept

LEAST = 1e-12  # added to a variance, for a division: returns that differ by less are taken for rounding


class DifferentialSharpe(Remembering):
    """(B dA - A dB / 2) / (B - A^2)^(3/2): what the bar changed in a running Sharpe ratio, per rate of forgetting.

    A and B are exponential means of the log return r and of its square before the bar, dA = r - A, dB = r^2 - B
    (Moody and Saffell 2001, "Learning to trade via direct reinforcement", section II.D). They forget with the episode.

    Unit: none. Range: within +- ``most``; 0 in the first bar.
    """

    class Params(Parameters):
        """Parameters.

        Attributes:
            half_life: In bars, of A and B.
            most: What larger values are cut to: while A and B are young the ratio is all but undefined.
        """

        half_life: float = Field(60.0, gt=0)
        most: float = Field(10.0, gt=0)

    def __init__(self, params: Params) -> None:
        self._rate, self._most = 1.0 - kept(params.half_life), params.most

    def begin(self, zero_EM: Tensor, before: Memory) -> Memory:
        """A and B of nothing."""
        return zero_EM, zero_EM

    def __call__(self, outcome: Outcome, memory: Memory) -> tuple[Tensor, Memory]:
        """The derivative of each column's Sharpe ratio."""
        mean_EM, square_EM = memory
        up_EM, wider_EM = outcome.return_EM - mean_EM, outcome.return_EM.square() - square_EM
        variance_EM = (square_EM - mean_EM.square()).clamp(min=0.0) + LEAST
        change_EM = (square_EM * up_EM - 0.5 * mean_EM * wider_EM) / variance_EM.pow(1.5)
        memory = mean_EM + self._rate * up_EM, square_EM + self._rate * wider_EM
        return change_EM.clamp(-self._most, self._most), memory
