"""Conditional value at risk."""

from __future__ import annotations

from pydantic import Field
from torch import Tensor

from environments.base import Params as Parameters
from environments.market.rewards import Outcome
from environments.market.terms.base import Memory, Remembering, averaged, kept, nothing_yet


class CVaR(Remembering):
    """-(q + max(0, loss - q) / (1 - level)), of the bar's loss -r and its running quantile q before the bar.

    In the mean over bars this is -CVaR where q is the value at risk, and lower at any other q (Rockafellar and Uryasev
    2000, "Optimization of conditional value-at-risk", eq. 4 and theorem 1). So q follows the gradient of it, in steps
    of the mean absolute return: down by 1 - 0.5^(1 / half_life) of it, and up by 1 / (1 - level) as much after a loss
    beyond q. It starts at 0 with each episode.

    Unit: log return. Range: at most -q, at most 0 where q is a loss; no lower bound but that of the return.
    """

    class Params(Parameters):
        """Parameters.

        Attributes:
            level: Of the value at risk.
            half_life: In bars, of the quantile.
        """

        level: float = Field(0.95, gt=0, lt=1)
        half_life: float = Field(60.0, gt=0)

    def __init__(self, params: Params) -> None:
        self._keep, self._tail = kept(params.half_life), 1.0 - params.level

    def begin(self, zero_EM: Tensor, before: Memory) -> Memory:
        """The quantile, and the mean absolute return that its steps are measured by."""
        return zero_EM, *nothing_yet(zero_EM)

    def __call__(self, outcome: Outcome, memory: Memory) -> tuple[Tensor, Memory]:
        """The tail loss of each column, negative."""
        quantile_EM, *size = memory
        beyond_EM = -outcome.return_EM - quantile_EM
        value_EM = -(quantile_EM + beyond_EM.clamp(min=0.0) / self._tail)
        size_EM, weight_E1 = averaged(tuple(size), outcome.return_EM.abs(), self._keep)
        slope_EM = 1.0 - (beyond_EM > 0.0).to(size_EM.dtype) / self._tail
        return value_EM, (quantile_EM - (1.0 - self._keep) * size_EM * slope_EM, size_EM, weight_E1)
