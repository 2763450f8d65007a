from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from environments.market import history
from environments.market.panel import Panel, panel_from_frame
from tests.environments.panels import other_future, ragged_frame


def one_asset(days: list[int], close: list[float], volume: float = 10.0) -> Panel:
    """An asset that trades on the given days of January 2020, beside one that trades on each of the 31."""
    rows = [(f"2020-01-{day:02d}", "AAA", "stocks", price, volume) for day, price in zip(days, close, strict=True)]
    rows += [(f"2020-01-{day:02d}", "COIN", "crypto", 1.0, 1.0) for day in range(1, 32)]
    frame = pd.DataFrame(rows, columns=["date", "symbol", "asset_class", "close", "volume"])
    return panel_from_frame(frame.assign(open=frame.close, high=frame.close, low=frame.close), origin="here")


def test_age_and_idleness_by_hand() -> None:
    panel = one_asset([3, 4, 7], [1.0, 1.0, 1.0])
    assert history.age_TN(panel)[:8, 0].tolist() == [0, 0, 1, 2, 2, 2, 3, 3]
    assert history.idle_TN(panel)[:8, 0].tolist() == [1, 2, 0, 0, 1, 2, 0, 1]


def test_an_asset_is_listed_after_its_warmup_and_settled_once_when_it_falls_silent() -> None:
    panel = one_asset([3, 4, 7, 20], [1.0, 1.0, 1.0, 1.0])
    listed = history.listed_TN(panel, warmup=2, stale_after=5)[:, 0]
    # Days 4 to 11 (the fifth bar without one is the 12th), and again from the 20th to the 24th.
    assert (np.flatnonzero(listed) + 1).tolist() == [*range(4, 12), *range(20, 25)]
    settled = history.settle_TN(panel, stale_after=5)[:, 0]
    assert (np.flatnonzero(settled) + 1).tolist() == [12, 25]
    assert not history.listed_TN(panel, warmup=0, stale_after=5)[0, 0], "an asset without a bar is never listed"


def test_volatility_and_traded_value_by_hand() -> None:
    panel = one_asset([1, 3, 4, 5], [1.0, np.e, 1.0, np.e], volume=3.0)
    vol = history.vol_TN(panel, window=3)[:6, 0]
    two, three = np.std([1, -1], ddof=1), np.std([1, -1, 1], ddof=1)
    np.testing.assert_allclose(vol, [0, 0, 0, two, three, three], rtol=1e-12)
    adv = history.adv_TN(panel, window=2)[:6, 0]
    np.testing.assert_allclose(
        adv, 3 * np.array([1, 1, (1 + np.e) / 2, (1 + np.e) / 2, (1 + np.e) / 2, (1 + np.e) / 2])
    )


def test_year_fraction_counts_calendar_days() -> None:
    frame = ragged_frame(0)
    panel = panel_from_frame(frame[frame["symbol"] == "AAA"], origin="here")
    days_T = np.diff(panel.dates_T).astype("timedelta64[D]").astype(int)
    assert days_T.max() >= 3
    np.testing.assert_allclose(history.year_fraction_T(panel), np.append(days_T, 0) / 365)


def known(panel: Panel) -> dict[str, np.ndarray]:
    return {
        "age": history.age_TN(panel),
        "idle": history.idle_TN(panel),
        "listed": history.listed_TN(panel, 5, 4),
        "settle": history.settle_TN(panel, 4),
        "vol": history.vol_TN(panel),
        "adv": history.adv_TN(panel),
    }


@settings(max_examples=25, deadline=None)
@given(seed=st.integers(0, 2**32 - 1), cut=st.integers(20, 80))
def test_the_future_changes_nothing_that_is_known(seed: int, cut: int) -> None:
    frame = ragged_frame(seed)
    whole = panel_from_frame(frame, origin="whole")
    last = pd.Timestamp(whole.dates_T[cut])
    for future in (frame[frame["date"] <= last], other_future(frame, last, seed + 1)):
        other = panel_from_frame(future, origin="other")
        for name, value in known(whole).items():
            np.testing.assert_array_equal(known(other)[name][: cut + 1], value[: cut + 1], err_msg=name)
        np.testing.assert_array_equal(history.year_fraction_T(other)[:cut], history.year_fraction_T(whole)[:cut])


@settings(max_examples=25, deadline=None)
@given(seed=st.integers(0, 2**32 - 1), stale_after=st.integers(1, 6))
def test_whoever_leaves_the_list_is_settled_at_that_bar(seed: int, stale_after: int) -> None:
    panel = panel_from_frame(ragged_frame(seed), origin="here")
    listed = history.listed_TN(panel, 1, stale_after)
    settled = history.settle_TN(panel, stale_after)
    np.testing.assert_array_equal(settled[1:], listed[:-1] & ~listed[1:])
    assert not settled[0].any()


@pytest.mark.parametrize(("bar", "silent"), [("1h", 100), ("30D", 3)])
def test_nights_between_minutes_and_gaps_between_months_are_no_farewell(bar: str, silent: int) -> None:
    """A share that sleeps while crypto has a bar each hour is still there, and so is one with a bar each month."""
    dates = pd.date_range("2021-01-01", periods=300, freq=bar)
    frames = [bars_of("COIN", "crypto", dates), bars_of("AAA", "stocks", dates[:: silent + 1])]
    panel = panel_from_frame(pd.concat(frames), origin="test")
    assert not history.settle_TN(panel).any()
    assert history.listed_TN(panel, warmup=1)[silent:].all()


def bars_of(symbol: str, asset_class: str, dates: pd.DatetimeIndex) -> pd.DataFrame:
    prices = dict.fromkeys(["open", "high", "low", "close"], 1.0)
    return pd.DataFrame({"date": dates, "symbol": symbol, "asset_class": asset_class, **prices, "volume": 1.0})
