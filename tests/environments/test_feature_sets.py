"""The sets of features: laws that each of them keeps, and numbers worked by hand."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import numpy.typing as npt
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from environments.market.features.sets import ALL, COLUMNS, SETS, Features, extra, feature
from environments.market.features.table import asset_features, members
from tests.environments.economies import GAP, MEMBERS, economy, panel_of, with_another_future

HERE = "tests.environments.economies"
EVERY: Features = {**ALL, "extra_carry": extra("carry"), f"{HERE}:GAP": GAP, f"{HERE}:gap": feature(f"{HERE}:gap")}
DAYS, CUT = 420, 385

Column = npt.NDArray[np.float64]


def seen(table: pd.DataFrame, asset_class: str = "etf", warmup: int = 1) -> npt.NDArray[np.float32]:
    return asset_features(members(panel_of(table), asset_class), warmup, EVERY)[1]


# ---- laws


@settings(max_examples=8, deadline=None)
@given(seed=st.integers(0, 2**32 - 1), cut=st.integers(200, CUT))
def test_the_future_changes_no_feature_by_a_bit(seed: int, cut: int) -> None:
    table = economy(seed, DAYS)
    last = pd.Timestamp(table["date"].min()) + pd.Timedelta(days=cut)
    bars = int((table["date"].drop_duplicates() <= last).sum())
    whole = seen(table)
    for other in (table[table["date"] <= last], with_another_future(table, last, seed + 1)):
        np.testing.assert_array_equal(seen(other)[:bars], whole[:bars])


@settings(max_examples=12, deadline=None)
@given(seed=st.integers(0, 2**32 - 1), bar=st.integers(0, 10**6), wick=st.floats(1e-6, 1e6))
def test_a_feature_is_finite_and_within_its_range_whatever_a_bar_does(seed: int, bar: int, wick: float) -> None:
    table = economy(seed, 330)
    numbers = [name for name in table.columns if table[name].dtype == float]
    table.loc[bar % len(table), numbers] *= wick
    value_TNF = seen(table)
    assert np.isfinite(value_TNF).all()
    for f, (name, found) in enumerate(EVERY.items()):
        assert value_TNF[..., f].min() >= found.low, name
        assert value_TNF[..., f].max() <= found.high, name


@settings(max_examples=8, deadline=None)
@given(seed=st.integers(0, 2**32 - 1), size=st.floats(1e-6, 1e6))
def test_no_feature_knows_in_which_unit_prices_are(seed: int, size: float) -> None:
    table = economy(seed, 330)
    prices = ["open", "high", "low", "close"]
    other = table.assign(**{name: table[name] * size for name in prices})
    np.testing.assert_allclose(seen(other), seen(table), rtol=1e-4, atol=1e-4)


def test_every_feature_moves() -> None:
    value_TNF = seen(economy(5, DAYS))[-60:]
    still = [name for f, name in enumerate(EVERY) if np.ptp(value_TNF[..., f]) < 1e-3]
    assert still == []


def test_flat_prices_are_no_news() -> None:
    table = economy(1, 330)
    table[["open", "high", "low", "close"]], table[list(COLUMNS)] = 5.0, 0.03
    assert np.isfinite(seen(table)).all()


# ---- numbers worked by hand


@pytest.fixture(scope="module")
def table() -> pd.DataFrame:
    return economy(3, DAYS)


@pytest.fixture(scope="module")
def shown(table: pd.DataFrame) -> Mapping[str, float]:
    """Every feature of M1 on its last bar."""
    panel = members(panel_of(table), "etf")
    bar = np.flatnonzero(panel.traded_TN[:, 1])[-1]
    names, value_TNF = asset_features(panel, 1, EVERY)
    return dict(zip(names, value_TNF[bar, 1].tolist(), strict=True))


@pytest.fixture(scope="module")
def bars(table: pd.DataFrame) -> Mapping[str, Column]:
    """The bars of M1 and, of each extra column, what is known on them."""
    mine = table[table["symbol"] == "M1"]
    return {
        name: mine[name].ffill().to_numpy() for name in mine.columns if name not in ("date", "symbol", "asset_class")
    }


def assert_shown(shown: Mapping[str, float], set_name: str, expected: Mapping[str, float]) -> None:
    assert set(expected) == set(SETS[set_name])
    for name, value in expected.items():
        clipped = np.clip(value, ALL[name].low, ALL[name].high)
        assert shown[name] == pytest.approx(clipped, rel=1e-4, abs=1e-5), name


def v(returns: Column, window: int) -> float:
    return float(returns[-window:].std(ddof=1))


def test_momentum_by_hand(shown: Mapping[str, float], bars: Mapping[str, Column]) -> None:
    log = np.log(bars["close"])
    r = np.diff(log)
    expected = {
        "momentum_120": (log[-21] - log[-121]) / (v(r, 20) * 100**0.5),
        "momentum_250": (log[-21] - log[-251]) / (v(r, 20) * 230**0.5),
        "trend_60": r[-60:].sum() / np.abs(r[-60:]).sum(),
    }
    assert_shown(shown, "momentum", expected)


def test_mean_reversion_by_hand(shown: Mapping[str, float], bars: Mapping[str, Column]) -> None:
    log = np.log(bars["close"])
    r, five = np.diff(log), log[5:] - log[:-5]
    expected = {
        "price_score_20": (log[-1] - log[-20:].mean()) / log[-20:].std(ddof=1),
        "price_score_60": (log[-1] - log[-60:].mean()) / log[-60:].std(ddof=1),
        "autocorrelation_60": (r[-60:] * r[-61:-1]).sum() / (r[-60:] ** 2).sum(),
        "variance_ratio_60": np.log((five[-60:] ** 2).mean() / (5 * (r[-60:] ** 2).mean())),
    }
    assert_shown(shown, "mean_reversion", expected)


def test_realised_volatility_by_hand(shown: Mapping[str, float], bars: Mapping[str, Column]) -> None:
    r = np.diff(np.log(bars["close"]))
    v5 = np.log([r[b - 5 : b].std(ddof=1) for b in range(len(r) - 59, len(r) + 1)])
    reach = np.log(bars["high"] / bars["low"])[-20:]
    last = r[-20:]
    expected = {
        "realised_volatility_5": np.log(v(r, 5) / 0.01),
        "realised_volatility_60": np.log(v(r, 60) / 0.01),
        "volatility_score_60": (v5[-1] - v5.mean()) / v5.std(ddof=1),
        "volatility_of_volatility_60": v5.std(ddof=1),
        "range_volatility_20": np.log(np.sqrt((reach**2).mean() / (4 * np.log(2))) / v(r, 20)),
        "downside_share_20": (last[last < 0] ** 2).sum() / (last**2).sum(),
        "jump_share_20": 1 - np.pi / 2 * np.abs(last * r[-21:-1]).sum() / (last**2).sum(),
    }
    assert_shown(shown, "realised_volatility", expected)


def test_sector_rotation_by_hand(shown: Mapping[str, float], table: pd.DataFrame) -> None:
    last = table.loc[table["symbol"] == "M1", "date"].max()
    known = table[(table["date"] <= last) & (table["symbol"] != "COIN")]
    logs = [np.log(rows["close"].to_numpy()) for _, rows in known.groupby("symbol")]
    expected = {}
    for span in (20, 60, 120):
        change = np.array([log[-1] - log[-1 - span] for log in logs])
        below, above = (change < change[1]).sum(), (change > change[1]).sum()
        expected[f"relative_rank_{span}"] = (below - above) / (MEMBERS - 1)
        expected[f"relative_score_{span}"] = (change[1] - change.mean()) / change.std()
    assert_shown(shown, "sector_rotation", expected)


def test_carry_and_economy_by_hand(shown: Mapping[str, float], bars: Mapping[str, Column], table: pd.DataFrame) -> None:
    carry, rates = bars["carry"], bars["rate_differential"]
    known = table[(table["date"] <= table.loc[table["symbol"] == "M1", "date"].max()) & (table["symbol"] != "COIN")]
    others = np.array([rows["carry"].ffill().iloc[-1] for _, rows in known.groupby("symbol")])
    r = np.diff(np.log(bars["close"]))
    expected = {
        "carry_level": carry[-1] / 0.05,
        "carry_change_60": (carry[-1] - carry[-61]) / 0.01,
        "carry_to_risk": carry[-1] / (v(r, 20) * 252**0.5),
        "carry_rank": ((others < others[1]).sum() - (others > others[1]).sum()) / (MEMBERS - 1),
    }
    assert_shown(shown, "carry", expected)
    expected = {
        "rate_differential_level": rates[-1] / 0.05,
        "rate_differential_change_60": (rates[-1] - rates[-61]) / 0.01,
        "real_rate_differential": (rates[-1] - bars["inflation_differential"][-1]) / 0.05,
        "growth_differential_level": bars["growth_differential"][-1] / 0.05,
    }
    assert_shown(shown, "economic", expected)


def test_rates_and_yields_by_hand(shown: Mapping[str, float], bars: Mapping[str, Column]) -> None:
    bond, spread = bars["bond_yield"], bars["dividend_yield"] - bars["bond_yield"]
    r, y = np.diff(np.log(bars["close"]))[-60:], np.diff(bond)[-60:]
    expected = {
        "rate_beta_60": np.cov(r, y)[0, 1] / np.var(y, ddof=1) / 10,
        "rate_correlation_60": np.corrcoef(r, y)[0, 1],
        "rate_change_20": (bond[-1] - bond[-21]) / 0.01,
    }
    assert_shown(shown, "rate_sensitivity", expected)
    expected = {
        "yield_spread": spread[-1] / 0.05,
        "yield_spread_score": (spread[-1] - np.nanmean(spread)) / np.nanstd(spread, ddof=1),
    }
    assert_shown(shown, "yields", expected)


def test_drawdowns_by_hand(shown: Mapping[str, float], bars: Mapping[str, Column]) -> None:
    log, high = np.log(bars["close"]), np.log(bars["high"])
    expected = {
        "drawdown_250": (log[-1] - high[-250:].max()) / (v(np.diff(log), 20) * 250**0.5),
        "drawdown_length_250": (250 - high[-251:].argmax()) / 250,
    }
    assert_shown(shown, "drawdowns", expected)


def smoothed(value: Column, start: float, weight: float) -> Column:
    """An exponential mean, from a first value on."""
    found = [start]
    for x in value:
        found.append(found[-1] + weight * (x - found[-1]))
    return np.array(found)


def test_technical_indicators_by_hand(shown: Mapping[str, float], bars: Mapping[str, Column]) -> None:
    """Wilder (1978) smooths with 1/14; what a recursion began with has faded after these bars."""
    high, low, close = bars["high"], bars["low"], bars["close"]
    reach = np.maximum(high[1:], close[:-1]) - np.minimum(low[1:], close[:-1])
    up, down = np.diff(high), -np.diff(low)
    atr = smoothed(reach, reach[0], 1 / 14)[1:]
    plus = smoothed(np.where((up > down) & (up > 0), up, 0.0), 0.0, 1 / 14)[1:] / atr
    minus = smoothed(np.where((down > up) & (down > 0), down, 0.0), 0.0, 1 / 14)[1:] / atr
    directional = (plus - minus) / (plus + minus)
    macd = smoothed(close, close[0], 2 / 13) - smoothed(close, close[0], 2 / 27)
    lowest, highest = low[-14:].min(), high[-14:].max()
    expected = {
        "macd": (macd[-1] - smoothed(macd, 0.0, 2 / 10)[-1]) / atr[-1],
        "atr": np.log(atr[-1] / close[-1] / 0.01),
        "adx": smoothed(np.abs(directional[20:]), 0.3, 1 / 14)[-1],
        "directional_movement": directional[-1],
        "stochastic": (2 * close[-1] - lowest - highest) / (highest - lowest),
        "bollinger": (close[-1] - close[-20:].mean()) / (2 * close[-20:].std()),
        "aroon": (high[-26:].argmax() - low[-26:].argmin()) / 25,
    }
    assert_shown(shown, "technical", expected)
