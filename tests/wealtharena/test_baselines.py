"""The baselines as rules: what they hold, when they trade, and that they see nothing but the past."""

import dataclasses

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from wealtharena.evidence.baselines import BASELINES, History
from wealtharena.evidence.covariance import minimum_variance_weights, shrunk_correlation

DAY = np.timedelta64(86_400, "s")


def history(close_TN, *, own_TN=None, due=True, listed_N=None, ordered_N=None):
    close_TN = np.asarray(close_TN, dtype=np.float64)
    bars, assets = close_TN.shape
    return History(
        dates_T=np.datetime64("2019-01-01T00:00:00") + np.arange(bars) * DAY,
        close_TN=close_TN,
        own_TN=np.ones((bars, assets), dtype=bool) if own_TN is None else own_TN,
        listed_N=np.ones(assets, dtype=bool) if listed_N is None else np.asarray(listed_N),
        ordered_N=np.zeros(assets, dtype=bool) if ordered_N is None else np.asarray(ordered_N),
        due=due,
    )


def walk(volatility_N, bars=400, seed=0, drift_N=0.0):
    random = np.random.default_rng(seed)
    return 100 * np.exp(np.cumsum(random.normal(drift_N, volatility_N, (bars, len(volatility_N))), axis=0))


def test_cash_never_orders():
    assert BASELINES["cash"](history(walk([0.01]))) is None


def test_equal_weight_holds_what_is_listed_and_waits_for_the_month():
    some = history(walk([0.01] * 4), listed_N=[True, False, True, True])
    np.testing.assert_allclose(BASELINES["equal_weight"](some), [1 / 3, 0, 1 / 3, 1 / 3])
    assert BASELINES["equal_weight"](dataclasses.replace(some, due=False)) is None
    assert BASELINES["equal_weight"](dataclasses.replace(some, listed_N=np.zeros(4, dtype=bool))) is None


def test_buy_and_hold_orders_each_asset_once():
    start = history(walk([0.01] * 2), listed_N=[True, False])
    np.testing.assert_allclose(BASELINES["buy_and_hold"](start), [0.5, np.nan])
    later = history(walk([0.01] * 2), ordered_N=[True, False])
    np.testing.assert_allclose(BASELINES["buy_and_hold"](later), [np.nan, 0.5])
    assert BASELINES["buy_and_hold"](history(walk([0.01] * 2), ordered_N=[True, True])) is None


def test_inverse_volatility_halves_the_weight_of_twice_the_risk():
    base = np.random.default_rng(0).normal(0, 0.01, 300)
    close = 100 * np.exp(np.cumsum(np.column_stack([base, 2 * base]), axis=0))
    np.testing.assert_allclose(BASELINES["inverse_volatility"](history(close)), [2 / 3, 1 / 3])


def test_momentum_holds_the_top_third_and_skips_the_last_month():
    drift = np.array([0.003, 0.001, 0.0, -0.001, -0.002, 0.002])
    close = 100 * np.exp(np.arange(400)[:, None] * drift)
    np.testing.assert_allclose(BASELINES["momentum"](history(close)), [0.5, 0, 0, 0, 0, 0.5])
    close[-29:, 3] *= 50.0
    np.testing.assert_allclose(BASELINES["momentum"](history(close)), [0.5, 0, 0, 0, 0, 0.5])
    close[-31:, 3] *= 50.0
    np.testing.assert_allclose(BASELINES["momentum"](history(close)), [0.5, 0, 0, 0.5, 0, 0])


def test_momentum_ranks_short_data_over_what_there_is():
    close = 100 * np.exp(np.arange(120)[:, None] * np.array([0.0, 0.01, 0.002]))
    np.testing.assert_allclose(BASELINES["momentum"](history(close)), [0, 1, 0])


def test_an_asset_that_lists_late_brings_no_return_from_its_placeholder():
    close = walk([0.01, 0.01, 0.01])
    own = np.ones(close.shape, dtype=bool)
    own[:300, 2], close[:300, 2] = False, 1.0
    late = history(close, own_TN=own)
    return_RM, chosen = late.recent()
    np.testing.assert_array_equal(chosen, [0, 1, 2])
    assert np.abs(return_RM[:, 2]).max() < 0.1
    assert BASELINES["momentum"](late)[2] == 0.0


@pytest.mark.parametrize("name", ["inverse_volatility", "momentum", "minimum_variance"])
def test_too_little_history_gives_no_order(name):
    assert BASELINES[name](history(walk([0.01, 0.02], bars=30))) is None
    assert BASELINES[name](history(walk([0.01, 0.02]), due=False)) is None


@pytest.mark.parametrize("name", ["inverse_volatility", "minimum_variance"])
def test_an_asset_that_never_moved_is_left_out(name):
    close = walk([0.01, 0.02, 0.01])
    close[:, 1] = 7.0
    assert BASELINES[name](history(close))[1] == 0.0


@settings(max_examples=20, deadline=None)
@given(st.integers(0, 10_000), st.sampled_from(sorted(BASELINES)))
def test_weights_are_long_only_and_whole_and_only_in_listed_assets(seed, name):
    random = np.random.default_rng(seed)
    listed = random.random(6) < 0.7
    weights = BASELINES[name](history(walk(random.uniform(0.002, 0.05, 6), seed=seed), listed_N=listed))
    if weights is not None:
        ordered = weights[~np.isnan(weights)]
        assert (ordered >= 0).all()
        assert ordered.sum() <= 1 + 1e-9
        assert not (weights[~listed] > 0).any()


def test_minimum_variance_of_two_assets_in_closed_form():
    # w1 = (s2^2 - c) / (s1^2 + s2^2 - 2 c), c = rho s1 s2.
    deviation, rho = np.array([0.1, 0.2]), 0.3
    covariance = rho * 0.1 * 0.2
    expected = (0.04 - covariance) / (0.01 + 0.04 - 2 * covariance)
    weights = minimum_variance_weights(np.array([[1, rho], [rho, 1]]), deviation)
    np.testing.assert_allclose(weights, [expected, 1 - expected], rtol=1e-7)


def test_minimum_variance_sells_nothing_short():
    # Without the bound the second weight would be negative: rho > s1 / s2.
    weights = minimum_variance_weights(np.array([[1, 0.9], [0.9, 1]]), np.array([0.1, 0.2]))
    np.testing.assert_allclose(weights, [1.0, 0.0])


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 10_000))
def test_minimum_variance_meets_the_conditions_of_an_optimum(seed):
    random = np.random.default_rng(seed)
    deviation = random.uniform(0.002, 0.05, 8)
    correlation = shrunk_correlation(random.normal(size=(60, 8)) @ random.normal(size=(8, 8)))
    weights = minimum_variance_weights(correlation, deviation)
    covariance = correlation * np.outer(deviation, deviation)
    marginal, variance = covariance @ weights, weights @ covariance @ weights
    # Karush-Kuhn-Tucker: what is held has the portfolio's variance as its marginal one; nothing else has less.
    np.testing.assert_allclose(marginal[weights > 1e-9], variance, rtol=1e-5)
    assert (marginal >= variance * (1 - 1e-5)).all()


def test_shrinkage_goes_from_the_identity_to_the_sample():
    random = np.random.default_rng(0)
    noise = shrunk_correlation(random.normal(size=(40, 30)))
    assert np.abs(noise - np.eye(30)).max() < 0.15
    common = random.normal(size=(5000, 1)) + random.normal(size=(5000, 3))
    np.testing.assert_allclose(shrunk_correlation(common), np.corrcoef(common.T), atol=0.01)


def test_shrinkage_intensity_by_hand():
    # Scores (1, 1), (-1, -1), (1, -1), (-1, 1), (1, 1), (-1, -1): correlation 1/3, |S - I|^2 = 2/9,
    # error = (mean (x'x)^2 - |S|^2) / R = (4 - 20/9) / 6 = 8/27 > 2/9: full shrinkage.
    few = np.array([[1, 1], [-1, -1], [1, -1], [-1, 1], [1, 1], [-1, -1]], dtype=np.float64)
    np.testing.assert_allclose(shrunk_correlation(few), np.eye(2), atol=1e-12)
    # The same six ten times: error = (4 - 20/9) / 60 = 4/135, intensity 4/135 / (2/9) = 2/15.
    np.testing.assert_allclose(shrunk_correlation(np.tile(few, (10, 1)))[0, 1], (1 - 2 / 15) / 3)


def test_a_matrix_of_more_assets_than_bars_can_be_inverted():
    found = shrunk_correlation(np.random.default_rng(0).normal(size=(20, 50)))
    assert np.linalg.eigvalsh(found).min() > 0
