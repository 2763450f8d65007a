"""Walk-forward folds: hand-worked windows, laws of any walk, and what is refused before anything is trained."""

from datetime import date, timedelta
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from tests.wealtharena.test_spec import message
from wealtharena.experiment import load_experiment
from wealtharena.folds import fold_seed, plan_folds
from wealtharena.spec import WalkForwardSpec, WindowSpec

FIRST = date(2020, 1, 1)
ROOT = Path(__file__).parents[2]


def days_of(offsets):
    return np.array([np.datetime64(FIRST + timedelta(int(offset)), "D") for offset in offsets])


def window(first, last):
    return WindowSpec(start=FIRST + timedelta(first), end=FIRST + timedelta(last))


def plan(train, test, days=1000, **rule):
    found = plan_folds(WalkForwardSpec(**rule), days_of(range(days)), window(*train), window(*test), seed=0)
    return [tuple((edge - FIRST).days for w in (f.train, f.test) for edge in (w.start, w.end)) for f in found]


def test_a_rolling_window_keeps_its_length():
    assert plan((0, 99), (100, 159), folds=3) == [(0, 99, 100, 119), (20, 119, 120, 139), (40, 139, 140, 159)]


def test_an_expanding_window_keeps_its_beginning():
    found = plan((0, 99), (100, 159), folds=3, scheme="expanding")
    assert found == [(0, 99, 100, 119), (0, 119, 120, 139), (0, 139, 140, 159)]


def test_purge_lies_between_training_and_test():
    assert plan((0, 99), (100, 139), folds=2, purge_days=7) == [(0, 92, 100, 119), (20, 112, 120, 139)]


def test_the_gap_of_the_file_stays_and_counts_as_purge():
    assert plan((0, 94), (100, 139), folds=2, purge_days=3) == [(0, 94, 100, 119), (20, 114, 120, 139)]


def test_embargo_parts_a_test_from_the_next_fold():
    # The next fold neither trains nor tests on days 118 to 120; the one after it trains on them.
    found = plan((0, 99), (100, 159), folds=3, scheme="expanding", embargo_days=3)
    assert found == [(0, 99, 100, 117), (0, 117, 121, 138), (0, 138, 142, 159)]


def test_the_larger_of_purge_and_embargo_holds():
    found = plan((0, 99), (100, 143), folds=2, purge_days=6, embargo_days=4)
    assert found == [(0, 93, 100, 119), (24, 117, 124, 143)]


def test_test_days_leave_the_rest_to_the_last_fold():
    assert plan((0, 49), (50, 104), test_days=25, scheme="expanding") == [(0, 49, 50, 74), (0, 74, 75, 104)]


def test_a_rest_of_at_least_half_is_a_fold_of_its_own():
    assert [last - first + 1 for *_, first, last in plan((0, 49), (50, 112), test_days=25)] == [25, 25, 13]
    assert [last - first + 1 for *_, first, last in plan((0, 49), (50, 111), test_days=25)] == [25, 37]
    found = plan((0, 49), (50, 118), test_days=25, embargo_days=3)
    assert [last - first + 1 for *_, first, last in found] == [25, 25, 13]


def test_days_without_a_bar_do_not_count():
    weekdays = days_of(day for day in range(60) if (FIRST + timedelta(day)).weekday() < 5)
    found = plan_folds(WalkForwardSpec(folds=2, purge_days=1), weekdays, window(0, 30), window(31, 59), seed=0)
    assert [str(fold.test) for fold in found] == ["2020-02-03 to 2020-02-14", "2020-02-17 to 2020-02-28"]
    assert found[0].train.end == date(2020, 1, 30)  # Friday is purged, and the weekend never was a day


WALKS = st.fixed_dictionaries(
    {
        "scheme": st.sampled_from(["rolling", "expanding"]),
        "purge_days": st.integers(0, 12),
        "embargo_days": st.integers(0, 12),
    }
)


@settings(max_examples=200, deadline=None)
@given(
    walk=WALKS,
    folds=st.integers(2, 8),
    test_days=st.none() | st.integers(2, 40),
    trained=st.integers(20, 60),
    gap=st.integers(0, 10),
    tested=st.integers(30, 150),
    dropped=st.sets(st.integers(0, 219), max_size=60),
)
def test_laws_of_any_walk(walk, folds, test_days, trained, gap, tested, dropped):
    days = days_of(sorted(set(range(trained + gap + tested)) - dropped))
    rule = WalkForwardSpec(**walk, **({"folds": folds} if test_days is None else {"test_days": test_days}))
    train, test = window(0, trained - 1), window(trained + gap, trained + gap + tested - 1)
    try:
        found = plan_folds(rule, days, train, test, seed=1)
    except ValueError:
        assume(False)
    place = {str(day): index for index, day in enumerate(days)}
    at = [tuple(place[str(edge)] for w in (f.train, f.test) for edge in (w.start, w.end)) for f in found]
    inside = np.flatnonzero((days >= np.datetime64(test.start)) & (days <= np.datetime64(test.end)))
    assert (at[0][2], at[-1][3]) == (inside[0], inside[-1])  # the test window is used from end to end
    for train_start, train_end, test_start, test_end in at:
        assert train_start < train_end < test_start < test_end
        assert test_start - train_end - 1 >= rule.purge_days
    for before, after in pairwise(at):
        assert after[2] - before[3] - 1 == rule.embargo_days
        assert after[1] <= before[3]  # the next training ends before the embargo
        assert after[1] > before[1]
    lengths = {end - start for start, end, _, _ in at}
    assert len(lengths) == 1 if rule.scheme == "rolling" else {start for start, *_ in at} == {at[0][0]}
    sizes = [end - start + 1 for *_, start, end in at]
    assert (
        max(sizes) - min(sizes) <= 1
        if test_days is None
        else set(sizes[:-1]) == {test_days} and 2 * sizes[-1] >= test_days
    )


def test_seeds_of_folds_have_nothing_in_common():
    seeds = {fold_seed(seed, number) for seed in range(50) for number in range(1, 21)}
    assert len(seeds) == 1000
    assert all(0 <= seed < 2**31 for seed in seeds)
    assert fold_seed(3, 2) == fold_seed(3, 2)


# ---- in an experiment file


@pytest.mark.parametrize(
    ("given_", "parts"),
    [
        ("{}", ["evaluation.walk_forward", "give one of folds", "test_days"]),
        ("{folds: 3, test_days: 20}", ["give one of folds"]),
        ("{folds: 1}", ["evaluation.walk_forward.folds = 1", "greater than or equal to 2"]),
        ("{folds: 3, purge: 2}", ["evaluation.walk_forward.purge", "did you mean 'purge_days'"]),
        ("{folds: 3, scheme: sliding}", ["evaluation.walk_forward.scheme = 'sliding'", "'rolling' or 'expanding'"]),
        ("{folds: 3, purge_days: -1}", ["purge_days = -1", "greater than or equal to 0"]),
        ("{folds: 80}", ["folds = 80: the test window has 119 days, too few for 80 folds of at least 2 days"]),
        ("{folds: 4, embargo_days: 38}", ["too few for 4 folds", "with 38 days of embargo between them"]),
        ("{test_days: 90}", ["test_days = 90: the test window has 119 days, too few for 2 folds of 90 days"]),
        ("{folds: 3, purge_days: 181}", ["purge_days = 181: leaves 0 of the 181 days of the training window"]),
        ("{folds: 3, purge_days: 165}", ["fold 1 cannot be trained", "horizon: 20 steps do not fit"]),
        ("{folds: 3, purge_days: 600}", ["purge_days = 600: leaves 0 of the 181 days"]),
    ],
)
def test_folds_that_make_no_sense_are_refused_in_one_line(market, given_, parts):
    text = message(market, f"evaluation.walk_forward={given_}")
    assert all(part in text for part in [*parts, "--set evaluation.walk_forward"]), text


def test_a_training_too_short_for_the_warmup_is_refused(market):
    overrides = ["environment.params.horizon=2", "evaluation.walk_forward={folds: 3, purge_days: 165}"]
    assert "fold 1 cannot be trained: warmup: no asset" in message(market, *overrides)


def test_a_test_before_the_training_is_refused(market):
    overrides = ["environment.params.window={start: 2015-07-01}", "evaluation.window={end: 2015-06-30}"]
    text = message(market, *overrides, "evaluation.walk_forward={folds: 2}")
    assert "must begin after the training window environment.params.window (2015-07-01 to last bar)" in text


def test_an_environment_without_dates_has_no_folds(game):
    assert "TargetGame has no dates" in message(game, "evaluation.walk_forward={folds: 2}")


def test_a_fold_is_an_experiment_of_its_own(market):
    whole = load_experiment(str(market), ["seed=5", "evaluation.walk_forward={folds: 3, scheme: expanding}"])
    assert whole.test_dates == ("2015-07-01", "2015-10-27")
    own = whole.of_fold(whole.folds[1])
    assert (own.train_dates, own.test_dates) == (("2015-01-01", "2015-08-08"), ("2015-08-09", "2015-09-17"))
    resolved = own.resolved()
    assert resolved["seed"] == fold_seed(5, 2)
    assert resolved["environment"]["params"]["window"] == {"start": "2015-01-01", "end": "2015-08-08"}
    assert resolved["evaluation"]["window"] == {"start": "2015-08-09", "end": "2015-09-17"}
    assert resolved["evaluation"]["walk_forward"] is None
    assert own.test_params.model_dump()["horizon"] is None
    assert own.params.model_dump()["horizon"] == 20


def test_the_example_is_loaded():
    experiment = load_experiment(str(ROOT / "tune_configs/walk_forward.yaml"))
    assert [fold.number for fold in experiment.folds] == [1, 2, 3, 4]
    assert experiment.folds[-1].test.end == date(2022, 9, 15)
