"""A feature: its formula for people, and for the machine; and the bars of assets that features of traders read.

A feature is computed over a series' own bars, and stands at its last value on bars the series lacks. It is 0 where
history is missing. Returns and distances are measured in v20, the standard deviation of the last 20 returns, so that a
quiet currency and a wild coin look alike and one policy can trade both.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Generic, TypeVar

import numpy as np

from environments.market.alignment import Bools, Floats, Ints, on_calendar, own_bars
from environments.market.panel import Panel
from environments.market.series import Series

CLIP = 4.0  # a wick of many standard deviations is a large number, not a broken network
DEVIATIONS = "standard deviations"
POWERS = "powers of e"

SeriesT_contra = TypeVar("SeriesT_contra", bound=Series, contravariant=True)


@dataclass(frozen=True)
class Feature(Generic[SeriesT_contra]):
    """One feature.

    Attributes:
        formula: How it is computed, per own bar.
        unit: What 1 means.
        low: Its smallest value; what is smaller is clipped.
        high: Its largest value; what is larger is clipped.
        compute: Own bars -> float64 (B, S), NaN where history is missing.
        columns: The extra columns of the panel that it reads.
    """

    formula: str
    unit: str
    low: float
    high: float
    compute: Callable[[SeriesT_contra], Floats]
    columns: tuple[str, ...] = ()

    def on_calendar(self, own: SeriesT_contra, age_TS: Ints) -> Floats:
        """The feature at every bar of the union calendar: float64 (T, S) in [low, high], 0 where history is missing."""
        value_BS = np.nan_to_num(np.clip(self.compute(own), self.low, self.high), nan=0.0)
        return on_calendar(value_BS, age_TS, before=0.0)


@dataclass(frozen=True)
class AssetBars(Series):
    """Own bars of assets.

    Attributes:
        open_BS: float64 (B, S), logarithm of the open.
        volume_BS: float64 (B, S), log(1 + volume).
        columns: name -> float64 (B, S), the extra columns of the panel as they are, NaN where not known.
        traded_TS: bool (T, S), which bars of the union calendar are own bars.
        listed_TS: bool (T, S), which assets may be held there.
    """

    open_BS: Floats
    volume_BS: Floats
    columns: Mapping[str, Floats]
    traded_TS: Bools
    listed_TS: Bools

    def among_listed(self, value_BS: Floats, compare: Callable[[Floats], Floats]) -> Floats:
        """What a value says beside those of the other assets, all at the close of an own bar: float64 (B, S).

        Args:
            value_BS: Of each asset on its own bars.
            compare: From the last values known, float64 (T, S), NaN where an asset is not listed or has none, to as
                many numbers, row by row.
        """
        value_TS = on_calendar(value_BS, self.traded_TS.cumsum(axis=0, dtype=np.int64), before=np.nan)
        return own_bars(compare(np.where(self.listed_TS, value_TS, np.nan)), self.traded_TS)


def asset_bars(panel: Panel, listed_TN: Bools) -> AssetBars:
    """The own bars of all assets of a panel."""

    def log_own(value_TN: Floats) -> Floats:
        return np.log(own_bars(value_TN, panel.traded_TN))

    return AssetBars(
        close_BS=log_own(panel.close_TN),
        high_BS=log_own(panel.high_TN),
        low_BS=log_own(panel.low_TN),
        open_BS=log_own(panel.open_TN),
        volume_BS=log_own(1.0 + panel.volume_TN),
        columns={name: own_bars(value_TN, panel.traded_TN) for name, value_TN in panel.extras.items()},
        traded_TS=panel.traded_TN,
        listed_TS=listed_TN,
    )
