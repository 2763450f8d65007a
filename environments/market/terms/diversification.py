"""Diversification bonus."""

from __future__ import annotations

import torch
from torch import Tensor

from environments.market.rewards import Outcome


class Diversification:
    """(ENB - 1) / (N - 1), of the effective number of bets ENB = exp(-sum p log p).

    p are the assets' parts of the gross exposure at the close (Meucci 2009, "Managing diversification", with the
    assets as the bets). Everybody gets the same.

    Unit: none. Range: 0 (all in one asset, or in cash) to 1 (N equal bets).
    """

    def __call__(self, outcome: Outcome) -> Tensor:
        """The same number in every column of a copy."""
        size_EN = outcome.record.value_EN.abs()
        gross_E1 = size_EN.sum(1, keepdim=True)
        part_EN = size_EN / gross_E1.clamp(min=torch.finfo(gross_E1.dtype).tiny)
        bets_E1 = torch.special.entr(part_EN).sum(1, keepdim=True).exp()
        spread_E1 = (bets_E1 - 1.0) / max(1, size_EN.shape[1] - 1)
        return spread_E1.clamp(0.0, 1.0).expand_as(outcome.return_EM)
