"""What never changes while a market is stepped: prices, who trades them, and at what cost."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from environments.errors import DataError
from environments.market import inventory, observations, roster
from environments.market.allocation import equal_budgets, fixed_budgets
from environments.market.config import MarketParams
from environments.market.config_coordination import Centralized, Decentralized, FixedBudgets
from environments.market.desks import Desk, Fuser, desks
from environments.market.execution import Costs
from environments.market.feed import Feed, Rows
from environments.market.impact import check_no_free_profit, matrix, narrowed
from environments.market.inventory import Makers
from environments.market.oversight import Oversight
from environments.market.panel_feed import PanelFeed
from environments.market.quotes import Fees
from environments.market.risk import Classes, Limits, classes_of
from environments.market.risk_forecast import forecast
from environments.market.risk_guard import Guard
from environments.market.roster import Trader
from environments.market.seats import Seat, seat
from environments.market.signals import Dialect, dialect
from environments.market.simulation import SimulatedFeed
from environments.market.sizing import Sizing
from environments.market.state import State
from environments.random import Seed, uniform

QUOTE_STREAM = 2
View = tuple[tuple[str, ...], tuple[str, ...]]


@dataclass(frozen=True)
class World:
    """The constants of a market.

    Attributes:
        params: As given.
        on_host: Tensors are the host's own memory. On another device it must wait for what it looks at, so that no step
            asks what its tensors hold, unless the actions of a group are left out.
        feed: Prices.
        traders: The groups of traders.
        seats: What each of them sees and is paid.
        desks: Who speaks about each class.
        fusers: Those of the desks that have one.
        dialect: How the actions of all agents are read, M columns, one trader after the other.
        clock_M: int64, steps from one decision of each agent to the next; None: all decide at every bar.
        makers: Who quotes on a panel; None: nobody.
        oversight: The risk manager's; None: there is none.
        asset_M: int64, the asset of each agent.
        counts: Columns of each trader.
        one_each: Each asset has one agent, and they stand in the order of the assets.
        attends: What traders say is remembered.
        half_life: Of the classes' performances; None: they do not matter.
        plainly_paid: And each is paid for its own sleeve, whatever risk it takes.
        classes: Which asset is of which class.
        caps: On targets.
        guard: All other limits; None: there are none.
        sizing: What signals mean.
        budget_K: float64, the budgets when an episode begins.
        start_N: float64, the signals held then.
        said_M: float64, what traders have said then; without columns where nobody asks.
        voice_M: float64, and how much they are heard.
        paid_N: float64, what each position is paid on, as a share of the portfolio; None: its sleeve.
        costs: Of trading at the open.
        fees: Of quotes that are filled.
        permanent: float64, price change per share bought, (N, N) or its diagonal; None: none.
        borrow_N: float64, per year.
        lowest_N: float64, the lowest signal.
        highest_N: float64, the highest: 1.
    """

    params: MarketParams
    on_host: bool
    feed: Feed
    traders: tuple[Trader, ...]
    seats: tuple[Seat, ...]
    desks: tuple[Desk, ...]
    fusers: tuple[Fuser, ...]
    dialect: Dialect
    clock_M: Tensor | None
    makers: Makers | None
    oversight: Oversight | None
    asset_M: Tensor
    counts: list[int]
    one_each: bool
    attends: bool
    half_life: float | None
    plainly_paid: bool
    classes: Classes
    caps: Limits
    guard: Guard | None
    sizing: Sizing
    budget_K: Tensor
    start_N: Tensor
    said_M: Tensor
    voice_M: Tensor
    paid_N: Tensor | None
    costs: Costs
    fees: Fees
    permanent: Tensor | None
    borrow_N: Tensor
    lowest_N: Tensor
    highest_N: Tensor

    def acts(self, step_E: Tensor) -> Tensor:
        """Whether there are new budgets after so many steps of an episode: bool (E, 1)."""
        return (step_E % self.params.budgets_every == 0).unsqueeze(1)

    def speak(self, step_E: Tensor) -> Tensor | None:
        """Whose turn it is after so many steps of an episode: bool (E, M); None: everybody's."""
        return None if self.clock_M is None else step_E.unsqueeze(1) % self.clock_M == 0

    @property
    def ranks(self) -> int:
        """How many classes have a performance: all or none."""
        return 0 if self.half_life is None else len(self.feed.listing.classes)

    def paid(self, sleeve_EN: Tensor) -> Tensor:
        """The sleeves that positions are paid on: those given, or equal ones where all are in one book.

        There a sleeve hangs on what everybody says: a trader would be paid less for more of what rises.
        """
        return sleeve_EN if self.paid_N is None else self.paid_N.expand_as(sleeve_EN)

    def rows(self, seed: Seed, state: State) -> Rows:
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
    signalling = sorted(players, key=lambda player: player.makes_markets)  # who only quotes comes last
    first = [next(player.params for player in signalling if player.asset_class == name) for name in listing.classes]
    one_each = asset_M == list(places)
    views = {name: observations.seen_of(name, feed, params) for name in listing.classes}
    teams = desks(params, players, listing, views, device)
    attends = not one_each or params.observes_coordination
    columns = asset_M if attends else []
    start_N = _start_N(per_asset(trader.start for trader in first), players)
    shared = params.shared_classes
    heard_M = [1.0 / len(shared.get(player.asset_class, "1")) for player in players for _ in places[player.assets]]
    size_N = per_asset(trader.size for trader in first)
    lowest_N = per_asset(roster.lowest(name, params) for name in listing.classes)
    sizing = Sizing(params.sizing == "shares", size_N, whole=bool((size_N == 1.0).all()))
    fees = Fees(per_asset(cost.commission_bps * 1e-4 for cost in costs), per_asset(cost.per_share for cost in costs))
    clocks = [player.params.clock for player in players for _ in places[player.assets]]
    makers = inventory.makers(players, fees)
    return World(
        params=params,
        on_host=torch.device(device).type == "cpu",
        feed=feed,
        traders=players,
        seats=tuple(seat(player, *_view(player, views), listing, device) for player in players),
        desks=teams,
        fusers=tuple(team.fuser for team in teams if team.fuser is not None),
        dialect=dialect([(player.params, player.lowest) for player in players for _ in places[player.assets]], device),
        clock_M=torch.tensor(clocks, device=device) if any(clock != 1 for clock in clocks) else None,
        makers=makers,
        oversight=None if params.risk_manager is None else Oversight(params.risk_manager),
        asset_M=torch.tensor(asset_M, device=device),
        counts=[len(places[player.assets]) for player in players],
        one_each=one_each,
        attends=attends,
        half_life=_half_life(params),
        plainly_paid=one_each and makers is None and all(player.params.paid_plainly for player in players),
        classes=classes_of(class_N),
        caps=Limits(
            params.risk.max_position, params.risk.max_class, params.risk.max_gross, params.risk.max_net or torch.inf
        ),
        guard=_guard(params, feed, sizing, device),
        sizing=sizing,
        budget_K=_budget_K(params, listing.classes).to(device),
        start_N=start_N,
        said_M=start_N[columns],
        voice_M=torch.tensor(heard_M if attends else [], dtype=torch.float64, device=device),
        paid_N=_paid_N(params, start_N),
        costs=Costs(
            flat_N=per_asset((cost.spread_bps / 2 + cost.commission_bps) * 1e-4 for cost in costs),
            per_share_N=per_asset(cost.per_share for cost in costs) if any(cost.per_share for cost in costs) else None,
            half_impact=None if temporary_NN is None else narrowed(temporary_NN / 2),
        ),
        fees=fees,
        permanent=narrowed(permanent_NN),
        borrow_N=per_asset(cost.borrow_rate for cost in costs),
        lowest_N=lowest_N,
        highest_N=torch.ones_like(lowest_N),
    )


def _view(player: Trader, views: Mapping[str, View]) -> View:
    """What a trader sees of each asset, and of its class as a whole; a market maker its inventory too."""
    own, shared = views[player.asset_class]
    return ((*own, inventory.FEATURE) if player.makes_markets else own), shared


def _feed(params: MarketParams, device: str) -> Feed:
    if params.data.simulation is not None:
        return SimulatedFeed(params.data.simulation, params, device)
    panel = roster.prices(params.data)
    window = roster.window_bars(params, panel)
    # An asset that lists after the window would be counted in its class before anybody could know of it.
    return PanelFeed(panel.until(window[1]), window, params, device)


def _guard(params: MarketParams, feed: Feed, sizing: Sizing, device: str) -> Guard | None:
    if not params.risk.guards:
        return None
    years = 0.0 if params.data.simulation is None else params.data.simulation.years
    return Guard(params.risk, forecast(feed, params.risk, years, device), sizing)


def _start_N(start_N: Tensor, players: tuple[Trader, ...]) -> Tensor:
    for player in players:
        if player.params.start < player.lowest:
            raise DataError(
                f"traders.{player.name}.start: {player.params.start:g} is short, and its class may not be; "
                "see risk.shorting"
            )
    return start_N


def _budget_K(params: MarketParams, classes: tuple[str, ...]) -> Tensor:
    """The budgets when an episode begins."""
    if not isinstance(params.coordination, Decentralized):
        return equal_budgets(len(classes), with_cash=params.allocator is not None)
    rule = params.coordination.budgets
    if wrong := rule.check(classes):
        raise DataError(wrong)
    if isinstance(rule, FixedBudgets):
        return fixed_budgets(rule.shares or dict.fromkeys(classes, 1.0 / len(classes)), classes)
    return fixed_budgets(dict.fromkeys(classes, (1.0 - rule.cash) / len(classes)), classes)


def _half_life(params: MarketParams) -> float | None:
    """Of the classes' performances, where somebody looks at them."""
    if params.coordination is None or not (params.coordination.observe or params.adaptive_budgets):
        return None
    return params.coordination.half_life


def _paid_N(params: MarketParams, like_N: Tensor) -> Tensor | None:
    if not isinstance(params.coordination, Centralized):
        return None
    return torch.full_like(like_N, params.coordination.gross / len(like_N))
