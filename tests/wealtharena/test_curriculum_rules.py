"""The rules of a curriculum on scripted episodes: bounds, promotion, regression, plateau, schedule, progress."""

from __future__ import annotations

import json
import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from wealtharena.curriculum.bounds import bounds
from wealtharena.curriculum.curriculum import Curriculum
from wealtharena.curriculum.episodes import Ended
from wealtharena.curriculum.rules import StageRule, rule_of
from wealtharena.curriculum.shares import at_frontier, in_proportion
from wealtharena.spec_curriculum import CurriculumSpec

STAGES = {"easy": {"x": 1}, "middle": {"x": 2}, "hard": {}}


def plan(rule: dict[str, Any], **more: Any) -> CurriculumSpec:
    return CurriculumSpec.model_validate({"stages": STAGES, "success": {"at_least": 1.0}, "rule": rule, **more})


def promotion(copies: int = 8, runners: int = 1, replay: float = 0.0, **rule: Any) -> StageRule:
    spec = plan({"kind": "promotion", "promote_above": 0.7, **rule}, replay=replay)
    return rule_of(spec, copies=copies, runners=runners)


def play(rule: StageRule, stage: int, successes: int, of: int = 100) -> None:
    """So many episodes of a stage, the successes among them first."""
    for episode in range(of):
        rule.ended(stage, float(episode < successes))


def stage_of(rule: StageRule) -> int:
    return int(rule.figures()["stage"])


# ---- bounds


def test_wilsons_bounds_by_hand():
    found = bounds([1.0] * 80 + [0.0] * 20, 0.95, successes=True)
    z = 1.6448536269514722
    centre, half = 0.8 + z * z / 200, z * math.sqrt(0.8 * 0.2 / 100 + z * z / 40_000)
    assert found.mean == pytest.approx(0.8)
    assert found.low == pytest.approx((centre - half) / (1 + z * z / 100))
    assert found.high == pytest.approx((centre + half) / (1 + z * z / 100))
    scipys = stats.binomtest(80, 100).proportion_ci(confidence_level=0.9, method="wilson")
    assert (found.low, found.high) == (pytest.approx(scipys.low), pytest.approx(scipys.high))


@pytest.mark.parametrize("count", [30, 100, 1000])
def test_students_bounds_are_scipys(count: int):
    values = np.random.default_rng(0).normal(3.0, 2.0, count)
    half = stats.t.ppf(0.95, count - 1) * stats.sem(values)
    found = bounds(values.tolist(), 0.95, successes=False)
    assert found.low == pytest.approx(values.mean() - half, abs=1e-3)
    assert found.high == pytest.approx(values.mean() + half, abs=1e-3)


@settings(max_examples=50, deadline=None)
@given(st.lists(st.booleans(), min_size=2, max_size=300), st.floats(0.6, 0.999))
def test_bounds_hold_the_mean_between_them(values: list[bool], confidence: float):
    for successes in (True, False):
        found = bounds([float(value) for value in values], confidence, successes=successes)
        assert found.low <= found.mean + 1e-12
        assert found.mean <= found.high + 1e-12


# ---- shares


def test_shares_of_the_frontier_by_hand():
    assert at_frontier(0, 5, 64, 0.2) == (64, 0, 0, 0, 0)
    assert at_frontier(1, 5, 64, 0.2) == (13, 51, 0, 0, 0)
    assert at_frontier(3, 5, 64, 0.2) == (4, 4, 5, 51, 0)
    assert at_frontier(4, 5, 64, 0.0) == (0, 0, 0, 0, 64)


def test_shares_in_proportion_by_hand():
    assert in_proportion([1.0, 1.0, 1.0], 8) == (3, 3, 2)
    assert in_proportion([0.0, 3.0, 1.0], 11) == (1, 7, 3)


@settings(max_examples=100, deadline=None)
@given(st.lists(st.floats(0.01, 10), min_size=1, max_size=6), st.integers(6, 200))
def test_all_copies_are_shared_out(weights: list[float], copies: int):
    shared = in_proportion(weights, copies)
    assert sum(shared) == copies
    assert min(shared) >= 1


# ---- promotion


def test_two_checks_in_a_row_lead_on():
    rule = promotion()
    play(rule, 0, 80)
    assert (stage_of(rule), rule.figures()["checks_passed"]) == (1, 1)
    play(rule, 0, 70)
    assert (stage_of(rule), rule.figures()["checks_passed"]) == (1, 0)
    play(rule, 0, 80)
    play(rule, 0, 79, of=99)
    assert stage_of(rule) == 1
    play(rule, 0, 1, of=1)
    assert stage_of(rule) == 2
    assert rule.figures()["episodes"] == 0


def test_the_lower_bound_decides_and_not_the_mean():
    rule = promotion()
    for _ in range(5):
        play(rule, 0, 75)  # the lower bound is 0.672
    assert stage_of(rule) == 1


def test_only_episodes_of_the_stage_count():
    rule = promotion()
    for other in (1, 2):
        play(rule, other, 100, of=500)
    assert rule.figures()["episodes"] == 0
    play(rule, 0, 100)
    play(rule, 0, 100)
    play(rule, 0, 100, of=500)
    assert stage_of(rule) == 2


def test_a_check_takes_as_many_episodes_as_there_are_copies():
    rule = promotion(copies=64, runners=4, patience=1)
    play(rule, 0, 255, of=255)
    assert stage_of(rule) == 1
    play(rule, 0, 1, of=1)
    assert stage_of(rule) == 2


def test_the_last_stage_is_kept():
    rule = promotion(patience=1)
    for stage in (0, 1, 2, 2, 2):
        play(rule, stage, 100)
    assert stage_of(rule) == 3
    assert rule.figures()["promotions"] == 2


def test_regression_needs_grace_patience_and_the_upper_bound():
    rule = promotion(patience=2, regress_below=0.3, grace=300)
    for _ in range(2):
        play(rule, 0, 100)
    for _ in range(3):
        play(rule, 1, 0)  # within the grace
    play(rule, 1, 25)  # the upper bound is 0.33
    assert rule.figures()["checks_failed"] == 0
    play(rule, 1, 10)
    play(rule, 1, 25)
    play(rule, 1, 10)
    assert stage_of(rule) == 2
    play(rule, 1, 10)
    assert (stage_of(rule), rule.figures()["regressions"]) == (1, 1)
    play(rule, 0, 0, of=1000)
    assert stage_of(rule) == 1


def test_between_the_two_bars_a_stage_is_kept():
    rule = promotion(patience=1, regress_below=0.3, grace=0)
    play(rule, 0, 100)
    for _ in range(20):
        play(rule, 1, 50)
    assert (stage_of(rule), rule.figures()["promotions"], rule.figures()["regressions"]) == (2, 1, 0)


def test_what_was_known_of_an_earlier_stay_is_forgotten():
    rule = promotion(patience=2, regress_below=0.3, grace=0)
    for stage, successes in ((0, 100), (0, 100), (1, 0), (1, 0), (0, 100)):
        play(rule, stage, successes)
    assert (stage_of(rule), rule.figures()["episodes"], rule.figures()["checks_passed"]) == (1, 100, 1)


def spread(rule: StageRule, shares: list[float]) -> None:
    """A hundred episodes at each share of successes, evenly mixed."""
    for share in shares:
        for episode in range(100):
            rule.ended(0, float(int((episode + 1) * share) > int(episode * share)))


def test_a_flat_curve_is_a_plateau_and_a_rising_one_is_not():
    flat = promotion(patience=1, plateau={"episodes": 500, "above": 0.3})
    spread(flat, [0.5, 0.52, 0.48, 0.51])
    assert stage_of(flat) == 1
    spread(flat, [0.49])
    assert stage_of(flat) == 2
    rising = promotion(patience=1, plateau={"episodes": 500, "above": 0.2})
    spread(rising, [0.3, 0.36, 0.41, 0.48, 0.53])
    assert stage_of(rising) == 1
    low = promotion(patience=1, plateau={"episodes": 500, "above": 0.3})
    spread(low, [0.1] * 8)
    assert stage_of(low) == 1


def test_a_metric_without_a_bar_counts_as_it_is():
    spec = CurriculumSpec.model_validate(
        {"stages": STAGES, "rule": {"kind": "promotion", "promote_above": 2.0, "patience": 1}}
    )
    rule = rule_of(spec, copies=4, runners=1)
    for episode in range(100):
        rule.ended(0, 2.0 + (episode % 2) * 0.2)  # mean 2.1, deviation 0.1005, lower bound 2.083
    assert stage_of(rule) == 2


# ---- schedule, mixture, progress


def test_a_schedule_goes_by_the_clock():
    rule = rule_of(plan({"kind": "schedule", "env_steps": [100, 300]}, replay=0.5), copies=8, runners=1)
    found = []
    for env_steps in (0, 99, 100, 299, 300, 1000):
        rule.reached(env_steps)
        found.append(rule.copies())
    assert found == [(8, 0, 0), (8, 0, 0), (4, 4, 0), (4, 4, 0), (2, 2, 4), (2, 2, 4)]


def test_a_mixture_has_all_stages_alike():
    assert rule_of(plan({"kind": "mixture"}), copies=9, runners=1).copies() == (3, 3, 3)


def test_progress_goes_where_scores_change():
    rule = rule_of(plan({"kind": "progress", "explore": 0.3, "rate": 0.5}), copies=33, runners=1)
    assert rule.copies() == (11, 11, 11)
    for stage in (0, 1, 2):
        play(rule, stage, 50)
    assert rule.copies() == (11, 11, 11)  # a score alone is no change
    play(rule, 0, 50)
    play(rule, 1, 80)
    play(rule, 2, 40)  # forgetting counts as learning does
    # q = 0, 0.15, 0.05: shares 0.1, 0.1 + 0.7 * 3/4, 0.1 + 0.7 / 4 of the 30 copies beside one for each
    assert rule.copies() == (1 + 3, 1 + 19, 1 + 8)
    play(rule, 1, 80)  # q of the middle stage falls to 0.075: 0.1, 0.52, 0.38
    assert rule.copies() == (4, 1 + 16, 1 + 11)  # 15.6 and 11.4
    assert stage_of(rule) == 2


RULES: list[dict[str, Any]] = [
    {"kind": "promotion", "promote_above": 0.6, "regress_below": 0.4, "grace": 100, "plateau": {"above": 0.1}},
    {"kind": "schedule", "env_steps": [2_000, 4_000]},
    {"kind": "progress"},
    {"kind": "mixture"},
]


def ended(generator: np.random.Generator) -> Ended:
    count = int(generator.integers(0, 60))
    a_M, b_M = generator.choice([0.0, 2.0], (2, count))
    stage_M = generator.integers(0, 3, count)
    return Ended(stage_M, generator.integers(1, 9, count), {"a": a_M, "b": np.where(stage_M == 0, np.nan, b_M)})


@pytest.mark.parametrize("rule", RULES, ids=[str(rule["kind"]) for rule in RULES])
def test_a_restored_curriculum_goes_on_to_the_bit(rule: dict[str, Any]):
    spec = plan(rule)
    straight, first, generator = Curriculum(spec, copies=8, runners=2), None, np.random.default_rng(1)
    other: Curriculum | None = None
    for step in range(120):
        episodes = [ended(generator), ended(generator)]
        straight.observe(episodes, 50 * step)
        if step == 47:
            first = straight.get_state()
            assert json.loads(json.dumps(first)) == first
            other = Curriculum(spec, copies=8, runners=2)
            other.set_state(first)
        elif other is not None:
            other.observe(episodes, 50 * step)
            assert other.figures() == straight.figures()
            assert other.copies() == straight.copies()
    assert first is not None
    assert straight.get_state() != first


def test_figures_by_hand():
    curriculum = Curriculum(plan({"kind": "mixture"}), copies=4, runners=1)
    episodes = Ended(np.array([0, 2, 2]), np.array([1, 1, 1]), {
        "a": np.array([1.0, 0.0, 3.0]), "b": np.array([np.nan, 1.0, 5.0])})  # fmt: skip
    curriculum.observe([episodes], 12)
    assert curriculum.figures() == {
        "share/easy": 0.5, "episodes/easy": 1.0, "success/easy": 1.0, "return/easy": 1.0,
        "share/middle": 0.25, "episodes/middle": 0.0,
        "share/hard": 0.25, "episodes/hard": 2.0, "success/hard": 0.5, "return/hard": (0.5 + 4.0) / 2,
    }  # fmt: skip
    assert episodes.metric("episode_length").tolist() == [1.0, 1.0, 1.0]
    assert episodes.metric("a/episode_return").tolist() == [1.0, 0.0, 3.0]
