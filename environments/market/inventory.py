"""Making a market in the assets of a panel: a bid and an ask for each bar, and the inventory that they leave.

At the close of bar t, with close p and volatility s (of the log returns of the asset's own bars, known then):
    bid = p (1 - a s),  ask = p (1 + b s),  a and b in [0, width], each for the same number of shares
Both rest during bar t + 1, once orders have filled at its open. The bid is hit if the bar's low goes through it
(low < bid), the ask if its high does (high > ask): touching is not enough, for others may be ahead in the queue. The
fill is at the quote, also where the bar opens beyond it. With nothing but the four prices of a bar known, both sides
may be hit in the same bar, in whatever order: no limit may lean on the one when it counts the other. A fill pays the
commission; it takes no spread and makes no impact.

The inventory is a part of the position of its own: position = what signals ask for + inventory. Orders trade the first
alone. Limits are on the sum: where they cut, the orders for the first are cut. A side is not quoted that could lead
the inventory beyond ``max_inventory``, or the position beyond a cap, whatever else is hit in the bar.

A side that leads from inventory q to q' earned, against the open o: (o - bid) or (ask - o) for each share. So the bar's
profit of the maker is, with closes p and p' and inventories q before the bar and q' at its end:
    q (o - p) + q' (p' - o) + captured - commission + its part of the carry of a short
Spread captured and inventory held are in it. The reward, on the sleeve S, as for all traders (see ``rewards``):
    scale x (profit x log return of the maker's profit on S - risk_aversion / 2 x (q' p' / S)^2 s^2)

Avellaneda and Stoikov (2008), "High-frequency trading in a limit order book", is the model of this with chance instead
of a bar's extremes: see ``quotes``.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from environments.market import quotes, rewards
from environments.market.config_reward import RewardParams
from environments.market.execution import Fills, Quoted
from environments.market.ledger import Book
from environments.market.quotes import Exposure
from environments.market.record import MarketRecord
from environments.market.rewards import Outcome
from environments.market.roster import Trader
from environments.market.state import State

LEAST = 1e-6  # of value, for a division
LOWEST = 0.05  # of a close: a bid stays above 0, however wide
FEATURE = "inventory"  # what a maker sees beside what all see: its inventory, as a share of the largest


@dataclass(frozen=True)
class Makers:
    """Who makes a market, asset by asset; 0 where nobody does.

    Attributes:
        players: The groups.
        width_N: float64, the largest distance, in volatilities.
        size_N: float64, of a quote, in sleeves.
        most_N: float64, the largest inventory, in sleeves.
        least_N: float64, the same on the short side, at most 0.
        commission_N: float64, per unit of value.
        per_share_N: float64, money.
    """

    players: tuple[Trader, ...]
    width_N: Tensor
    size_N: Tensor
    most_N: Tensor
    least_N: Tensor
    commission_N: Tensor
    per_share_N: Tensor


@dataclass(frozen=True)
class Quoting:
    """Bids and asks for one bar.

    Attributes:
        bid_EN: float64, prices; 0 where there is none.
        ask_EN: float64, prices; infinite where there is none.
        units_EN: float64, shares of each.
        most_EN: float64, shares that the inventory may be.
        least_EN: float64, the same on the short side, at most 0.
        kept_EN: float64, the inventory in shares, but for what orders close out.
    """

    bid_EN: Tensor
    ask_EN: Tensor
    units_EN: Tensor
    most_EN: Tensor
    least_EN: Tensor
    kept_EN: Tensor


@dataclass(frozen=True)
class Made:
    """What makers did in a bar.

    Attributes:
        shares_EN: float64, of the inventory at its end.
        pnl_EN: float64, their profit in money.
        quoted_EN: float64, value bought and sold at quotes.
    """

    shares_EN: Tensor
    pnl_EN: Tensor
    quoted_EN: Tensor


def makers(players: Sequence[Trader], fees: quotes.Fees) -> Makers | None:
    """Those of the traders that make a market; None: nobody does."""
    found = tuple(player for player in players if player.makes_markets)
    if not found:
        return None

    def per_asset(values: Sequence[float]) -> Tensor:
        value_N = torch.zeros_like(fees.commission_N)
        for player, value in zip(found, values, strict=True):
            value_N[player.assets] = value
        return value_N

    given = [player.params.quoting for player in found if player.params.quoting is not None]
    most_N = per_asset([one.max_inventory for one in given])
    return Makers(
        players=found,
        width_N=per_asset([one.width for one in given]),
        size_N=per_asset([one.size for one in given]),
        most_N=most_N,
        least_N=most_N * per_asset([player.lowest for player in found]),
        commission_N=fees.commission_N,
        per_share_N=fees.per_share_N,
    )


def quote(
    makers: Makers,
    distance_EN2: Tensor,
    book: Book,
    nav_E: Tensor,
    sleeve_EN: Tensor,
    volatility_EN: Tensor,
    kept_EN: Tensor,
) -> Quoting:
    """Prices of bids and asks.

    Args:
        makers: Who quotes.
        distance_EN2: float64, of bid and ask, in volatilities; infinite where nothing is quoted.
        book: At the close before the bar.
        nav_E: float64, its value.
        sleeve_EN: float64, as shares of it; nothing is quoted on an empty one.
        volatility_EN: float64, per bar, as known then; nothing is quoted where it is 0.
        kept_EN: See ``Quoting``.
    """
    offset_EN2 = distance_EN2 * volatility_EN.unsqueeze(-1)
    money_EN = sleeve_EN * nav_E.clamp(min=0.0).unsqueeze(1)
    share_EN = money_EN / book.price_EN
    shut_EN2 = distance_EN2.isinf() | ((volatility_EN <= 0.0) | (money_EN <= 0.0)).unsqueeze(-1)
    bid_EN = book.price_EN * (1.0 - offset_EN2[..., 0]).clamp(min=LOWEST)
    ask_EN = book.price_EN * (1.0 + offset_EN2[..., 1])
    return Quoting(
        bid_EN=torch.where(shut_EN2[..., 0], 0.0, bid_EN),
        ask_EN=torch.where(shut_EN2[..., 1], torch.inf, ask_EN),
        units_EN=makers.size_N * share_EN,
        most_EN=makers.most_N * share_EN,
        least_EN=makers.least_N * share_EN,
        kept_EN=kept_EN,
    )


def share(makers: Makers, inventory_EN: Tensor, book: Book, nav_E: Tensor, sleeve_EN: Tensor) -> Tensor:
    """The inventory as a share of the largest, clipped to [-2, 2]: float64 (E, N)."""
    most_EN = (makers.most_N * sleeve_EN).clamp(min=1e-12) * nav_E.clamp(min=LEAST).unsqueeze(1)
    return (inventory_EN * book.price_EN / most_EN).clamp(-2.0, 2.0)


def weights(inventory_EN: Tensor, price_EN: Tensor, nav_E: Tensor) -> Tensor:
    """The inventory as shares of the portfolio's value."""
    return inventory_EN * price_EN / nav_E.clamp(min=LEAST).unsqueeze(1)


def at_the_open(
    target_EN: Tensor, kept_EN: Tensor, before: State, open_EN: Tensor, nav_E: Tensor, most: float, lowest_N: Tensor
) -> Tensor:
    """Target weights of whole positions once prices have moved to the open: the inventory is not traded for that.

    Args:
        target_EN: float64, as decided at the close before, the inventory with them.
        kept_EN: float64, shares of the inventory.
        before: At the close before.
        open_EN: float64, prices.
        nav_E: float64, value at the open.
        most: Of one position.
        lowest_N: float64, -1, or 0 where nothing may be short.
    """
    own_EN = target_EN - weights(kept_EN, before.book.price_EN, before.nav_E)
    return torch.clamp(own_EN + weights(kept_EN, open_EN, nav_E), lowest_N * most, torch.full_like(lowest_N, most))


def fill(
    makers: Makers,
    quoting: Quoting,
    fills: Fills,
    inventory_EN: Tensor,
    low_EN: Tensor,
    high_EN: Tensor,
    open_EN: Tensor,
    limits: Exposure,
) -> Fills:
    """Adds what the bar does to bids and asks.

    Args:
        makers: What a fill costs.
        quoting: The quotes.
        fills: What was traded at the open already.
        inventory_EN: float64, shares of the inventory after that.
        low_EN: float64, of the bar.
        high_EN: float64, of the bar.
        open_EN: float64, of the bar.
        limits: Of whole positions.
    """
    bid_EN, ask_EN, units_EN = quoting.bid_EN, quoting.ask_EN, quoting.units_EN
    allowed_EN2 = _allowed(makers, quoting, fills.shares_EN, inventory_EN, open_EN, limits)
    bought_EN = units_EN * ((low_EN < bid_EN) & allowed_EN2[..., 0])
    sold_EN = units_EN * ((high_EN > ask_EN) & allowed_EN2[..., 1])
    ask_EN = torch.where(sold_EN > 0.0, ask_EN, open_EN)
    value_EN = bought_EN * bid_EN + sold_EN * ask_EN
    fee_EN = value_EN * makers.commission_N + (bought_EN + sold_EN) * makers.per_share_N
    return replace(
        fills,
        shares_EN=fills.shares_EN + bought_EN - sold_EN,
        traded_EN=fills.traded_EN + value_EN,
        cost_EN=fills.cost_EN + fee_EN,
        captured_EN=bought_EN * (open_EN - bid_EN) + sold_EN * (ask_EN - open_EN),
        quoted=Quoted(bought_EN - sold_EN, value_EN, fee_EN),
    )


def _allowed(
    makers: Makers, quoting: Quoting, shares_EN: Tensor, inventory_EN: Tensor, open_EN: Tensor, limits: Exposure
) -> Tensor:
    """Sides that keep within the limits whatever else is hit, and at whatever fees: bool (E, N, 2)."""
    units_EN = quoting.units_EN
    quoted_EN2 = torch.stack([quoting.bid_EN > 0.0, quoting.ask_EN < torch.inf], dim=-1)
    room_EN2 = torch.stack([quoting.most_EN - inventory_EN, inventory_EN - quoting.least_EN], dim=-1)
    dearest_EN = torch.where(quoted_EN2[..., 1], quoting.ask_EN, quoting.bid_EN) * makers.commission_N
    fee_EN = 2.0 * units_EN * (dearest_EN + makers.per_share_N) * quoted_EN2.any(-1)
    poorer = replace(limits, nav_E1=limits.nav_E1 - fee_EN.sum(1, keepdim=True))
    allowed_EN2 = quotes.allowed(shares_EN, open_EN, quoted_EN2, units_EN, poorer)
    return quoted_EN2 & (units_EN.unsqueeze(-1) <= room_EN2) & allowed_EN2


def account(
    fills: Fills,
    inventory_EN: Tensor,
    kept_EN: Tensor,
    open_EN: Tensor,
    close_EN: Tensor,
    carry_EN: Tensor,
    book: Book,
) -> Made:
    """What makers earned in a bar.

    Args:
        fills: Of the bar, with the quotes.
        inventory_EN: float64, shares before the bar.
        kept_EN: float64, after the fills at the open.
        open_EN: float64, of the bar.
        close_EN: float64, of the bar.
        carry_EN: float64, of whole positions; a maker pays for the part of a short that is its own.
        book: Before the bar.
    """
    after_EN = kept_EN if fills.quoted is None else kept_EN + fills.quoted.bought_EN
    part_EN = (inventory_EN / book.shares_EN).nan_to_num(0.0, 0.0, 0.0).clamp(0.0, 1.0)
    price_EN = inventory_EN * (open_EN - book.price_EN) + after_EN * (close_EN - open_EN)
    pnl_EN = price_EN + carry_EN * part_EN
    if fills.quoted is None or fills.captured_EN is None:
        return Made(after_EN, pnl_EN, torch.zeros_like(pnl_EN))
    return Made(after_EN, pnl_EN + fills.captured_EN - fills.quoted.fee_EN, fills.quoted.value_EN)


def paid(player: Trader, outcome: Outcome, volatility_EN: Tensor, params: RewardParams) -> Tensor:
    """The reward of a maker: see above; float32 (E, A).

    Args:
        player: Who is paid.
        outcome: What the bar brought.
        volatility_EN: float64, per bar, as known before it.
        params: Unit and weights.
    """
    base_EA, assets = outcome.base_EM[:, player.assets], player.assets
    held_EA = outcome.record.inventory_EN[:, assets] * volatility_EN[:, assets]
    profit_EA = outcome.record.made_EN[:, assets]
    if params.unit == "log":
        held_EA = held_EA / base_EA
        gain_E1 = outcome.record.nav_E.unsqueeze(1) - outcome.before_E.unsqueeze(1)
        profit_EA = profit_EA / base_EA * rewards.log_ratio(gain_E1 / outcome.base_EM[:, -1:])
    risk_EA = player.params.risk_aversion / 2 * held_EA.square()
    return (params.scale * (params.profit * profit_EA - risk_EA)).to(torch.float32)


def behaviour(makers: Makers, record: MarketRecord, capital: float) -> dict[str, dict[str, Tensor]]:
    """Group -> what it did in a bar, as shares of the capital, summed over its assets: float64 (E,)."""
    amounts = {
        "pnl": record.made_EN,
        "captured": record.captured_EN,
        "traded": record.quoted_EN,
        "inventory": record.inventory_EN.abs(),
    }
    return {
        player.name: {name: amount_EN[:, player.assets].sum(1) / capital for name, amount_EN in amounts.items()}
        for player in makers.players
    }
