"""How sure a Sharpe ratio is: the numbers of the papers, simulations, and the laws in between."""

import dataclasses
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from tests.wealtharena.tracks import track_from_returns
from wealtharena.evidence import metrics, sharpe
from wealtharena.evidence.sharpe import Estimate

YEAR_OF_BARS = 365.25

estimates = st.builds(
    lambda ratio, skew, tails, bars: Estimate(ratio, skew, 1.0 + skew**2 + tails, bars),
    ratio=st.floats(-0.5, 0.5),
    skew=st.floats(-3, 3),
    tails=st.floats(0.5, 20),
    bars=st.integers(20, 5000),
)


def monthly_fund(skew=-2.448, kurtosis=10.164):
    """The example of Bailey & Lopez de Prado (2012): a hedge fund, 24 months of mean 0.036, deviation 0.079."""
    return Estimate(0.036 / 0.079, skew, kurtosis, 24)


def test_the_error_of_normal_returns_is_that_of_lo():
    # Lo (2002) gives .188 per period for SR 1.5 in 60 periods, with T in place of T - 1.
    assert Estimate(1.5, 0, 3, 61).error == pytest.approx(math.sqrt((1 + 1.5**2 / 2) / 60))
    assert Estimate(1.5, 0, 3, 61).error == pytest.approx(0.188, abs=5e-4)


def test_the_probabilistic_ratio_of_the_papers_fund():
    assert monthly_fund(skew=0, kurtosis=3).above(0) == pytest.approx(0.981, abs=1e-3)
    assert monthly_fund().above(0) == pytest.approx(0.913, abs=5e-4)


@pytest.mark.parametrize(
    ("per_year", "skew", "kurtosis", "years"),
    [(250, 0, 3, 2.73), (52, 0, 3, 2.83), (12, 0, 3, 3.24), (12, -0.72, 5.78, 4.99)],
)
def test_the_track_record_that_the_paper_asks_for(per_year, skew, kurtosis, years):
    # Bailey & Lopez de Prado (2012): a Sharpe of 2 a year, to be known above 1.
    found = Estimate(2 / math.sqrt(per_year), skew, kurtosis, 100)
    assert found.bars_needed(1 / math.sqrt(per_year)) / per_year == pytest.approx(years, abs=0.01)


@pytest.mark.parametrize(("trials", "confidence"), [(46, 0.9505), (100, 0.9004)])
def test_the_deflated_ratio_of_the_papers_example(trials, confidence):
    # Bailey & Lopez de Prado (2014), "A numerical example": 2.5 a year over 5 years, variance of the trials 1/2 a year.
    found = Estimate(2.5 / math.sqrt(250), -3, 10, 1250)
    spread = math.sqrt(0.5 / 250)
    assert sharpe.deflated(found, trials, spread) == pytest.approx(confidence, abs=1e-4)
    if trials == 100:
        assert sharpe.best_by_luck(trials, spread) == pytest.approx(0.1132, abs=1e-4)


@pytest.mark.parametrize("trials", [5, 10, 100])
def test_the_best_by_luck_is_the_mean_of_the_maximum(trials):
    drawn = np.random.default_rng(0).normal(0, 0.3, (20_000, trials)).max(axis=1)
    assert sharpe.best_by_luck(trials, 0.3) == pytest.approx(drawn.mean(), rel=0.03)


def test_the_error_is_the_scatter_of_simulated_ratios():
    # Skewed and fat-tailed: minus a gamma variable of shape 2, so that skew is -1.41 and kurtosis 6.
    mean, bars = 0.2, 300
    drawn = mean + (2.0 - np.random.default_rng(1).gamma(2.0, size=(6000, bars))) / math.sqrt(2)
    ratios = drawn.mean(axis=1) / drawn.std(axis=1, ddof=1)
    assert ratios.std() == pytest.approx(Estimate(mean, -math.sqrt(2), 6, bars).error, rel=0.03)
    assert ratios.std() > 1.1 * Estimate(mean, 0, 3, bars).error


def test_moments_are_those_of_an_independent_library():
    values = np.random.default_rng(4).gamma(2.0, 0.01, 100) - 0.015
    found = sharpe.estimate(values)
    assert found.ratio == pytest.approx(values.mean() / values.std(ddof=1))
    assert found.skew == pytest.approx(stats.skew(values))
    assert found.kurtosis == pytest.approx(stats.kurtosis(values, fisher=False))
    assert found.bars == 100


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 2**32 - 1), st.floats(0.01, 100))
def test_leverage_does_not_change_confidence(seed, leverage):
    values = np.random.default_rng(seed).standard_t(4, 60) * 0.01
    one, other = sharpe.estimate(values), sharpe.estimate(leverage * values)
    assert dataclasses.astuple(one) == pytest.approx(dataclasses.astuple(other))


@settings(max_examples=60, deadline=None)
@given(estimates, st.floats(0, 0.3))
def test_confidence_falls_with_the_benchmark(found, step):
    assert found.above(found.ratio) == pytest.approx(0.5)
    assert found.above(found.ratio + step) <= found.above(found.ratio - step)
    mirrored = dataclasses.replace(found, ratio=-found.ratio, skew=-found.skew)
    assert mirrored.above(-step) == pytest.approx(1 - found.above(step))


@settings(max_examples=60, deadline=None)
@given(estimates)
def test_more_trials_deflate_more(found):
    spread = 1 / math.sqrt(found.bars - 1)
    odds = [sharpe.deflated(found, trials, spread) for trials in (1, 2, 3, 10, 100, 10_000)]
    assert odds[0] == found.above(0.0)
    assert odds == sorted(odds, reverse=True)


@settings(max_examples=60, deadline=None)
@given(estimates, st.floats(0.01, 0.2))
def test_a_track_as_long_as_needed_is_just_sure_enough(found, below):
    benchmark = found.ratio - below
    needed = found.bars_needed(benchmark)
    assert dataclasses.replace(found, bars=needed).above(benchmark) == pytest.approx(0.95)
    assert found.bars_needed(found.ratio) is None


def test_what_stands_beside_a_track_is_per_year():
    track = track_from_returns(np.random.default_rng(6).normal(0.001, 0.01, 400))
    found, bars = sharpe.confidence(track), sharpe.estimate(track.returns_T)
    assert found["sharpe_error"] == pytest.approx(bars.error * math.sqrt(YEAR_OF_BARS))
    assert found["sharpe_error"] == pytest.approx(math.sqrt(YEAR_OF_BARS / 400), rel=0.05)
    assert found["psr"] == pytest.approx(stats.norm.cdf(metrics.summary(track)["sharpe"] / found["sharpe_error"]))
    assert found["track_years"] == pytest.approx(bars.bars_needed(0) / YEAR_OF_BARS)
    lucky = sharpe.as_best_of(bars, 10, track.years)
    assert lucky["luck"] == pytest.approx(1.57 * math.sqrt(YEAR_OF_BARS / 399), rel=0.01)
    assert lucky["dsr"] < found["psr"]


def test_confidence_is_in_excess_of_cash():
    track = track_from_returns(np.random.default_rng(6).normal(0.001, 0.01, 400))
    assert sharpe.confidence(track, cash_rate=0.1)["psr"] < sharpe.confidence(track)["psr"]


@pytest.mark.parametrize("values", [[0.01, -0.02, 0.01], np.zeros(60), np.full(60, 0.001)])
def test_too_few_or_constant_bars_have_no_confidence(values):
    track = track_from_returns(values)
    assert set(sharpe.confidence(track).values()) == {None}
    nothing = sharpe.as_best_of(sharpe.estimate(track.returns_T), 3, track.years)
    assert nothing == {"count": 3, "luck": None, "dsr": None}


def test_a_ratio_without_error_has_no_confidence():
    assert Estimate(0.5, 4.0, 17.0, 50).above(0.0) is None


def test_a_ratio_that_is_not_above_zero_needs_for_ever():
    assert sharpe.confidence(track_from_returns([-0.01, 0.005] * 20))["track_years"] is None


def test_no_trials_are_refused():
    with pytest.raises(ValueError, match="trials=0: count at least the one that was run"):
        sharpe.best_by_luck(0, 0.1)
