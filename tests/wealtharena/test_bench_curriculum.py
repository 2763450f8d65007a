"""The comparison of ways through the stages: the same best policy in each, and figures by hand."""

from __future__ import annotations

import pytest

from environments.market.env import MarketEnv
from environments.market.planted.base import GROUP
from wealtharena.bench.cases import G1
from wealtharena.bench.curriculum import FINAL, LUCK, RULES, Trained, document, known_of, params_of
from wealtharena.bench.problem import play
from wealtharena.bench.table import curriculum_table
from wealtharena.spec_curriculum import CurriculumSpec


def test_the_utility_of_the_best_policy_is_the_same_in_all_stages():
    """Its mean over 4,096 episodes is the value of the recursion, to within four errors."""
    for name, luck in LUCK.items():
        env = MarketEnv(params_of(luck), num_envs=4096)
        best = G1.yardsticks(env, dict)[GROUP]
        utility_E = best.score(play(env, best.optimal, seed=0))
        error = float(utility_E.std()) / 64
        assert float(utility_E.mean()) == pytest.approx(best.optimum, abs=4 * error), name
        assert error < 0.3


def trained(way: str, *shares: float) -> list[Trained]:
    return [Trained(way, seed, 64, share, 0.01, 1.0) for seed, share in enumerate(shares)]


def test_figures_by_hand():
    ended = [*trained("curriculum", 0.9, 0.8), *trained("uniform mixture", 0.5), *trained(FINAL, 0.7, 0.7)]
    rows = {row["way"]: row for row in document(ended, quick=False)["rows"]}
    assert list(rows) == list(RULES)
    assert rows["curriculum"]["share"] == pytest.approx(0.85)
    assert rows["curriculum"]["gain"] == pytest.approx(0.15)
    # Student's quantile with one degree of freedom is 12.706; the gains 0.2 and 0.1 have an error of 0.05.
    assert rows["curriculum"]["gain_low"] == pytest.approx(0.15 - 12.7062 * 0.05, abs=1e-4)
    assert "gain" not in rows["uniform mixture"]
    assert "gain" not in rows[FINAL]
    assert curriculum_table(list(rows.values())).row_count == 3


def test_what_a_file_holds_is_not_trained_again():
    ended = [*trained("curriculum", 0.9, 0.8), *trained(FINAL, 0.7)]
    content = document(ended, quick=False)
    assert sorted(known_of(content, seeds=5, quick=False), key=str) == sorted(ended, key=str)
    assert [one.seed for one in known_of(content, seeds=1, quick=False)] == [0, 0]
    assert known_of(content, seeds=5, quick=True) == []
    assert known_of({}, seeds=5, quick=False) == []


@pytest.mark.parametrize("way", [way for way, rule in RULES.items() if rule])
def test_rules_are_as_the_file_has_them(way: str):
    stages = {name: {"luck": luck} for name, luck in LUCK.items()} | {"full": {}}
    assert CurriculumSpec.model_validate({"stages": stages, "rule": RULES[way]}).rule.kind in ("promotion", "mixture")
