"""What is known of each asset at the close of bar t, from bars up to t alone.

Windows run over an asset's own bars, so that a share's 20 days are 20 sessions, whatever crypto did at the weekend.
"""

from __future__ import annotations

import numpy as np
import pandas as pd

from environments.market.alignment import Bools, Floats, Ints, on_calendar, own_bars
from environments.market.panel import Panel

WINDOW = 20  # own bars: one month of sessions
STALE_AFTER = 20  # bars of the union, and days, without an own bar after which an asset counts as gone
DAYS_PER_YEAR = 365.0


def age_TN(panel: Panel) -> Ints:
    """Own bars each asset has had up to and including bar t: int64 (T, N), 0 before its first."""
    return panel.traded_TN.cumsum(axis=0, dtype=np.int64)


def _last_TN(panel: Panel) -> Ints:
    """The bar of each asset's last own bar up to t: int64 (T, N), -1 before its first."""
    bar_T1 = np.arange(len(panel.dates_T), dtype=np.int64)[:, None]
    return np.maximum.accumulate(np.where(panel.traded_TN, bar_T1, -1), axis=0)


def idle_TN(panel: Panel) -> Ints:
    """Bars of the union since the asset's last own bar: int64 (T, N), 0 on an own bar.

    Before its first own bar it is t + 1, as though the last had been just before the panel begins.
    """
    return np.arange(len(panel.dates_T), dtype=np.int64)[:, None] - _last_TN(panel)


def gone_TN(panel: Panel, stale_after: int = STALE_AFTER) -> Bools:
    """Assets that count as gone at bar t: bool (T, N).

    No own bar for at least ``stale_after`` bars of the union *and* as many days: bars alone would take a share for gone
    overnight where crypto has a bar each minute, and days alone would take everything for gone between monthly bars.
    """
    silent_TN = panel.dates_T[:, None] - panel.dates_T[np.maximum(_last_TN(panel), 0)]
    return (idle_TN(panel) >= stale_after) & (silent_TN >= np.timedelta64(stale_after, "D"))


def listed_TN(panel: Panel, warmup: int, stale_after: int = STALE_AFTER) -> Bools:
    """Assets that may be held at bar t: bool (T, N).

    An asset is listed from its own bar number ``warmup`` on (counted from 1) until it is gone (see ``gone_TN``). It is
    listed again if it comes back.
    """
    return (age_TN(panel) >= max(warmup, 1)) & ~gone_TN(panel, stale_after)


def settle_TN(panel: Panel, stale_after: int = STALE_AFTER) -> Bools:
    """True at the one bar where a silent asset is closed out, the first at which it is gone: bool (T, N).

    From that bar on it is not listed; an asset that comes back and falls silent again settles again.
    """
    gone = gone_TN(panel, stale_after) & (age_TN(panel) > 0)
    before = np.zeros_like(gone)
    before[1:] = gone[:-1]
    return gone & ~before


def vol_TN(panel: Panel, window: int = WINDOW) -> Floats:
    """Volatility per own bar: the standard deviation of the last ``window`` log returns close to close.

    float64 (T, N). It uses as many returns as there are, from two on; 0 before. On bars it lacks: the last known.
    """
    log_close_BN = np.log(own_bars(panel.close_TN, panel.traded_TN))
    return_BN = np.diff(log_close_BN, axis=0, prepend=np.nan)
    own_BN = pd.DataFrame(return_BN).rolling(window, min_periods=2).std().fillna(0.0).to_numpy()
    return on_calendar(own_BN, age_TN(panel), before=0.0)


def adv_TN(panel: Panel, window: int = WINDOW) -> Floats:
    """Average traded value per own bar, close x volume, over the last ``window``: in the asset's own quote.

    float64 (T, N). It uses as many bars as there are; 0 before the first, and where nothing was traded.
    """
    value_BN = own_bars(panel.close_TN * panel.volume_TN, panel.traded_TN)
    own_BN = pd.DataFrame(value_BN).rolling(window, min_periods=1).mean().fillna(0.0).to_numpy()
    return on_calendar(own_BN, age_TN(panel), before=0.0)


def year_fraction_T(panel: Panel) -> Floats:
    """Calendar time from bar t to bar t + 1 in years of 365 days, for interest: float64 (T,), 0 at the last bar.

    The one thing here that looks a bar ahead, and only at the calendar: it belongs to the step from t to t + 1.
    """
    seconds_T = np.diff(panel.dates_T, append=panel.dates_T[-1:]).astype("timedelta64[s]").astype(np.float64)
    return seconds_T / (DAYS_PER_YEAR * 86_400.0)
