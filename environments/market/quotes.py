"""Resting orders: a bid and an ask around the price, hit with a probability that falls with their distance.

Avellaneda and Stoikov (2008), "High-frequency trading in a limit order book", eqs. 2.11-2.12, in bars: on each side at
most one fill in a bar, and both sides may be hit in the same bar.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
from torch import Tensor

from environments.market.config_costs import LimitOrderParams
from environments.market.execution import Fills
from environments.market.risk import Classes, Limits


@dataclass(frozen=True)
class Fees:
    """What a filled quote costs: float64, commission per unit of value, and money per share."""

    commission_N: Tensor
    per_share_N: Tensor


@dataclass(frozen=True)
class Exposure:
    """What limits a quote.

    Attributes:
        most_N: float64, shares that may be held.
        least_N: float64, the same on the short side, at most 0.
        nav_E1: float64, the portfolio's value.
        classes: Which asset is of which class.
        caps: As shares of the value.
    """

    most_N: Tensor
    least_N: Tensor
    nav_E1: Tensor
    classes: Classes
    caps: Limits


def distances(action_EA2: Tensor, width: float) -> Tensor:
    """From actions in [-1, 1] to distances in [0, ``width``], float64."""
    return (action_EA2.to(torch.float64).clamp(-1.0, 1.0) + 1.0) / 2 * width


def probability(distance: Tensor, params: LimitOrderParams, years_E11: Tensor) -> Tensor:
    """The probability that a quote is hit within the bar."""
    return (params.rate * torch.exp(-params.decay * distance) * years_E11).clamp(max=1.0)


def fill(
    fills: Fills,
    distance_EN2: Tensor,
    chance_EN2: Tensor,
    open_EN: Tensor,
    years_E: Tensor,
    params: LimitOrderParams,
    fees: Fees,
    exposure: Exposure,
) -> Fills:
    """Adds what the bar does to bids and asks.

    Args:
        fills: What was traded at the open already.
        distance_EN2: float64, of bid and ask from the open; infinite where nothing is quoted.
        chance_EN2: float64, uniform in [0, 1).
        open_EN: float64, prices.
        years_E: float64, length of the bar.
        params: How quotes are hit, and how many shares at a time.
        fees: Of what is filled.
        exposure: A side that could lead beyond it is not quoted.
    """
    quoted_EN2 = distance_EN2.isfinite()
    quoted_EN2 = quoted_EN2 & allowed(fills.shares_EN, open_EN, quoted_EN2, params.units, exposure)
    hit_EN2 = quoted_EN2 & (chance_EN2 < probability(distance_EN2, params, years_E.view(-1, 1, 1)))
    units_EN2 = hit_EN2 * params.units
    traded_EN = units_EN2.sum(-1)
    return replace(
        fills,
        shares_EN=fills.shares_EN + units_EN2[..., 0] - units_EN2[..., 1],
        traded_EN=fills.traded_EN + traded_EN * open_EN.abs(),
        cost_EN=fills.cost_EN + traded_EN * (open_EN.abs() * fees.commission_N + fees.per_share_N),
        captured_EN=torch.where(hit_EN2, distance_EN2 * params.units, 0.0).sum(-1),
    )


def allowed(shares_EN: Tensor, open_EN: Tensor, quoted_EN2: Tensor, units: float | Tensor, limits: Exposure) -> Tensor:
    """Sides that keep within the limits whatever else is hit: bool (E, N, 2).

    Args:
        shares_EN: float64, held before any of them.
        open_EN: float64, prices.
        quoted_EN2: bool, what is quoted.
        units: Shares of a quote, for all alike or float64 (E, N).
        limits: Of what is held.
    """
    after_EN2 = torch.stack([shares_EN + units, shares_EN - units], dim=-1)  # bid, ask
    within_EN2 = (after_EN2 <= limits.most_N.unsqueeze(-1)) & (after_EN2 >= limits.least_N.unsqueeze(-1))
    reduces_EN2 = after_EN2.abs() <= shares_EN.abs().unsqueeze(-1)
    at_risk_EN = open_EN.abs() * units * quoted_EN2.any(-1)
    worst_EN = (shares_EN * open_EN).abs() + at_risk_EN
    worst_EC = limits.classes.sums(worst_EN)
    free_EN = worst_EN <= limits.caps.max_position * limits.nav_E1
    free_EN &= limits.classes.spread(worst_EC) <= limits.caps.max_class * limits.nav_E1
    free_EN &= worst_EC.sum(1, keepdim=True) <= limits.caps.max_gross * limits.nav_E1
    within_EN2 = within_EN2 & (reduces_EN2 | free_EN.unsqueeze(-1))
    if limits.caps.max_net == torch.inf:
        return within_EN2
    # A side that makes one position smaller may make the sum of all larger.
    net_E1, risk_E1 = (shares_EN * open_EN).sum(1, keepdim=True), at_risk_EN.sum(1, keepdim=True)
    most_E1 = limits.caps.max_net * limits.nav_E1 - risk_E1
    return within_EN2 & torch.stack([net_E1 <= most_E1, -net_E1 <= most_E1], dim=-1)
