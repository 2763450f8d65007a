"""The stationary bootstrap: its blocks, its coverage, and the words it ends in."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.wealtharena.tracks import track_from_returns
from wealtharena.evidence import bootstrap

YEAR_OF_BARS = 365.25


def difference(team, other):
    return bootstrap.Resampled.of(team).minus(bootstrap.Resampled.of(other))


def autoregressive(random, *, series, bars, memory):
    """Series of variance 1 and autocorrelation ``memory``: (series, bars)."""
    value = random.normal(size=(series, bars))
    for bar in range(1, bars):
        value[:, bar] = memory * value[:, bar - 1] + np.sqrt(1 - memory**2) * value[:, bar]
    return value


@pytest.mark.parametrize(("bars", "block"), [(1, 1), (27, 3), (500, 8), (1000, 10)])
def test_block_length_is_the_cube_root(bars, block):
    assert bootstrap.block_length(bars) == block


def test_blocks_run_on_and_wrap_around():
    index = bootstrap.resample(50, block=5, resamples=400)
    assert index.shape == (400, 50)
    assert (index >= 0).all()
    assert (index < 50).all()
    runs_on = (index[:, 1:] - index[:, :-1]) % 50 == 1
    # A block goes on with probability 1 - 1/5; a fresh start hits the next bar by chance once in 50.
    assert runs_on.mean() == pytest.approx(0.8 + 0.2 / 50, abs=0.01)


def test_every_bar_is_drawn_equally_often():
    counts = np.bincount(bootstrap.resample(40, block=4, resamples=4000).ravel(), minlength=40)
    np.testing.assert_allclose(counts / counts.mean(), 1.0, atol=0.1)


def test_same_seed_same_draws():
    first, second = (bootstrap.resample(30, block=3, resamples=5, seed=7) for _ in range(2))
    np.testing.assert_array_equal(first, second)


def test_interval_covers_the_mean_of_independent_bars():
    random = np.random.default_rng(3)
    covered = []
    for seed in range(200):
        sample = random.normal(0.0, 1.0, 64)
        draws = sample[bootstrap.resample(64, block=1, resamples=400, seed=seed)].mean(axis=1)
        found = bootstrap.interval(float(sample.mean()), draws)
        covered.append(found.low <= 0.0 <= found.high)
    assert 0.89 <= np.mean(covered) <= 0.99


@pytest.fixture
def few_draws(monkeypatch):
    """The same 500 resamples of 160 bars for every series: a quarter of the usual number, drawn once."""
    index = bootstrap.resample(160, block=bootstrap.block_length(160), resamples=500)
    monkeypatch.setattr(bootstrap, "resample", lambda bars, *, block: index)


@pytest.mark.usefixtures("few_draws")
@pytest.mark.parametrize("memory", [0.0, 0.2])
def test_interval_of_the_sharpe_ratio_covers_the_true_one(memory):
    mean, deviation = 0.0005, 0.01
    true = mean / deviation * np.sqrt(YEAR_OF_BARS)
    series = mean + deviation * autoregressive(np.random.default_rng(11), series=200, bars=160, memory=memory)
    found = [bootstrap.Resampled.of(track_from_returns(returns)).intervals()["sharpe"] for returns in series]
    assert 0.90 <= np.mean([one.low <= true <= one.high for one in found]) <= 0.98


@pytest.mark.usefixtures("few_draws")
def test_interval_of_the_difference_covers_the_true_one():
    edge, shared, own = 0.0005, 0.01, 0.003
    random = np.random.default_rng(12)
    market = shared * autoregressive(random, series=200, bars=160, memory=0.1)
    teams = market + edge + own * random.normal(size=market.shape)
    true = edge / np.hypot(shared, own) * np.sqrt(YEAR_OF_BARS)
    pairs = zip(teams, market, strict=True)
    found = [difference(track_from_returns(team), track_from_returns(other))["sharpe"] for team, other in pairs]
    assert 0.90 <= np.mean([one.low <= true <= one.high for one in found]) <= 0.98


def test_both_tracks_are_drawn_with_the_same_bars():
    random = np.random.default_rng(2)
    team, other = random.normal(0.001, 0.01, 60), random.normal(0, 0.02, 60)
    gaps = difference(track_from_returns(team), track_from_returns(other))
    expected = {"annual_return": [], "sharpe": []}
    for bars in bootstrap.resample(60, block=4):
        grown = [np.prod(1 + returns[bars]) ** (YEAR_OF_BARS / 60) for returns in (team, other)]
        ratio = [returns[bars].mean() / returns[bars].std(ddof=1) * np.sqrt(YEAR_OF_BARS) for returns in (team, other)]
        expected["annual_return"].append(grown[0] - grown[1])
        expected["sharpe"].append(ratio[0] - ratio[1])
    for name, draws in expected.items():
        assert [gaps[name].low, gaps[name].high] == pytest.approx(np.quantile(draws, [0.025, 0.975]))


@settings(max_examples=20, deadline=None)
@given(st.integers(0, 2**32 - 1))
def test_differences_the_other_way_round_are_mirrored(seed):
    one, other = (track_from_returns(row) for row in np.random.default_rng(seed).normal(0.001, 0.02, (2, 40)))
    there, back = difference(one, other)["sharpe"], difference(other, one)["sharpe"]
    assert (there.value, there.low, there.high) == pytest.approx((-back.value, -back.high, -back.low))


def test_blocks_widen_the_interval_of_dependent_bars():
    random = np.random.default_rng(5)
    series = np.convolve(random.normal(size=2000), np.ones(10), mode="valid")
    spread = {
        block: series[bootstrap.resample(len(series), block=block, resamples=300)].mean(axis=1).std()
        for block in (1, 30)
    }
    assert spread[30] > 2 * spread[1]


def test_the_same_track_differs_by_nothing():
    track = track_from_returns(np.random.default_rng(0).normal(0, 0.01, 200))
    for gap in difference(track, track).values():
        assert (gap.value, gap.low, gap.high) == (0.0, 0.0, 0.0)
        assert gap.verdict == bootstrap.SAME


@pytest.mark.parametrize(("edge", "verdict"), [(0.003, "above"), (-0.003, "below"), (0.00001, "not distinguishable")])
def test_verdict_on_a_paired_difference(edge, verdict):
    random = np.random.default_rng(1)
    market = random.normal(0, 0.02, 400)
    other = track_from_returns(market, name="equal_weight")
    team = track_from_returns(market + edge + random.normal(0, 0.002, 400))
    gaps = difference(team, other)
    assert {name: gap.verdict for name, gap in gaps.items()} == dict.fromkeys(("annual_return", "sharpe"), verdict)
    assert gaps["annual_return"].low < gaps["annual_return"].value < gaps["annual_return"].high


def test_pairing_cancels_what_moves_both():
    random = np.random.default_rng(1)
    market, noise = random.normal(0, 0.02, 400), random.normal(0, 0.001, 400)
    paired = difference(track_from_returns(market + noise), track_from_returns(market))["sharpe"]
    apart = difference(track_from_returns(market[::-1] + noise), track_from_returns(market))["sharpe"]
    assert paired.high - paired.low < 0.5 * (apart.high - apart.low)


def test_few_bars_have_a_value_but_no_interval():
    short = track_from_returns([0.01, -0.02, 0.01])
    found = bootstrap.Resampled.of(short).intervals()["sharpe"]
    assert found.value is not None
    assert found.low is None
    gap = difference(short, track_from_returns([0.02, 0.01, 0.03]))["annual_return"]
    assert gap.low is None
    assert gap.verdict == bootstrap.SAME


def test_cash_has_no_sharpe_to_resample():
    found = bootstrap.Resampled.of(track_from_returns(np.zeros(60))).intervals()
    assert found["sharpe"] == bootstrap.Interval(None)
    assert found["annual_return"].as_dict() == {"value": 0.0, "low": 0.0, "high": 0.0}


def test_tracks_of_different_windows_are_refused():
    with pytest.raises(ValueError, match="cover different dates"):
        difference(track_from_returns([0.1] * 30), track_from_returns([0.1] * 31))


@settings(max_examples=25, deadline=None)
@given(st.lists(st.floats(-0.3, 0.3), min_size=2, max_size=50))
def test_mean_interval_holds_the_mean(values):
    found = bootstrap.mean_interval(np.array(values))
    assert found.low - 1e-9 <= found.value <= found.high + 1e-9
