"""Risk-adjusted return."""

from __future__ import annotations

from pydantic import Field
from torch import Tensor

from environments.base import Params as Parameters
from environments.market.rewards import Outcome
from environments.market.terms.base import Memory, Remembering, averaged, kept, nothing_yet

LEAST = 1e-12  # of a volatility, for a division: below it nothing was risked


class RiskAdjustedReturn(Remembering):
    """r / sigma: the log return of the bar over the running volatility, see ``terms.volatility``.

    A reward scaled by a recent volatility, as in Zhang, Zohren and Roberts 2020, "Deep reinforcement learning for
    trading"; here the bar counts in its own sigma, so that one return after a calm is no outlier.

    Unit: none. Range: within +- 1 / sqrt(1 - 0.5^(1 / half_life)); +- 9.3 at 60 bars.
    """

    class Params(Parameters):
        """Parameters.

        Attributes:
            half_life: In bars.
        """

        half_life: float = Field(60.0, gt=0)

    def __init__(self, params: Params) -> None:
        self._keep = kept(params.half_life)

    def begin(self, zero_EM: Tensor, before: Memory) -> Memory:
        """No squares yet."""
        return nothing_yet(zero_EM)

    def __call__(self, outcome: Outcome, memory: Memory) -> tuple[Tensor, Memory]:
        """The ratio of each column; 0 where nothing was ever risked."""
        memory = averaged(memory, outcome.return_EM.square(), self._keep)
        return outcome.return_EM / memory[0].sqrt().clamp(min=LEAST), memory
