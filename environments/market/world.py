"""What never changes while a market is stepped: prices, who trades them, and at what cost."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from environments.errors import DataError
from environments.market import roster
from environments.market.config import MarketParams
from environments.market.execution import Costs
from environments.market.feed import Feed, Rows
from environments.market.impact import check_no_free_profit, matrix
from environments.market.panel_feed import PanelFeed
from environments.market.quotes import Fees
from environments.market.risk import Classes, Limits
from environments.market.roster import Trader
from environments.market.seats import Seat, seat
from environments.market.signals import Dialect, dialect
from environments.market.simulation import SimulatedFeed
from environments.market.sizing import Sizing
from environments.market.state import State
from environments.random import uniform

QUOTE_STREAM = 2


@dataclass(frozen=True)
class World:
    """The constants of a market.

    Attributes:
        params: As given.
        feed: Prices.
        traders: The groups of traders.
        seats: What each of them sees and is paid.
        desks: For each class, the places of its traders in ``traders``.
        dialect: How the actions of all agents are read, M columns, one trader after the other.
        asset_M: int64, the asset of each agent.
        counts: Columns of each trader.
        one_each: Each asset has one agent, and they stand in the order of the assets.
        classes: Which asset is of which class.
        caps: On targets.
        sizing: What signals mean.
        start_N: float64, the signals held when an episode begins.
        costs: Of trading at the open.
        fees: Of quotes that are filled.
        permanent_NN: float64, price change per share bought; None: none.
        borrow_N: float64, per year.
        lowest_N: float64, the lowest signal.
    """

    params: MarketParams
    feed: Feed
    traders: tuple[Trader, ...]
    seats: tuple[Seat, ...]
    desks: tuple[tuple[int, ...], ...]
    dialect: Dialect
    asset_M: Tensor
    counts: list[int]
    one_each: bool
    classes: Classes
    caps: Limits
    sizing: Sizing
    start_N: Tensor
    costs: Costs
    fees: Fees
    permanent_NN: Tensor | None
    borrow_N: Tensor
    lowest_N: Tensor

    def rows(self, seed: int, state: State) -> Rows:
        """What the step that begins now needs, with the draws of quotes where there are any."""
        now = self.feed.rows(seed, state)
        if self.params.limit_orders is None:
            return now
        copy_E11 = torch.arange(len(state.bar_E), device=state.bar_E.device).view(-1, 1, 1)
        asset_N1 = torch.arange(len(self.start_N), device=state.bar_E.device).unsqueeze(1)
        side_2 = torch.arange(2, device=state.bar_E.device)
        counters = (state.episode_E.view(-1, 1, 1), QUOTE_STREAM, state.bar_E.view(-1, 1, 1), asset_N1, side_2)
        return replace(now, chance_EN2=uniform(seed, copy_E11, *counters))


def build_world(params: MarketParams, device: str) -> World:
    """Reads, generates or sets up the prices and holds the parameters against them.

    Raises:
        DataError: The data cannot be used, or does not go with the parameters.
    """
    feed = _feed(params, device)
    listing = feed.listing
    players = roster.traders(params, listing)
    class_N = torch.from_numpy(listing.class_N).to(device)

    def per_asset(per_class: Iterable[float]) -> Tensor:
        return torch.tensor(list(per_class), dtype=torch.float64, device=device)[class_N]

    def impact(name: str) -> Tensor | None:
        return matrix(f"linear_impact.{name}", getattr(params.linear_impact, name), len(listing.symbols), device)

    temporary_NN, permanent_NN = impact("temporary"), impact("permanent")
    check_no_free_profit(temporary_NN, permanent_NN)
    places = range(len(listing.symbols))
    asset_M = [asset for player in players for asset in places[player.assets]]
    costs = [params.cost(name) for name in listing.classes]
    first = [next(player.params for player in players if player.asset_class == name) for name in listing.classes]
    return World(
        params=params,
        feed=feed,
        traders=players,
        seats=tuple(seat(player, feed, finite=params.finite, device=device) for player in players),
        desks=tuple(
            tuple(j for j, player in enumerate(players) if player.asset_class == name) for name in listing.classes
        ),
        dialect=dialect([(player.params, player.lowest) for player in players for _ in places[player.assets]], device),
        asset_M=torch.tensor(asset_M, device=device),
        counts=[len(places[player.assets]) for player in players],
        one_each=asset_M == list(places),
        classes=Classes(class_N, class_N.bincount()),
        caps=Limits(params.risk.max_position, params.risk.max_class, params.risk.max_gross),
        sizing=Sizing(params.sizing == "shares", per_asset(trader.size for trader in first)),
        start_N=_start_N(per_asset(trader.start for trader in first), players),
        costs=Costs(
            flat_N=per_asset((cost.spread_bps / 2 + cost.commission_bps) * 1e-4 for cost in costs),
            per_share_N=per_asset(cost.per_share for cost in costs) if any(cost.per_share for cost in costs) else None,
            temporary_NN=temporary_NN,
        ),
        fees=Fees(per_asset(cost.commission_bps * 1e-4 for cost in costs), per_asset(cost.per_share for cost in costs)),
        permanent_NN=permanent_NN,
        borrow_N=per_asset(cost.borrow_rate for cost in costs),
        lowest_N=per_asset(roster.lowest(name, params) for name in listing.classes),
    )


def _feed(params: MarketParams, device: str) -> Feed:
    if params.data.simulation is not None:
        return SimulatedFeed(params.data.simulation, params, device)
    panel = roster.prices(params.data)
    window = roster.window_bars(params, panel)
    # An asset that lists after the window would be counted in its class before anybody could know of it.
    return PanelFeed(panel.until(window[1]), window, params, device)


def _start_N(start_N: Tensor, players: tuple[Trader, ...]) -> Tensor:
    for player in players:
        if player.params.start < player.lowest:
            raise DataError(
                f"traders.{player.name}.start: {player.params.start:g} is short, and its class may not be; "
                "see risk.shorting"
            )
    return start_N
