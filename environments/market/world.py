"""What never changes while a market is stepped: the data, who trades it, and at what cost."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import torch
from torch import Tensor

from environments.market import roster
from environments.market.config import MarketParams
from environments.market.panel import Panel
from environments.market.risk import Classes, Limits
from environments.market.roster import Trader
from environments.market.signals import Dialect, dialect
from environments.market.tables import Tables, build


@dataclass(frozen=True)
class World:
    """The constants of a market.

    Attributes:
        params: As given.
        panel: The data.
        tables: What steps need of the data.
        window: First and last bar that an episode may touch.
        traders: The groups of traders.
        desks: For each class, the places of its traders in ``traders``.
        dialect: How the actions of all agents are read, M columns, one trader after the other.
        asset_M: int64, the asset of each agent.
        sizes: Agents of each trader.
        one_each: Each asset has one agent, and they stand in the order of the assets.
        classes: Which asset is of which class.
        caps: On targets.
        flat_N: float64, half the spread and the commission, per unit of value traded.
        borrow_N: float64, per year.
        lowest_N: float64, the lowest signal.
    """

    params: MarketParams
    panel: Panel
    tables: Tables
    window: tuple[int, int]
    traders: tuple[Trader, ...]
    desks: tuple[tuple[int, ...], ...]
    dialect: Dialect
    asset_M: Tensor
    sizes: list[int]
    one_each: bool
    classes: Classes
    caps: Limits
    flat_N: Tensor
    borrow_N: Tensor
    lowest_N: Tensor


def build_world(params: MarketParams, device: str) -> World:
    """Reads or generates the data and holds the parameters against it.

    Raises:
        DataError: The data cannot be used, or does not go with the parameters.
    """
    panel = roster.prices(params.data)
    window, players = roster.window_bars(params, panel), roster.traders(params, panel)
    class_N = torch.from_numpy(panel.class_N).to(device)

    def per_asset(per_class: Iterable[float]) -> Tensor:
        return torch.tensor(list(per_class), dtype=torch.float64, device=device)[class_N]

    places = range(len(panel.symbols))
    asset_M = [asset for player in players for asset in places[player.assets]]
    costs = [params.cost(name) for name in panel.classes]
    return World(
        params=params,
        panel=panel,
        tables=build(panel, params, device),
        window=window,
        traders=players,
        desks=tuple(
            tuple(j for j, player in enumerate(players) if player.asset_class == name) for name in panel.classes
        ),
        dialect=dialect([(player.kind, player.lowest) for player in players for _ in places[player.assets]], device),
        asset_M=torch.tensor(asset_M, device=device),
        sizes=[len(places[player.assets]) for player in players],
        one_each=asset_M == list(places),
        classes=Classes(class_N, class_N.bincount().cumsum(0) - 1),
        caps=Limits(params.risk.max_position, params.risk.max_class, params.risk.max_gross),
        flat_N=per_asset((cost.spread_bps / 2 + cost.commission_bps) * 1e-4 for cost in costs),
        borrow_N=per_asset(cost.borrow_rate for cost in costs),
        lowest_N=per_asset(roster.lowest(name, params) for name in panel.classes),
    )
