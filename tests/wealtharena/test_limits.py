"""What an evaluation and its report tell of the limits of risk."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from torch import Tensor

from environments.market.config import MarketParams
from environments.market.config_risk import RiskParams
from environments.market.env import MarketEnv
from wealtharena.evidence.evaluate import evaluate_market
from wealtharena.evidence.evaluation import Evaluation
from wealtharena.evidence.files import TRACKS, class_frame
from wealtharena.evidence.limits import limits, rows, strip
from wealtharena.evidence.report import write_report
from wealtharena.evidence.track import Track

DATES = np.array(["2020-01-01", "2020-01-02", "2020-01-03", "2020-01-04"], dtype="datetime64[s]")


def track(**bound: list[bool]) -> Track:
    amount_TN, nothing_T = np.zeros((3, 1)), np.zeros(3)
    return Track(
        name="team",
        dates=DATES,
        nav=np.ones(4),
        value_TN=amount_TN,
        traded_TN=amount_TN,
        cost_TN=amount_TN,
        carry_TN=amount_TN,
        pnl_TN=amount_TN,
        interest_T=nothing_T,
        budget_TK=None,
        symbols=("A",),
        classes=("stocks",),
        class_N=np.zeros(1, dtype=np.int64),
        bound={name: np.array(bound_T) for name, bound_T in bound.items()},
    )


def test_a_limit_is_told_by_share_first_and_last_bar() -> None:
    found = limits(RiskParams(max_net=0.5), track(net=[False, True, True], gross=[False] * 3))
    assert found["net"] == {
        "setting": 0.5,
        "share_of_bars": pytest.approx(2 / 3),
        "bars": 2,
        "first": "2020-01-03T00:00:00",
        "last": "2020-01-04T00:00:00",
    }
    assert found["gross"] == {"setting": 1.0, "share_of_bars": 0, "bars": 0, "first": None, "last": None}
    assert [(row["name"], row["setting"], row["first"]) for row in rows(found)] == [
        ("Gross exposure", "1", "\u2014"),
        ("Net exposure", "0.5", "2020-01-03"),
    ]


def test_the_strip_has_a_line_for_each_limit_that_ever_bound() -> None:
    figure = strip(class_frame(track(net=[False, True, True], gross=[False] * 3)))
    assert figure is not None
    assert figure["data"][0]["y"] == ["Net exposure"]
    assert figure["data"][0]["z"] == [[0, 1, 1]]
    assert figure["data"][0]["x"] == ["2020-01-02", "2020-01-03", "2020-01-04"]
    assert strip(class_frame(track(gross=[False] * 3))) is None


@pytest.fixture(scope="module")
def evaluation() -> Evaluation:
    """Everybody holds all that is allowed, of four assets that are half the book by themselves."""

    def long(obs: Tensor) -> Tensor:
        return torch.ones(*obs.shape[:2], 1)

    trader = {"asset_class": "stocks", "action": "continuous"}
    given = {
        "data": {"synthetic": {"assets": {"stocks": 4}, "bars": 120}},
        "horizon": None,
        "warmup": 20,
        "allocator": None,
        "traders": {"stocks": trader},
        "risk": {"max_net": 0.5, "max_class": 1, "drawdown": {}},
    }
    return evaluate_market(MarketEnv, MarketParams.model_validate(given), {"stocks": long})


def test_an_evaluation_tells_when_limits_bound(evaluation: Evaluation) -> None:
    risk = evaluation.content["risk"]
    assert risk["net"]["share_of_bars"] > 0.5
    assert risk["position"]["bars"] == 0
    assert "var_parametric" not in risk
    team, *others = evaluation.tracks
    assert team.bound["net"].sum() == risk["net"]["bars"]
    assert not any(other.bound for other in others)


def test_the_report_shows_them(evaluation: Evaluation, tmp_path: Path) -> None:
    evaluation.write(tmp_path)
    table = pd.read_parquet(tmp_path / TRACKS)
    assert table.loc[table["track"] == "team", "bound/net"].sum() == evaluation.content["risk"]["net"]["bars"]
    assert table.loc[table["track"] == "cash", "bound/net"].isna().all()
    page = write_report(tmp_path).read_text(encoding="utf-8")
    assert '<h2 id="risk-section">Limits of risk</h2>' in page
    assert '<th scope="row">Net exposure</th><td class="left">0.5</td>' in page
    assert 'id="limits"' in page
