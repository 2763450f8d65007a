"""Metrics against numbers worked by hand and an independent library, and the laws they keep on any track."""

import json
import math

import empyrical
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.wealtharena.tracks import track_from_returns, track_of
from wealtharena.evidence import metrics

YEAR_OF_BARS = 365.25

returns = st.lists(st.floats(-0.5, 0.5), min_size=1, max_size=60)
noisy = st.integers(0, 2**32 - 1).map(lambda seed: np.random.default_rng(seed).normal(0.001, 0.02, 80))
"""Returns of 80 bars that are not all alike."""


def test_total_and_annual_return_use_calendar_time():
    two_years = track_of([[0.0], [21.0]], [[1.0], [1.0]], days=365)
    found = metrics.summary(two_years)
    assert found["total_return"] == pytest.approx(0.21)
    assert found["annual_return"] == pytest.approx(1.21 ** (365.25 / 730) - 1)


def test_sharpe_and_volatility_by_hand():
    # Returns 0.02 and -0.01: mean 0.005, deviation 0.03 / sqrt(2).
    found = metrics.summary(track_from_returns([0.02, -0.01]))
    assert found["volatility"] == pytest.approx(0.03 / math.sqrt(2) * math.sqrt(YEAR_OF_BARS))
    assert found["sharpe"] == pytest.approx(0.005 / (0.03 / math.sqrt(2)) * math.sqrt(YEAR_OF_BARS))


def test_sortino_by_hand():
    # Downside: sqrt((0 + 0.01^2) / 2).
    found = metrics.summary(track_from_returns([0.02, -0.01]))
    assert found["sortino"] == pytest.approx(0.005 / math.sqrt(0.00005) * math.sqrt(YEAR_OF_BARS))


def test_sharpe_is_in_excess_of_cash():
    rate = 0.01 * YEAR_OF_BARS
    found = metrics.summary(track_from_returns([0.02, -0.01]), cash_rate=rate)
    assert found["sharpe"] == pytest.approx((0.005 - 0.01) / (0.03 / math.sqrt(2)) * math.sqrt(YEAR_OF_BARS))


def test_weekends_do_not_change_the_annual_figures():
    # The same week twice: with a flat Saturday and Sunday, and with one bar from Friday to Monday.
    workdays = np.array([0.01, -0.02, 0.015, 0.0, 0.005])
    seven = np.tile(np.concatenate([workdays, [0.0, 0.0]]), 100)
    with_weekends = metrics.summary(track_from_returns(seven))
    five = track_from_returns(np.tile(workdays, 100))
    days = np.concatenate([[0], np.cumsum(np.tile([1, 1, 1, 1, 3], 100))])
    object.__setattr__(five, "dates", np.datetime64("2020-01-01T00:00:00") + days * np.timedelta64(86_400, "s"))
    without = metrics.summary(five)
    assert with_weekends["annual_return"] == pytest.approx(without["annual_return"])
    assert with_weekends["sharpe"] == pytest.approx(without["sharpe"], rel=0.01)


def test_drawdown_and_calmar_by_hand():
    track = track_from_returns([0.10, -0.50, 0.20])
    found = metrics.summary(track)
    np.testing.assert_allclose(metrics.drawdown(track.nav), [0, 0, 0.5, 0.4])
    assert found["max_drawdown"] == pytest.approx(0.5)
    assert found["calmar"] == pytest.approx(found["annual_return"] / 0.5)


def test_cvar_averages_exactly_the_tail():
    # 30 bars: the tail holds 1.5 of them, the worst whole and half of the second.
    losses = np.zeros(30)
    losses[[4, 9]] = -0.06, -0.03
    assert metrics.cvar(losses) == pytest.approx((0.06 + 0.5 * 0.03) / 1.5)


@settings(max_examples=30, deadline=None)
@given(noisy, st.floats(0, 0.05))
def test_an_independent_library_finds_the_same(values, rate):
    # empyrical takes the tail in whole bars: 80 bars have 4 in their worst 5%, for both.
    found = metrics.summary(track_from_returns(values), cash_rate=rate)
    excess, year = values - rate / YEAR_OF_BARS, {"annualization": YEAR_OF_BARS}
    expected = {
        "total_return": empyrical.cum_returns_final(values),
        "annual_return": empyrical.annual_return(values, **year),
        "volatility": empyrical.annual_volatility(values, **year),
        "sharpe": empyrical.sharpe_ratio(excess, **year),
        "sortino": empyrical.sortino_ratio(excess, **year),
        "max_drawdown": -empyrical.max_drawdown(values),
        "calmar": empyrical.calmar_ratio(values, **year),
        "cvar_95": -empyrical.conditional_value_at_risk(values),
    }
    assert {name: found[name] for name in expected} == pytest.approx(expected)


@settings(max_examples=30, deadline=None)
@given(noisy, st.floats(0.01, 100), st.floats(-0.05, 0.05))
def test_ratios_do_not_depend_on_leverage_and_losses_do(values, leverage, shift):
    deviation = values.std(ddof=1)
    for ratio in (metrics.sharpe, metrics.sortino):
        assert ratio(leverage * values, 1.0) == pytest.approx(ratio(values, 1.0))
    assert metrics.sharpe(-values, 1.0) == pytest.approx(-metrics.sharpe(values, 1.0))
    moved = metrics.sharpe(values, 1.0) + shift / deviation * math.sqrt(80)
    assert metrics.sharpe(values + shift, 1.0) == pytest.approx(moved, rel=1e-6, abs=1e-9)
    assert metrics.cvar(leverage * values) == pytest.approx(leverage * metrics.cvar(values))
    assert metrics.cvar(values + shift) == pytest.approx(metrics.cvar(values) - shift)
    assert metrics.cvar(values) >= -values.mean()


def test_trades_are_spells_of_one_sign():
    # Long for three bars (closed on the third), flat, then short to the end; a second asset that is never held.
    value = [[50, 0], [80, 0], [0, 0], [0, 0], [-40, 0], [-30, 0]]
    pnl = [[1, 0], [2, 0], [5, 0], [0, 0], [-2, 0], [-4, 0]]
    trades = metrics.find_trades(track_of(pnl, value))
    np.testing.assert_array_equal(trades.asset, [0, 0])
    np.testing.assert_allclose(trades.pnl, [8, -6])
    np.testing.assert_allclose(trades.capital, [80, 40])
    assert trades.win_rate == 0.5
    assert trades.average_return == pytest.approx((8 / 80 - 6 / 40) / 2)


@pytest.mark.parametrize(("after", "expected"), [(-20.0, [4, 5]), (-30.0, [1, 8])])
def test_the_bar_of_a_turn_counts_towards_the_larger_spell(after, expected):
    trades = metrics.find_trades(track_of([[1], [3], [5]], [[25], [after], [after]]))
    np.testing.assert_allclose(trades.pnl, expected)


def test_trades_of_two_assets_do_not_mix():
    trades = metrics.find_trades(track_of([[1, 10], [2, 20]], [[5, 0], [5, 7]]))
    np.testing.assert_array_equal(trades.asset, [0, 1])
    np.testing.assert_allclose(trades.pnl, [3, 20])
    assert trades.within(np.array([1])).pnl.tolist() == [20]


def test_turnover_and_costs_are_yearly_shares_of_the_value_before():
    track = track_of([[100.0], [0.0]], [[100], [200]], traded_TN=[[100], [100]], cost_TN=[[1], [1]])
    found = metrics.summary(track)
    assert found["turnover"] == pytest.approx((100 / 100 + 100 / 200) * YEAR_OF_BARS / 2)
    assert found["costs"] == pytest.approx((1 / 100 + 1 / 200) * YEAR_OF_BARS / 2)


def test_what_is_undefined_is_none():
    still = metrics.summary(track_of(np.zeros((5, 1)), np.zeros((5, 1))))
    assert [still[name] for name in ("sharpe", "sortino", "calmar", "win_rate", "average_trade_return")] == [None] * 5
    assert still["annual_return"] == still["max_drawdown"] == still["trades"] == 0
    one_bar = metrics.summary(track_from_returns([0.1]))
    assert one_bar["volatility"] is None
    assert one_bar["sharpe"] is None


def test_cash_that_earns_interest_has_no_sharpe():
    rate = 0.05
    cash = track_from_returns(np.full(100, rate / YEAR_OF_BARS))
    assert metrics.summary(cash, cash_rate=rate)["sharpe"] is None


def test_a_growth_beyond_numbers_is_none_and_ruin_is_minus_one():
    assert metrics.annual_return(1e9, 1e-3) is None
    assert metrics.annual_return(0.0, 1.0) == -1.0
    assert metrics.annual_return(-0.1, 1.0) is None


@settings(max_examples=60, deadline=None)
@given(returns)
def test_any_summary_is_json(values):
    json.dumps(metrics.summary(track_from_returns(values)), allow_nan=False)


@settings(max_examples=60, deadline=None)
@given(returns, st.floats(1e-3, 1e6))
def test_the_unit_of_money_does_not_matter(values, unit):
    track = track_from_returns(values)
    scaled = track_of(track.pnl_TN * unit, track.value_TN * unit, capital=100.0 * unit)
    for name, value in metrics.summary(track).items():
        other = metrics.summary(scaled)[name]
        assert (value is None) == (other is None)
        assert value is None or other == pytest.approx(value, rel=1e-6, abs=1e-9)


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 2**32 - 1))
def test_trades_share_out_all_profit_of_what_was_held(seed):
    random = np.random.default_rng(seed)
    value = random.choice([-30.0, -10.0, 0.0, 10.0, 20.0], size=(12, 3))
    before = np.vstack([np.zeros(3), value[:-1]])
    pnl = random.normal(size=(12, 3)) * ((value != 0) | (before != 0))
    trades = metrics.find_trades(track_of(pnl, value, capital=1000.0))
    for asset in range(3):
        assert trades.within(np.array([asset])).pnl.sum() == pytest.approx(pnl[:, asset].sum())


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 2**32 - 1))
def test_trades_are_those_that_a_ledger_of_one_asset_finds(seed):
    random = np.random.default_rng(seed)
    value, pnl = random.choice([-20.0, -10.0, 0.0, 10.0, 30.0], size=15), random.normal(size=15)
    trades = metrics.find_trades(track_of(pnl[:, None], value[:, None], capital=1000.0))
    expected = _ledger(value, pnl)
    np.testing.assert_allclose(trades.pnl, [spell["pnl"] for spell in expected])
    np.testing.assert_allclose(trades.capital, [spell["capital"] for spell in expected])
    wins = sum(spell["pnl"] > 0 for spell in expected)
    assert trades.win_rate == (pytest.approx(wins / len(expected)) if expected else None)


def _ledger(values, profits):
    """The spells of one asset, bar by bar."""
    spells, before = [], 0.0
    for value, profit in zip(values, profits, strict=True):
        opens = value != 0 and np.sign(value) != np.sign(before)
        if opens:
            spells.append({"pnl": 0.0, "capital": 0.0})
        to_the_last = opens and before != 0 and abs(value) < abs(before)
        if value != 0 or before != 0:
            spells[-2 if to_the_last else -1]["pnl"] += profit
        if value != 0:
            spells[-1]["capital"] = max(spells[-1]["capital"], abs(value))
        before = value
    return spells
