"""Drawdown."""

from __future__ import annotations

from torch import Tensor

from environments.market.rewards import Outcome


class Drawdown:
    """-(log of the running peak - log of the value): charged in every bar that the column is below its peak.

    Its mean over an episode is the average drawdown (Chekhlov, Uryasev and Zabarankin 2005, "Drawdown measure in
    portfolio optimization"). ``reward.drawdown`` charges a drawdown once, when it grows.

    Unit: log return. Range: at most 0.
    """

    def __call__(self, outcome: Outcome) -> Tensor:
        """How deep each column is, negative."""
        return outcome.drawdown_EM.neg()
