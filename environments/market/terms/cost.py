"""Cost."""

from __future__ import annotations

from torch import Tensor

from environments.market.rewards import Outcome


class Cost:
    """-(spread + impact + commission), beyond what the profit has lost by them already.

    Unit: share of the column's sleeve. Range: at most 0, unless one asset's trades move the price of another.
    ``reward.cost`` is the same in the unit of ``reward.unit``.
    """

    def __call__(self, outcome: Outcome) -> Tensor:
        """What was paid, negative."""
        return outcome.cost_EM.neg()
