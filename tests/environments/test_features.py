from __future__ import annotations

import dataclasses

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from environments.market.features.base import CLIP
from environments.market.features.overview import CLASS_FEATURES, class_features
from environments.market.features.standard import FEATURES
from environments.market.features.table import asset_features
from environments.market.history import age_TN, listed_TN
from environments.market.panel import Panel, load_panel, panel_from_frame
from environments.market.synthetic import SyntheticParams, generate
from tests.environments.panels import REAL_PANEL, other_future, ragged_frame


@pytest.fixture(scope="module")
def panel() -> Panel:
    return panel_from_frame(ragged_frame(7, days=160), origin="here")


def own_rows(panel: Panel, symbol: str) -> tuple[int, np.ndarray]:
    n = panel.symbols.index(symbol)
    return n, np.flatnonzero(panel.traded_TN[:, n])


@settings(max_examples=25, deadline=None)
@given(seed=st.integers(0, 2**32 - 1), cut=st.integers(60, 110), warmup=st.integers(1, 30))
def test_the_future_changes_no_feature_by_a_bit(seed: int, cut: int, warmup: int) -> None:
    frame = ragged_frame(seed, days=130)
    whole = panel_from_frame(frame, origin="whole")
    last = pd.Timestamp(whole.dates_T[cut])
    for future in (frame[frame["date"] <= last], other_future(frame, last, seed + 1)):
        other = panel_from_frame(future, origin="other")
        for features in (asset_features, class_features):
            np.testing.assert_array_equal(features(other, warmup)[1][: cut + 1], features(whole, warmup)[1][: cut + 1])


@settings(max_examples=25, deadline=None)
@given(seed=st.integers(0, 2**32 - 1), bar=st.integers(0, 10**6), wick=st.floats(1e-6, 1e6))
def test_features_are_finite_and_bounded_whatever_a_bar_does(seed: int, bar: int, wick: float) -> None:
    frame = ragged_frame(seed)
    row = bar % len(frame)
    prices = ["open", "high", "low", "close"]
    frame.loc[row, prices] = frame.loc[row, prices].astype(float) * wick
    frame.loc[row, "volume"] *= wick
    panel = panel_from_frame(frame, origin="here")
    for (names, value), table in ((asset_features(panel, 5), FEATURES), (class_features(panel, 5), CLASS_FEATURES)):
        assert value.dtype == np.float32
        assert np.isfinite(value).all()
        for f, name in enumerate(names):
            low, high = (table[name].low, table[name].high) if name in table else (-CLIP, CLIP)
            assert value[..., f].min() >= low, name
            assert value[..., f].max() <= high, name


def test_names_and_shapes(panel: Panel) -> None:
    names, value_TNF = asset_features(panel, 20)
    assert names == (*FEATURES, "extra_sentiment")
    assert value_TNF.shape == (*panel.close_TN.shape, len(names))
    names, value_TCF = class_features(panel, 20)
    assert names == tuple(CLASS_FEATURES)
    assert value_TCF.shape == (len(panel.dates_T), len(panel.classes), len(names))


def test_nothing_is_shown_before_the_warmup_and_the_last_value_stands_on_missing_bars(panel: Panel) -> None:
    value_TNF = asset_features(panel, 30)[1]
    age = age_TN(panel)
    assert not value_TNF[age < 30].any()
    still = ~panel.traded_TN[1:] & (age[1:] >= 30)
    np.testing.assert_array_equal(value_TNF[1:][still], value_TNF[:-1][still])
    assert value_TNF[age >= 30].any(axis=1).all()


def test_asset_features_by_hand(panel: Panel) -> None:
    names, value_TNF = asset_features(panel, 1)
    n, rows = own_rows(panel, "AAA")
    close, high, low, volume = (getattr(panel, f"{name}_TN")[rows, n] for name in ("close", "high", "low", "volume"))
    log, b = np.log(close), 75
    returns = np.diff(log)
    v20 = returns[b - 20 : b].std(ddof=1)
    x = np.log1p(volume[b - 19 : b + 1])
    expected = {
        "return_1": returns[b - 1] / v20,
        "return_5": (log[b] - log[b - 5]) / (v20 * 5**0.5),
        "return_20": (log[b] - log[b - 20]) / (v20 * 20**0.5),
        "return_60": (log[b] - log[b - 60]) / (v20 * 60**0.5),
        "volatility": np.log(v20 / 0.01),
        "volatility_ratio": np.log(returns[b - 5 : b].std(ddof=1) / returns[b - 60 : b].std(ddof=1)),
        "above_mean_20": (log[b] - log[b - 19 : b + 1].mean()) / (v20 * 20**0.5),
        "above_mean_60": (log[b] - log[b - 59 : b + 1].mean()) / (v20 * 60**0.5),
        "drawdown": (log[b] - np.log(high[b - 59 : b + 1].max())) / (v20 * 60**0.5),
        "range": np.log(high[b] / low[b]) / v20,
        "close_in_range": (2 * log[b] - np.log(high[b] * low[b])) / np.log(high[b] / low[b]),
        "volume": (x[-1] - x.mean()) / x.std(ddof=1),
        "rsi": returns[b - 14 : b].sum() / np.abs(returns[b - 14 : b]).sum(),
    }
    assert set(expected) == set(FEATURES)
    for name, value in expected.items():
        clipped = np.clip(value, FEATURES[name].low, FEATURES[name].high)
        assert value_TNF[rows[b], n, names.index(name)] == pytest.approx(clipped, rel=1e-5, abs=1e-6), name


def test_extras_are_scored_against_their_own_past(panel: Panel) -> None:
    names, value_TNF = asset_features(panel, 1)
    n, rows = own_rows(panel, "COIN")
    extra = panel.extras["sentiment"][rows[:51], n]
    z = (extra[-1] - np.nanmean(extra)) / np.nanstd(extra, ddof=1)
    assert value_TNF[rows[50], n, names.index("extra_sentiment")] == pytest.approx(z, rel=1e-5)


def test_an_extra_that_never_changes_or_is_never_known_says_nothing(panel: Panel) -> None:
    constant = dataclasses.replace(
        panel, extras={"same": np.full_like(panel.close_TN, 3.0), "none": np.full_like(panel.close_TN, np.nan)}
    )
    assert not asset_features(constant, 1)[1][..., len(FEATURES) :].any()


def test_class_features_by_hand(panel: Panel) -> None:
    warmup = 10
    names, value_TCF = class_features(panel, warmup)
    c = panel.classes.index("stocks")
    members = panel.class_N == c
    log = np.log(panel.close_TN[:, members])
    moving = (listed_TN(panel, warmup) & panel.traded_TN)[:, members]
    returns_TM = np.where(moving, np.diff(log, axis=0, prepend=log[:1]), np.nan)[moving.any(axis=1)]
    returns = np.nanmean(returns_TM, axis=1)
    t = np.flatnonzero(moving.any(axis=1))[-1]
    v20 = returns[-20:].std(ddof=1)
    index = returns.cumsum()
    expected = {
        "return_1": returns[-1] / v20,
        "return_5": returns[-5:].sum() / (v20 * 5**0.5),
        "return_20": returns[-20:].sum() / (v20 * 20**0.5),
        "return_60": returns[-60:].sum() / (v20 * 60**0.5),
        "volatility": np.log(v20 / 0.01),
        "drawdown": (index[-1] - index[-60:].max()) / (v20 * 60**0.5),
        "dispersion": np.nanstd(returns_TM[-20:], axis=1).mean() / v20,
        "listed": 1.0,
    }
    assert set(expected) == set(CLASS_FEATURES)
    for name, value in expected.items():
        assert value_TCF[t, c, names.index(name)] == pytest.approx(value, rel=1e-4, abs=1e-6), name


def test_a_class_shows_the_share_of_its_assets_that_are_listed_and_nothing_without_any() -> None:
    panel = generate(SyntheticParams(assets={"stocks": 4, "crypto": 1}, bars=300, late_start=0.5, seed=3))
    names, value_TCF = class_features(panel, 20)
    listed_TC = np.stack([listed_TN(panel, 20)[:, panel.class_N == c].mean(axis=1) for c in range(2)], axis=1)
    moving_TC = np.stack([panel.traded_TN[:, panel.class_N == c].any(axis=1) for c in range(2)], axis=1)
    share_TC = value_TCF[..., names.index("listed")]
    np.testing.assert_allclose(share_TC[moving_TC], listed_TC[moving_TC])
    assert not value_TCF[listed_TC == 0].any()


@pytest.mark.skipif(not REAL_PANEL.is_file(), reason="the real price panel is not here")
def test_features_of_the_real_panel_are_of_unit_size() -> None:
    panel = load_panel(REAL_PANEL)
    names, value_TNF = asset_features(panel, 60)
    known = value_TNF[age_TN(panel) >= 60]
    assert known.shape[1] == len(names) == len(FEATURES)
    assert np.all(np.abs(known.mean(axis=0)) < 1.5)
    assert np.all((known.std(axis=0) > 0.2) & (known.std(axis=0) < 1.5))
    assert np.mean(np.abs(known) >= CLIP) < 0.005
