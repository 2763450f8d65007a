"""Volatility."""

from __future__ import annotations

from pydantic import Field
from torch import Tensor

from environments.base import Params as Parameters
from environments.market.rewards import Outcome
from environments.market.terms.base import Memory, Remembering, averaged, kept, nothing_yet


class Volatility(Remembering):
    """-sigma, the root of the exponential mean of squared log returns, this bar's with them.

    As in J. P. Morgan and Reuters 1996, "RiskMetrics technical document", section 5.2. It forgets with the episode.

    Unit: log return of a bar. Range: at most 0.
    """

    class Params(Parameters):
        """Parameters.

        Attributes:
            half_life: In bars.
        """

        half_life: float = Field(20.0, gt=0)

    def __init__(self, params: Params) -> None:
        self._keep = kept(params.half_life)

    def begin(self, zero_EM: Tensor, before: Memory) -> Memory:
        """No squares yet."""
        return nothing_yet(zero_EM)

    def __call__(self, outcome: Outcome, memory: Memory) -> tuple[Tensor, Memory]:
        """The volatility of each column, negative."""
        memory = averaged(memory, outcome.return_EM.square(), self._keep)
        return memory[0].sqrt().neg(), memory
