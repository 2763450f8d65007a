"""Market-impact reduction."""

from __future__ import annotations

import torch
from torch import Tensor

from environments.market.rewards import Outcome


class MarketImpact:
    """-(value traded)^2: a large order is dearer than its parts, so that orders are worked over several bars.

    The shape of a linear temporary impact (Almgren and Chriss 2001, "Optimal execution of portfolio transactions",
    eq. 7), whatever impact the market itself charges. The portfolio's is the sum over assets.

    Unit: squared share of the column's sleeve. Range: at most 0.
    """

    def __call__(self, outcome: Outcome) -> Tensor:
        """The squares, negative."""
        share_EN = outcome.record.traded_EN / outcome.before_E.unsqueeze(1)
        whole_E1 = share_EN.square().sum(1, keepdim=True)
        return torch.cat([outcome.traded_EM[:, :-1].square(), whole_E1], dim=1).neg()
