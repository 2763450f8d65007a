"""Several runs as one result: rliable's numbers, exact bootstrap distributions, and laws."""

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from wealtharena.evidence.aggregate import aggregate, interquartile_mean

FIVE_SEEDS = np.array([[0.9, 0.5, 0.1], [0.95, 0.4, 0.3], [0.7, 0.6, 0.2], [1.0, 0.2, 0.25], [0.85, 0.45, 0.9]])


def scores(runs, settings_, seed):
    return np.random.default_rng(seed).normal(size=(runs, settings_))


def test_the_interquartile_mean_by_hand():
    assert interquartile_mean(np.array([9.0, 1.0, 0.0, 2.0])) == 1.5
    # 15 scores: three go at each end, and of the rest the mean is 4.95 / 9.
    assert interquartile_mean(FIVE_SEEDS.ravel()) == pytest.approx(
        (0.25 + 0.3 + 0.4 + 0.45 + 0.5 + 0.6 + 0.7 + 0.85 + 0.9) / 9
    )


@settings(max_examples=60, deadline=None)
@given(st.lists(st.floats(-1e6, 1e6), min_size=1, max_size=40))
def test_the_interquartile_mean_is_the_trimmed_mean_of_scipy(values):
    expected = stats.trim_mean(values, 0.25)
    assert interquartile_mean(np.array(values)) == pytest.approx(expected, rel=1e-9, abs=1e-6)


@pytest.mark.parametrize(
    ("given_RS", "value", "low", "high"),
    [(FIVE_SEEDS, 0.55, 0.4222222, 0.7), (FIVE_SEEDS[:, :1], 0.9, 0.75, 0.9833333)],
)
def test_intervals_are_those_of_rliable(given_RS, value, low, high):
    # rliable 1.2.0, get_interval_estimates with aggregate_iqm and 50,000 resamples.
    found = aggregate(given_RS)
    assert (found.value, found.low, found.high) == pytest.approx((value, low, high), abs=0.005)


def test_the_interval_is_that_of_all_resamples():
    # Two settings of three runs: all 27 x 27 resamples, each setting on its own.
    given_RS = np.array([[0.0, 10.0], [1.0, 12.0], [5.0, 19.0]])
    by_setting = [list(itertools.product(column, repeat=3)) for column in given_RS.T]
    every = [sorted([*one, *other])[1:5] for one, other in itertools.product(*by_setting)]
    low, high = np.quantile(np.mean(every, axis=1), [0.025, 0.975])
    found = aggregate(given_RS, resamples=20_000)
    assert (found.low, found.high) == pytest.approx((low, high), abs=0.2)


def test_settings_that_differ_do_not_widen_the_interval():
    # Every run of a setting scores the same: no luck of seeds, however far the settings lie apart.
    found = aggregate(np.tile([0.0, 1.0, 5.0, 9.0], (5, 1)))
    assert (found.value, found.low, found.high) == (3.0, 3.0, 3.0)


def test_one_failed_run_moves_it_less_than_the_mean():
    failed_RS = np.vstack([FIVE_SEEDS[:, :1], [[-50.0]]])
    assert aggregate(failed_RS).value == pytest.approx(0.8625, abs=0.02)
    assert failed_RS.mean() < -7


def test_the_interval_covers_the_true_value_of_ten_runs():
    found = [aggregate(scores(10, 3, seed), resamples=400, seed=seed) for seed in range(200)]
    assert 0.88 <= np.mean([one.low <= 0 <= one.high for one in found]) <= 0.98


@settings(max_examples=30, deadline=None)
@given(st.integers(2, 8), st.integers(1, 4), st.integers(0, 10**6), st.floats(0.1, 10), st.floats(-5, 5))
def test_the_unit_of_the_scores_does_not_matter(runs, settings_, seed, scale, shift):
    given_RS = scores(runs, settings_, seed)
    one, other = (aggregate(each_RS, resamples=50) for each_RS in (given_RS, shift + scale * given_RS))
    moved = [shift + scale * end for end in (one.value, one.low, one.high)]
    assert [other.value, other.low, other.high] == pytest.approx(moved)


@settings(max_examples=30, deadline=None)
@given(st.integers(2, 8), st.integers(1, 4), st.integers(0, 10**6))
def test_the_value_lies_within_and_repeats(runs, settings_, seed):
    given_RS = scores(runs, settings_, seed)
    found = aggregate(given_RS)
    assert given_RS.min() <= found.low <= found.high <= given_RS.max()
    assert aggregate(given_RS) == found


def test_one_run_has_no_interval():
    found = aggregate(np.array([[0.2, 0.4]]))
    assert found.value == pytest.approx(0.3)
    assert (found.low, found.high) == (None, None)


@pytest.mark.parametrize(
    ("given_RS", "said"),
    [
        (np.zeros(3), r"scores of shape \(3,\): give a matrix of runs by settings"),
        (np.zeros((0, 2)), "one of each at least"),
        (np.array([[0.1, np.nan]]), "scores must be finite numbers"),
    ],
)
def test_what_is_no_matrix_of_numbers_is_refused(given_RS, said):
    with pytest.raises(ValueError, match=said):
        aggregate(given_RS)
