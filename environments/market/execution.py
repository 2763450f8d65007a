"""Fills at the open: how much is bought and sold, and what it costs. Costs are always adverse.

Square-root impact: Almgren, Thum, Hauptmann and Li (2005), "Direct Estimation of Equity Market Impact";
Toth et al. (2011), "Anomalous price impact and the critical nature of liquidity", eq. 1.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from environments.market.impact import per_asset
from environments.market.risk import Classes, Limits
from environments.market.scalars import scalar

TINY = 1e-100  # a price, for a division: simulated ones may be 0
MAX_IMPACT = 0.25  # of the price: the square root is no law far beyond a day's volume, and prices stay positive


@dataclass(frozen=True)
class Quoted:
    """What market makers' quotes brought (see ``inventory``).

    Attributes:
        bought_EN: float64, shares bought less shares sold.
        value_EN: float64, what was bought and sold, at the quotes.
        fee_EN: float64, commission paid for it.
    """

    bought_EN: Tensor
    value_EN: Tensor
    fee_EN: Tensor


@dataclass(frozen=True)
class Fills:
    """What the open brought, and then the bar to resting orders.

    Attributes:
        shares_EN: float64, shares held from now on.
        traded_EN: float64, absolute value traded at the open's price; by market makers at theirs.
        cost_EN: float64, spread, impact and commission.
        captured_EN: float64, what resting orders earned against the open's price; None: there were none.
        quoted: Of market makers; None: there are none.
    """

    shares_EN: Tensor
    traded_EN: Tensor
    cost_EN: Tensor
    captured_EN: Tensor | None = None
    quoted: Quoted | None = None


@dataclass(frozen=True)
class Costs:
    """What trading at the open costs.

    Attributes:
        flat_N: float64, half the spread and the commission, per unit of value.
        per_share_N: float64, money per share; None: nothing.
        half_impact: float64, half the linear impact L, (N, N) or its diagonal: dx shares cost dx' L dx / 2; None: none.
    """

    flat_N: Tensor
    per_share_N: Tensor | None
    half_impact: Tensor | None

    def of(self, change_EN: Tensor, value_EN: Tensor, slope_EN: Tensor | None) -> Tensor:
        """Costs of buying so many shares: float64 (E, N).

        The linear impact's dx' L dx / 2 is split as dx_i (L dx)_i / 2: never negative in sum, but one asset may gain
        where another's trade has moved its price.

        Args:
            change_EN: float64, shares bought.
            value_EN: float64, their absolute value.
            slope_EN: See ``impact_slope``; None: none.
        """
        cost_EN = value_EN * cost_rate(value_EN, self.flat_N, slope_EN)
        if self.per_share_N is not None:
            cost_EN = torch.addcmul(cost_EN, change_EN.abs(), self.per_share_N)
        if self.half_impact is not None:
            cost_EN = torch.addcmul(cost_EN, change_EN, per_asset(self.half_impact, change_EN))
        return cost_EN

    def bound(self, most_EN: Tensor, price_EN: Tensor, slope_EN: Tensor | None) -> Tensor:
        """An upper bound of the costs per unit of value, whatever is traded up to ``most_EN`` of each asset.

        Args:
            most_EN: float64, absolute values.
            price_EN: float64, above 0.
            slope_EN: See ``impact_slope``; None: none.
        """
        rate_EN = cost_rate(most_EN, self.flat_N, slope_EN)
        share_EN = self.per_share_N
        if self.half_impact is not None:
            push_EN = per_asset(self.half_impact.abs(), most_EN / price_EN)
            share_EN = push_EN if share_EN is None else push_EN + share_EN
        return rate_EN if share_EN is None else rate_EN + share_EN / price_EN


def impact_slope(impact: Tensor, vol: Tensor, adv: Tensor) -> Tensor:
    """The impact of a trade of value 1, as a share of the price: impact x vol / sqrt(adv).

    0 where nobody knows what is traded in a day (``adv`` 0, as for currencies without volumes).
    """
    return torch.where(adv > 0, impact * vol / adv.clamp(min=1e-300).sqrt(), 0.0)


def cost_rate(value_EN: Tensor, flat_N: Tensor, slope_EN: Tensor | None) -> Tensor:
    """Costs of trading ``value_EN``, per unit of value: flat + slope x sqrt(value), the impact at most ``MAX_IMPACT``.

    Args:
        value_EN: float64, absolute value traded.
        flat_N: float64, half the spread and the commission.
        slope_EN: float64, see ``impact_slope``; None: there is no such impact.
    """
    if slope_EN is None:
        return flat_N.expand_as(value_EN)
    return (slope_EN * value_EN.sqrt()).clamp(max=MAX_IMPACT) + flat_N


def room(held_EN: Tensor, target_EN: Tensor, fill_EN: Tensor, net_E1: Tensor, classes: Classes, caps: Limits) -> Tensor:
    """Scales the targets that fill so that they fit beside what does not fill.

    Risk capped the targets at the last close; overnight, positions that get no fill may have grown.

    Args:
        held_EN: float64, value of each position at the open.
        target_EN: float64, target weights.
        fill_EN: bool, what fills.
        net_E1: float64, a lower bound of the portfolio's value after the fills.
        classes: Which asset is of which class.
        caps: ``max_class`` and ``max_gross``.

    Returns:
        float64 (E, N), target weights, 0 where nothing fills. In each class and in total, their absolute sum x ``net``
        and the value of what does not fill are within the cap, unless the latter alone is not.
    """
    none = scalar(0.0, held_EN.device)
    weight_EN = torch.where(fill_EN, target_EN, none)
    fixed_EC = classes.sums(torch.where(fill_EN, none, held_EN).abs()) / net_E1
    wanted_EC = classes.sums(weight_EN.abs())
    excess_EC = _excess(wanted_EC, caps.max_class - fixed_EC)
    free_E1 = caps.max_gross - fixed_EC.sum(1, keepdim=True)
    excess_EC = excess_EC * _excess((wanted_EC / excess_EC).sum(1, keepdim=True), free_E1)
    return weight_EN / classes.spread(excess_EC)


def net_room(
    held_EN: Tensor, target_EN: Tensor, fill_EN: Tensor, net_E1: Tensor, nav_E1: Tensor, most: float
) -> Tensor:
    """Scales down the longs, or the shorts, that fill so that the sum of all weights is within ``most``.

    Args:
        held_EN: float64, value of each position at the open.
        target_EN: float64, target weights, 0 where nothing fills.
        fill_EN: bool, what fills.
        net_E1: float64, a lower bound of the portfolio's value after the fills.
        nav_E1: float64, an upper bound of it.
        most: ``max_net``.

    Returns:
        float64 (E, N), target weights. Their sum x the value and what does not fill are within ``most`` x the value, on
        either side of 0, unless what does not fill alone is not.
    """
    fixed_E1 = torch.where(fill_EN, 0.0, held_EN).sum(1, keepdim=True)
    long_E1 = target_EN.clamp(min=0.0).sum(1, keepdim=True)
    short_E1 = target_EN.clamp(max=0.0).sum(1, keepdim=True).abs()
    highest_E1, lowest_E1 = (side(fixed_E1 / net_E1, fixed_E1 / nav_E1) for side in (torch.maximum, torch.minimum))
    longs_E1 = _excess(long_E1, most - highest_E1 + short_E1)
    shorts_E1 = _excess(short_E1, most + lowest_E1 + long_E1 / longs_E1)
    return target_EN / torch.where(target_EN > 0.0, longs_E1, shorts_E1)


def _excess(wanted: Tensor, free: Tensor) -> Tensor:
    """How many times too much is wanted, at least 1; 1 where nothing is wanted, infinite where nothing is free."""
    return torch.fmax(wanted / free.clamp(min=0.0), scalar(1.0, wanted.device))


def fill(
    shares_EN: Tensor,
    open_EN: Tensor,
    cash_E: Tensor,
    target_EN: Tensor,
    fill_EN: Tensor,
    slope_EN: Tensor | None,
    costs: Costs,
    classes: Classes,
    caps: Limits,
    *,
    in_shares: bool = False,
) -> Fills:
    """Brings the positions that fill to value_i = w_i (nav - c), where c is an upper bound of all costs.

    So |value_i| <= |w_i| x (nav after the fill), and cash pays for what is bought: caps hold once all is paid.
    Targets in shares are bought as they are, unless caps cut them.

    The bound. With h_i the value held at the open, d_i = w_i nav - h_i, and c in [0, nav], what is traded is
    x_i = |w_i (nav - c) - h_i|, which is at most m_i = max(|h_i|, |d_i|) (it is convex in c: look at both ends).
    So r_i = rate(m_i) bounds the rate of its costs, and c_0 = sum r_i m_i all costs, also after the w_i are scaled
    down (``room``). Sharper: x_i <= |d_i| + |w_i| c, so that c = sum r_i |d_i| + c sum r_i |w_i|, solved for c, bounds
    the costs at c itself; the smaller of the two is taken.

    Args:
        shares_EN: float64, shares held before.
        open_EN: float64, prices, above 0 where targets are weights.
        cash_E: float64, before the fills; with the value held it makes nav.
        target_EN: float64, target weights, or numbers of shares.
        fill_EN: bool, what fills; the shares of all others stay as they are, to the bit.
        slope_EN: float64, see ``impact_slope``; None: none.
        costs: What trading costs.
        classes: Which asset is of which class.
        caps: ``max_class``, ``max_gross`` and ``max_net``: see ``room``.
        in_shares: Targets are numbers of shares.
    """
    held_EN = shares_EN * open_EN
    nav_E1 = (cash_E + held_EN.sum(1)).clamp(min=0.0).unsqueeze(1)
    wanted_EN = target_EN * open_EN if in_shares else target_EN * nav_E1
    most_EN = torch.maximum(held_EN.abs(), (wanted_EN - held_EN).abs())
    price_EN = open_EN.abs().clamp(min=TINY) if in_shares else open_EN
    rate_EN = torch.where(fill_EN, costs.bound(most_EN, price_EN, slope_EN), scalar(0.0, open_EN.device))
    bound_E1 = torch.minimum((rate_EN * most_EN).sum(1, keepdim=True), nav_E1)
    net_E1 = (nav_E1 - bound_E1).clamp(min=torch.finfo(torch.float64).tiny)
    if in_shares:
        share_EN = wanted_EN / net_E1
        weight_EN = _fitted(held_EN, share_EN, fill_EN, net_E1, nav_E1, classes, caps)
        bought_EN = torch.where(weight_EN == share_EN, target_EN, weight_EN * net_E1 / open_EN)
    else:
        weight_EN = _fitted(held_EN, target_EN, fill_EN, net_E1, nav_E1, classes, caps)
        bought_EN = _after_costs(held_EN, weight_EN, rate_EN, nav_E1, bound_E1) / open_EN
    new_EN = torch.where(fill_EN, bought_EN, shares_EN)
    change_EN = new_EN - shares_EN
    traded_EN = (change_EN * open_EN).abs()
    return Fills(new_EN, traded_EN, costs.of(change_EN, traded_EN, slope_EN))


def _fitted(
    held_EN: Tensor,
    target_EN: Tensor,
    fill_EN: Tensor,
    net_E1: Tensor,
    nav_E1: Tensor,
    classes: Classes,
    caps: Limits,
) -> Tensor:
    """``room``, and ``net_room`` where net exposure is limited."""
    weight_EN = room(held_EN, target_EN, fill_EN, net_E1, classes, caps)
    if caps.max_net < torch.inf:
        weight_EN = net_room(held_EN, weight_EN, fill_EN, net_E1, nav_E1, caps.max_net)
    return weight_EN


def _after_costs(held_EN: Tensor, weight_EN: Tensor, rate_EN: Tensor, nav_E1: Tensor, bound_E1: Tensor) -> Tensor:
    """w_i (nav - c), with the smaller of the two bounds of ``fill``."""
    fixed_E1 = (rate_EN * (weight_EN * nav_E1 - held_EN).abs()).sum(1, keepdim=True)
    share_E1 = (rate_EN * weight_EN.abs()).sum(1, keepdim=True)
    sharp_E1 = fixed_E1 / (1.0 - share_E1).clamp(min=0.0)
    return weight_EN * (nav_E1 - torch.fmin(sharp_E1, bound_E1))
