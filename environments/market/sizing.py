"""Amounts: what a position is measured in, weights (shares of the portfolio's value) or numbers of shares."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True)
class Sizing:
    """Turns signals into amounts, and amounts into weights, which is what caps are about.

    Attributes:
        in_shares: Amounts are numbers of shares; otherwise weights.
        size_N: float64, what a signal of 1 holds: shares, or multiples of the sleeve.
        whole: Each is the sleeve itself.
    """

    in_shares: bool
    size_N: Tensor
    whole: bool

    def full(self, sleeve_EN: Tensor) -> Tensor:
        """The amount of a signal of 1: (E, N)."""
        if self.in_shares:
            return self.size_N.expand_as(sleeve_EN)
        return sleeve_EN if self.whole else sleeve_EN * self.size_N

    def held(self, weight_EN: Tensor, shares_EN: Tensor) -> Tensor:
        """The amount of what is held."""
        return shares_EN if self.in_shares else weight_EN

    def weights(self, amount_EN: Tensor, price_EN: Tensor, nav_E: Tensor) -> Tensor:
        """Amounts as weights, at these prices."""
        return amount_EN * price_EN / nav_E.unsqueeze(1) if self.in_shares else amount_EN

    def amounts(self, weight_EN: Tensor, price_EN: Tensor, nav_E: Tensor) -> Tensor:
        """Weights as amounts, at these prices."""
        return weight_EN * nav_E.unsqueeze(1) / price_EN if self.in_shares else weight_EN

    def shares(self, amount_EN: Tensor, price_EN: Tensor, nav_E: Tensor) -> Tensor:
        """Amounts as numbers of shares, at these prices."""
        return amount_EN if self.in_shares else amount_EN * nav_E.unsqueeze(1) / price_EN

    def limited(self, amount_EN: Tensor, weight_EN: Tensor, capped_EN: Tensor) -> Tensor:
        """The amounts once caps have made ``capped_EN`` of ``weight_EN``; what they left alone stays, to the bit."""
        if not self.in_shares:
            return capped_EN
        return torch.where(capped_EN == weight_EN, amount_EN, amount_EN * (capped_EN / weight_EN))
