"""The parameters against the data: who trades what, what it costs, and which bars are played."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import date

import numpy as np

from environments.errors import DataError
from environments.market.config import MarketParams
from environments.market.config_data import DataParams
from environments.market.config_traders import Action, TraderParams
from environments.market.feed import Listing
from environments.market.panel import Panel, load_panel
from environments.market.synthetic import generate

SLACK = np.timedelta64(7, "D")  # a window may begin or end in the holidays around the data


@dataclass(frozen=True)
class Trader:
    """One group of traders.

    Attributes:
        name: Of the group.
        params: What it trades, and how.
        assets: The assets of its class, side by side.
        lowest: Its lowest signal: -1, or 0 where its class may not be short.
    """

    name: str
    params: TraderParams
    assets: slice
    lowest: float

    @property
    def asset_class(self) -> str:
        """The class that it trades."""
        return self.params.asset_class

    @property
    def kind(self) -> Action:
        """The kind of its actions."""
        return self.params.kind

    @property
    def makes_markets(self) -> bool:
        """Whether it quotes, beside those who give a signal."""
        return self.params.makes_markets


def prices(data: DataParams) -> Panel:
    """Reads the file or runs the generator.

    Raises:
        DataError: The file cannot be used.
    """
    if data.path is not None:
        return load_panel(data.path)
    assert data.synthetic is not None  # a simulation has no panel, and DataParams takes exactly one of the three
    return generate(data.synthetic)


def traders(params: MarketParams, listing: Listing) -> tuple[Trader, ...]:
    """Who trades what, in the order of the parameters.

    Raises:
        DataError: A class is named that the data lacks, or the data has a class nobody trades.
    """
    for group, what in params.above.items():
        if params.traders is None and group in listing.classes:
            raise DataError(
                f"data: a class is called {group!r}, as the group of the {what} is; rename it in asset_class, "
                "or name its group in traders"
            )
    given = params.traders or {name: TraderParams(asset_class=name) for name in listing.classes}
    covered = [trader.asset_class for trader in given.values()]
    for where, names in (("traders", covered), ("costs", params.costs), ("risk.shorting", params.risk.shorting or ())):
        _check_known(where, names, listing)
    idle = [name for name in listing.classes if name not in covered]
    if idle:
        raise DataError(
            f"traders: nobody trades class {', '.join(idle)} of the data; add a trader with that asset_class, "
            "or take its symbols out of the data"
        )
    _check_together(given)
    return tuple(
        Trader(name, trader, assets_of(trader.asset_class, listing), lowest(trader.asset_class, params))
        for name, trader in given.items()
    )


def _check_together(given: Mapping[str, TraderParams]) -> None:
    """Traders of one class speak about the same positions."""
    first: dict[str, tuple[str, TraderParams]] = {}
    for name, trader in given.items():
        if trader.makes_markets:
            continue
        other_name, other = first.setdefault(trader.asset_class, (name, trader))
        if other_name != name and "quotes" in (trader.kind, other.kind):
            raise DataError(
                f"traders: {other_name} and {name} trade one class, and one of them quotes; let it be alone"
            )
        if (other.size, other.start) != (trader.size, trader.start):
            raise DataError(f"traders: {other_name} and {name} trade one class; give them the same size and start")


def assets_of(asset_class: str, listing: Listing) -> slice:
    """The assets of a class: they lie side by side."""
    first, stop = np.searchsorted(listing.class_N, listing.classes.index(asset_class) + np.array([0, 1]))
    return slice(int(first), int(stop))


def lowest(asset_class: str, params: MarketParams) -> float:
    """The lowest signal of a class: 0 where it may not be short, otherwise -1."""
    shorting = params.risk.shorting
    return -1.0 if shorting is None or asset_class in shorting else 0.0


def window_bars(params: MarketParams, panel: Panel) -> tuple[int, int]:
    """The first and the last bar of the window, both played.

    Raises:
        DataError: The window reaches beyond the data, is empty, or is too short for horizon or warmup.
    """
    first, last = _bars_between(params, panel)
    if params.horizon is not None and params.horizon > last - first:
        raise DataError(
            f"horizon: {params.horizon} steps do not fit into a window of {last - first + 1} bars "
            f"({_day(panel, first)} to {_day(panel, last)}); shorten horizon or widen window"
        )
    own_N = panel.traded_TN[:last].sum(axis=0)
    if own_N.max() < params.warmup:
        raise DataError(
            f"warmup: no asset has {params.warmup} own bars before the end of the window ({_day(panel, last)}), "
            f"at most {own_N.max()}; nobody would ever act: lower warmup or move the window"
        )
    own_C = [int(own_N[assets_of(name, panel)].max()) for name in panel.classes]
    if silent := [name for name, own in zip(panel.classes, own_C, strict=True) if own < params.warmup]:
        raise DataError(
            f"warmup: no asset of class {', '.join(silent)} has {params.warmup} own bars before the end of the window "
            f"({_day(panel, last)}), so that its agents would never act: move the window, lower warmup, or take the "
            "class out of the data"
        )
    return first, last


def _bars_between(params: MarketParams, panel: Panel) -> tuple[int, int]:
    days_T = panel.dates_T.astype("datetime64[D]")
    start, end = _edge(params.window.start, days_T[0]), _edge(params.window.end, days_T[-1])
    span = f"the data runs from {days_T[0]} to {days_T[-1]}"
    if start < days_T[0] - SLACK or end > days_T[-1] + SLACK:
        raise DataError(f"window: {start} to {end} reaches beyond the data; {span}: set window.start and window.end")
    first = int(np.searchsorted(days_T, start, side="left"))
    last = int(np.searchsorted(days_T, end, side="right")) - 1
    if last - first < 1:
        raise DataError(f"window: {start} to {end} holds {max(0, last - first + 1)} bars, 2 are needed; {span}")
    return first, last


def _edge(given: date | None, default: np.datetime64) -> np.datetime64:
    return default if given is None else np.datetime64(given, "D")


def _day(panel: Panel, bar: int) -> np.datetime64:
    return panel.dates_T[bar].astype("datetime64[D]")


def _check_known(where: str, names: Iterable[str], listing: Listing) -> None:
    for name in names:
        if name not in listing.classes:
            raise DataError(
                f"{where}: class {name!r} has no symbols in the data; its classes are {', '.join(listing.classes)}"
            )
