"""The reward as a vector in evaluations, and the Pareto view of the report."""

from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from environments.market.config import MarketParams
from environments.market.env import MarketEnv
from tests.wealtharena.tracks import DAY, track_of
from wealtharena.evidence.evaluate import Played, evaluate_market
from wealtharena.evidence.pareto import RISKS, frontier, frontiers, pareto
from wealtharena.evidence.report import write_report
from wealtharena.evidence.walk_forward import chain


@pytest.fixture(scope="module")
def evaluation():
    traders = {"stocks": {"asset_class": "stocks"}, "crypto": {"asset_class": "crypto", "paid": "portfolio"}}
    params = MarketParams.model_validate(
        {
            "data": {"synthetic": {"assets": {"stocks": 2, "crypto": 1}, "bars": 200}},
            "traders": traders,
            "allocator": None,
            "reward": {"cost": 0.5, "terms": {"volatility": 0.2, "diversification": 0.0, "cooperation": 1.0}},
        }
    )
    generator = torch.Generator().manual_seed(0)
    policies = {
        "stocks": lambda obs: torch.randint(0, 3, obs.shape[:2], generator=generator),
        "crypto": lambda obs: torch.rand(*obs.shape[:2], 1, generator=generator) * 2 - 1,
    }
    return evaluate_market(MarketEnv, params, policies)


def test_an_evaluation_has_every_objective_of_everybody(evaluation):
    told = evaluation.content["objectives"]
    assert told["weights"] == {
        "profit": 1.0,
        "cost": 0.5,
        "volatility": 0.2,
        "diversification": 0.0,
        "cooperation": 1.0,
    }
    assert told["tracks"].keys() == {track.name for track in evaluation.tracks}
    assert told["groups"].keys() == {"stocks", "crypto"}
    assert all(found.keys() == told["weights"].keys() for part in ("tracks", "groups") for found in told[part].values())


def test_the_profit_and_the_costs_of_the_portfolio_are_those_of_its_books(evaluation):
    for track in evaluation.tracks:
        found, bars = evaluation.content["objectives"]["tracks"][track.name], len(track.returns_T)
        assert found["profit"] == pytest.approx(np.log(track.nav[-1] / track.nav[0]) / bars, abs=1e-12)
        assert found["cost"] == pytest.approx(-(track.cost_TN.sum(axis=1) / track.nav[:-1]).mean(), abs=1e-12)


def test_a_group_is_told_what_it_is_paid_for(evaluation):
    told = evaluation.content["objectives"]
    assert told["groups"]["crypto"] == told["tracks"]["team"]
    assert told["groups"]["stocks"]["cooperation"] == pytest.approx(told["tracks"]["team"]["profit"])
    assert told["tracks"]["team"]["cooperation"] == 0.0


def test_objectives_of_chained_tests_add_up():
    one = replace(track_of([[1.0], [2.0]], [[50.0], [50.0]]), objectives={"profit": np.array([0.03, 0.02])})
    two = replace(one, dates=one.dates + 5 * DAY, objectives={"profit": np.array([0.01, -0.01])})
    both = chain([Played(None, track, (), {}) for track in (one, two)]).team
    assert both.objectives["profit"].tolist() == pytest.approx([0.04, 0.01])


def test_the_frontier_by_hand():
    points = {"cash": (0.0, 0.0), "team": (0.1, 0.2), "twin": (0.1, 0.2), "dear": (0.1, 0.1), "wild": (0.3, 0.25)}
    assert frontier(points) == ["cash", "team", "twin", "wild"]


@settings(max_examples=100, deadline=None)
@given(st.lists(st.tuples(st.integers(0, 5), st.integers(0, 5)), min_size=1, max_size=8))
def test_a_frontier_rises_and_beats_all_others(drawn):
    points = {str(i): point for i, point in enumerate(drawn)}
    best = sorted({points[name] for name in frontier(points)})
    assert best
    assert all(one[0] < other[0] and one[1] < other[1] for one, other in pairwise(best))
    assert all(any(front[0] <= x and front[1] >= y for front in best) for x, y in drawn)


def test_the_pareto_view_marks_the_frontier_and_leaves_out_what_is_undefined():
    safe = {"annual_return": 0.1, "volatility": 0.1, "max_drawdown": 0.1, "cvar_95": 0.01, "costs": 0.0}
    worse = safe | {"annual_return": 0.05, "costs": None}
    figure = pareto({"team": safe, "equal_weight": worse})
    assert [trace["marker"]["symbol"] for trace in figure["data"]] == [*["circle", "circle-open"] * 3, "circle"]
    titles = [figure["layout"][axis]["title"]["text"] for axis in ("xaxis", "xaxis2", "xaxis3", "xaxis4")]
    assert titles == ["Volatility", "Max drawdown", "CVaR 95%", "Costs"]
    assert list(frontiers({"team": safe, "equal_weight": worse}).values()) == [["Team"]] * len(RISKS)


def test_the_report_has_a_row_for_each_objective(evaluation, tmp_path):
    evaluation.write(tmp_path)
    text = write_report(tmp_path).read_text(encoding="utf-8")
    for objective in evaluation.content["objectives"]["weights"]:
        assert f'<th scope="row">{objective}</th>' in text
    assert "Pareto view" in text


def test_a_report_on_an_older_evaluation_goes_without_them(evaluation, tmp_path):
    older = {name: part for name, part in evaluation.content.items() if name != "objectives"}
    replace(evaluation, content=older).write(tmp_path)
    assert "What the reward adds up" not in write_report(tmp_path).read_text(encoding="utf-8")
