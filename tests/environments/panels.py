"""Tables of prices for tests: ragged like real ones, and the same with another future."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pandas as pd

SYMBOLS = {"AAA": "stocks", "BBB": "stocks", "COIN": "crypto", "EURUSD": "currencies", "ODD": "timber"}
REAL_PANEL = Path(
    os.environ.get(
        "WEALTHARENA_PANEL", Path(__file__).resolve().parents[2] / "../shared/data/panel_2015_2021h1.parquet"
    )
)


def random_rows(symbol: str, dates: pd.DatetimeIndex, rng: np.random.Generator, start: float = 100.0) -> pd.DataFrame:
    """A random walk with consistent bars; now and then a flat bar without volume."""
    close = start * np.exp(np.cumsum(0.02 * rng.standard_t(3, len(dates))))
    open_ = close * np.exp(0.005 * rng.standard_normal(len(dates)))
    flat = rng.random(len(dates)) < 0.05
    open_[flat] = close[flat]
    wick = np.where(flat, 0.0, 0.01 * rng.random((2, len(dates))))
    return pd.DataFrame(
        {
            "date": dates,
            "symbol": symbol,
            "asset_class": SYMBOLS[symbol],
            "open": open_,
            "high": np.maximum(open_, close) * (1 + wick[0]),
            "low": np.minimum(open_, close) * (1 - wick[1]),
            "close": close,
            "volume": np.where(flat, 0.0, rng.lognormal(10, 1, len(dates))),
            "sentiment": np.where(rng.random(len(dates)) < 0.2, np.nan, rng.standard_normal(len(dates))),
        }
    )


def ragged_frame(seed: int, days: int = 120) -> pd.DataFrame:
    """Five assets in four classes: one trades daily, the others on weekdays, with gaps; each starts within 15 days."""
    rng = np.random.default_rng(seed)
    day = pd.date_range("2020-01-01", periods=days)
    frames = []
    for symbol in SYMBOLS:
        kept = (rng.random(days) < 0.9) & (np.arange(days) >= rng.integers(0, 15))
        dates = day[kept if symbol == "COIN" else kept & (day.day_of_week < 5)]
        frames.append(random_rows(symbol, dates, rng))
    return pd.concat(frames, ignore_index=True)


def other_future(frame: pd.DataFrame, last: pd.Timestamp, seed: int) -> pd.DataFrame:
    """The same rows up to ``last``; after it other prices, and some rows gone."""
    rng = np.random.default_rng(seed)
    past = frame[frame["date"] <= last]
    future = frame[(frame["date"] > last) & (rng.random(len(frame)) < 0.7)]
    redrawn = [
        random_rows(str(symbol), pd.DatetimeIndex(rows["date"]), rng, start=float(rng.lognormal(3, 3)))
        for symbol, rows in future.groupby("symbol")
    ]
    return pd.concat([past, *redrawn], ignore_index=True)
