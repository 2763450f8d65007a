"""Panels with every extra column that features read, several assets in a class, and their futures changed."""

from __future__ import annotations

import numpy as np
import pandas as pd

from environments.market.alignment import Floats
from environments.market.features.base import AssetBars, Feature
from environments.market.features.sets import COLUMNS
from environments.market.panel import Panel, panel_from_frame
from environments.market.series import lagged
from tests.environments.panels import random_rows

MEMBERS = 4


def gap(own: AssetBars) -> Floats:
    """log(open / close before) / v20"""
    return own.scaled(own.open_BS - lagged(own.close_BS, 1), 1)


GAP = Feature("log(open / close before) / v20", "standard deviations", -1.0, 1.0, gap)


def looks_ahead(own: AssetBars) -> Floats:
    """Scaled on the whole sample."""
    return own.close_BS - np.nanmean(own.close_BS, axis=0)


def of_another_shape(own: AssetBars) -> Floats:
    """A row too few."""
    return own.close_BS[1:]


def fails(own: AssetBars) -> Floats:
    """Reads what is not there."""
    return own.columns["sunspots"]


def economy(
    seed: int, days: int, asset_class: str = "etf", *, columns: tuple[str, ...] = tuple(COLUMNS)
) -> pd.DataFrame:
    """Assets of one class that trade on weekdays, with gaps and late starts, and a coin that trades every day."""
    rng = np.random.default_rng(seed)
    day = pd.date_range("2020-01-01", periods=days)
    frames = []
    for number in range(MEMBERS):
        kept = (rng.random(days) < 0.95) & (np.arange(days) >= rng.integers(0, 15)) & (day.day_of_week < 5)
        frames.append(random_rows("AAA", day[kept], rng).assign(symbol=f"M{number}", asset_class=asset_class))
    frames.append(random_rows("COIN", day, rng))
    table = pd.concat(frames, ignore_index=True).drop(columns="sentiment")
    for column in columns:
        walk = 0.03 + 0.0005 * rng.standard_normal(len(table)).cumsum()
        table[column] = np.where(rng.random(len(table)) < 0.05, np.nan, walk)
    return table


def panel_of(table: pd.DataFrame) -> Panel:
    return panel_from_frame(table, origin="here")


def with_another_future(table: pd.DataFrame, cut: pd.Timestamp, seed: int) -> pd.DataFrame:
    """All numbers after a date are others, and some rows are gone."""
    rng = np.random.default_rng(seed)
    later = (table["date"] > cut).to_numpy()
    factor = np.where(later, rng.lognormal(0, 0.5, len(table)), 1.0)
    numbers = [name for name in table.columns if table[name].dtype == float]
    return table.assign(**{name: table[name] * factor for name in numbers})[~later | (rng.random(len(table)) < 0.8)]
