"""Each limit of risk on numbers that were worked by hand."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError
from torch import Tensor

from environments.market.config import MarketParams
from environments.market.config_risk import (
    DrawdownParams,
    HistoricalTailParams,
    RiskParams,
    TailParams,
    VolatilityParams,
)
from environments.market.execution import net_room
from environments.market.risk_balance import DUST, balanced, scaled_to_net, spread_out
from environments.market.risk_forecast import covariance_TNN, returns_TN, volatility_TN
from environments.market.risk_sizing import LEAST, by_diversification, by_drawdown, by_volatility
from environments.market.risk_tail import of_losses, scales
from tests.environments.markets import by_hand


def row(*weight: float) -> Tensor:
    return torch.tensor([weight], dtype=torch.float64)


# ---- shapes of a book


def test_the_heavier_side_is_scaled_to_the_net_limit():
    assert balanced(row(0.6, 0.2, -0.4), 0.2)[0].tolist() == pytest.approx([0.45, 0.15, -0.4])
    assert balanced(row(0.1, -0.3, -0.3), 0.1)[0].tolist() == pytest.approx([0.1, -0.1, -0.1])
    assert balanced(row(0.5, -0.4), 0.2).tolist() == row(0.5, -0.4).tolist()
    assert balanced(row(0.0, -0.0), 0.2).tolist() == [[0, 0]]


def test_where_longs_and_shorts_must_both_stay_the_whole_book_is_scaled_to_the_net_limit():
    assert scaled_to_net(row(0.6, -0.2), 0.1)[0].tolist() == pytest.approx([0.15, -0.05])
    assert scaled_to_net(row(0.2, -0.2), 0.1).tolist() == row(0.2, -0.2).tolist()


def test_the_largest_are_clipped_to_the_concentration_limit():
    """Of 3, 1, 1 the index is 11/25. At 3/8 the cut c solves (2 + c^2) / (2 + c)^2 = 3/8: 5 c^2 - 12 c + 4 = 0."""
    assert spread_out(row(0.3, -0.1, 0.1), 3 / 8)[0].tolist() == pytest.approx([0.2, -0.1, 0.1])
    assert spread_out(row(0.3, -0.1, 0.1), 11 / 25)[0].tolist() == pytest.approx([0.3, -0.1, 0.1])


def test_too_few_positions_for_the_limit_become_equal():
    assert spread_out(row(0.3, 0.0, -0.1), 0.2)[0].tolist() == pytest.approx([0.1, 0, -0.1])
    assert spread_out(row(0.3, 0.0, 0.0), 0.2).tolist() == [[0.3, 0, 0]]
    assert spread_out(row(0.0, 0.0, 0.0), 0.2).tolist() == [[0, 0, 0]]


def test_a_crumb_is_no_position():
    assert spread_out(row(0.3, 1e-7, 0.1), 0.4)[0].tolist() == pytest.approx([0.1, 1e-7, 0.1])


@settings(max_examples=100, deadline=None)
@given(
    weight=st.lists(st.one_of(st.just(0.0), st.floats(-2, 2)), min_size=1, max_size=8),
    most=st.floats(0.05, 1),
    net=st.floats(0.01, 2),
)
def test_a_shape_is_kept_by_cutting_alone_and_kept_once_it_is_kept(weight, most, net):
    before_EN = row(*weight)
    for cut_EN in (spread_out(before_EN, most), balanced(before_EN, net), scaled_to_net(before_EN, net)):
        assert (cut_EN.abs() <= before_EN.abs() * (1 + 1e-12)).all()
        assert (cut_EN * before_EN >= 0).all()
    spread_EN = spread_out(before_EN, most)
    torch.testing.assert_close(spread_out(spread_EN, most), spread_EN, rtol=1e-7, atol=0)
    if held := int((before_EN.abs() >= DUST).sum()):
        share_EN = spread_EN.abs() / spread_EN.abs().sum()
        assert share_EN.square().sum() <= max(most, 1 / held) + 1e-9
    assert balanced(before_EN, net).sum().abs() <= net + 1e-12


def test_what_fills_makes_room_for_what_does_not():
    """30 of 100 are stuck long; with fills of +0.4 and -0.1 net would be 0.6: 0.2 is left for the longs that fill."""
    held_EN, target_EN = row(30.0, 0.0, 0.0), row(0.0, 0.4, -0.1)
    fill_EN, nav_E1 = torch.tensor([[False, True, True]]), row(100.0)
    assert net_room(held_EN, target_EN, fill_EN, nav_E1, nav_E1, 0.4)[0].tolist() == pytest.approx([0, 0.2, -0.1])
    assert net_room(-held_EN, -target_EN, fill_EN, nav_E1, nav_E1, 0.4)[0].tolist() == pytest.approx([0, -0.2, 0.1])
    assert net_room(held_EN, target_EN, fill_EN, nav_E1, nav_E1, 0.1)[0].tolist() == pytest.approx([0, 0, -0.1])


# ---- sizes


def test_a_position_is_sized_to_its_volatility():
    params = VolatilityParams(target=0.2, max_leverage=1.5)
    assert by_volatility(row(0.4, 0.2, 0.1, 0.0), params)[0].tolist() == pytest.approx([0.5, 1, 1.5, 1.5])


def test_exposure_falls_with_the_drawdown_and_comes_back_at_once():
    params = DrawdownParams(start=0.1, limit=0.2, floor=0.2, recover=0.05)
    exposure_E1, seen = row(1.0), []
    for drawdown in (0.0, 0.1, 0.15, 0.12, 0.06, 0.3, 0.11, 0.05, 0.12):
        exposure_E1 = by_drawdown(row(drawdown), exposure_E1, params)
        seen.append(float(exposure_E1))
    assert seen == pytest.approx([1, 1, 0.6, 0.6, 0.6, 0.2, 0.2, 1, 0.84])


def test_a_bet_shrinks_by_its_correlation_with_the_rest():
    """C = [[1, 0.5, 0], [0.5, 1, 0], [0, 0, 1]], w = (1, 1, -1): bet 1 against the rest (1, -1): 0.5 / sqrt(2)."""
    covariance_NN = torch.tensor([[1, 0.5, 0], [0.5, 1, 0], [0, 0, 1]], dtype=torch.float64)
    weight_EN = row(1.0, 1.0, -1.0)
    shared_EN = weight_EN * (weight_EN @ covariance_NN)
    left = by_diversification(shared_EN, weight_EN**2, 0.8)[0].tolist()
    assert left == pytest.approx([1 - 0.8 * 0.5 / math.sqrt(2)] * 2 + [1])
    hedge_EN = row(1.0, -1.0, 0.0)
    shared_EN = hedge_EN * (hedge_EN @ covariance_NN)
    assert by_diversification(shared_EN, hedge_EN**2, 0.8)[0].tolist() == [1, 1, 1]
    twins_EN = torch.ones(1, 2, dtype=torch.float64)
    assert by_diversification(2 * twins_EN, twins_EN, 1.0)[0].tolist() == pytest.approx([LEAST] * 2)


# ---- tails


def test_historical_tails_of_ten_losses():
    """At 0.8 the 8th smallest of 1 ... 10 is 8; beyond are 9 and 10: 8 + (1 + 2) / 10 / 0.2 = 9.5, their mean."""
    loss_EW = torch.tensor([[3.0, 10, 1, 7, 5, 9, 2, 8, 4, 6, 99]], dtype=torch.float64)
    tail = HistoricalTailParams(limit=0.1, level=0.8, window=10)
    assert of_losses("var_historical", tail, loss_EW).tolist() == [8]
    assert of_losses("cvar_historical", tail, loss_EW).tolist() == pytest.approx([9.5])


def test_between_two_losses_the_tail_holds_a_part_of_one():
    """At 0.75 of 10 the tail is 2.5 losses: VaR the 8th, CVaR (10 + 9 + 0.5 x 8) / 2.5."""
    loss_EW = torch.arange(1.0, 11.0, dtype=torch.float64).unsqueeze(0)
    tail = HistoricalTailParams(limit=0.1, level=0.75, window=10)
    assert of_losses("var_historical", tail, loss_EW).tolist() == [8]
    assert of_losses("cvar_historical", tail, loss_EW).tolist() == pytest.approx([23 / 2.5])


def test_parametric_tails_of_a_normal_law():
    """At 0.975 the quantile is 1.95996 deviations, the mean beyond it 2.33780; here one deviation is 2%."""
    params = RiskParams(
        var_parametric=TailParams(limit=0.0195996, level=0.975), cvar_parametric=TailParams(limit=0.023378, level=0.975)
    )
    found = scales(params, row(0.0003, 0.0001), None)
    assert found["var_parametric"].tolist() == pytest.approx([0.5], rel=1e-5)
    assert found["cvar_parametric"].tolist() == pytest.approx([0.5], rel=1e-5)


def test_what_is_within_its_limit_or_gains_is_not_scaled():
    tail = HistoricalTailParams(limit=0.1, level=0.6, window=3)
    gains_EW = torch.tensor([[-1.0, -2.0, -3.0]], dtype=torch.float64)
    assert scales(RiskParams(var_historical=tail), None, gains_EW)["var_historical"].tolist() == [1]
    assert scales(RiskParams(var_parametric=TailParams(limit=0.1)), row(0.0), None)["var_parametric"].tolist() == [1]


# ---- forecasts

PANEL = by_hand({"stocks/A": ([10.0] * 4, [10, 11, 11, 8.8]), "stocks/B": ([5.0] * 4, [5, 5, 6, 6])})


def test_covariances_fade_by_half():
    """Returns A 0.1, 0, -0.2 and B 0, 0.2, 0 under weights 1/4, 1/2, 1 of 7/4."""
    assert returns_TN(PANEL)[1:].tolist() == [pytest.approx(pair) for pair in ([0.1, 0], [0, 0.2], [-0.2, 0])]
    found_NN = covariance_TNN(PANEL, 0.5, 0)[3]
    assert found_NN == pytest.approx(np.array([[0.01 / 4 + 0.04, 0], [0, 0.04 / 2]]) / 1.75)
    assert volatility_TN(PANEL, 0.5)[3] == pytest.approx(np.sqrt(np.diag(found_NN) * 365))


def test_a_young_asset_is_reckoned_by_its_own_bars():
    """B begins at the third bar, and has one return: its variance is that return's square, at full size."""
    panel = by_hand({"stocks/A": ([10.0] * 4, [10, 11, 11, 8.8]), "stocks/B": ([5.0], [5.0])})
    young = by_hand({"stocks/A": ([10.0] * 2, [11.0, 8.8]), "stocks/B": ([5.0] * 2, [5.0, 6.0])}, start="2021-03-03")
    assert returns_TN(panel)[:, 1].tolist() == [0, 0, 0, 0]
    assert covariance_TNN(young, 0.5, 1)[0] == pytest.approx(np.array([[0.04, -0.04], [-0.04, 0.04]]))
    assert np.linalg.eigvalsh(covariance_TNN(young, 0.5, 1)[0]).min() >= -1e-18


# ---- what makes no sense

SIMULATION = {
    "data": {"simulation": {"classes": {"stocks": {"class": "environments.market.processes.brownian:Brownian"}}}},
    "horizon": 5,
}


@pytest.mark.parametrize(
    ("given", "message"),
    [
        (
            {"risk": {"var_historical": {"limit": 0.1, "window": 60}}},
            r"risk.var_historical.window: 60 bars .*warmup 60",
        ),
        ({"risk": {"half_life": 90, "diversification": 0.5}}, r"risk.half_life: 90 bars are more than the 59"),
        ({"risk": {"cvar_historical": {"limit": 0.1, "level": 0.99}}}, r"window: 50 bars hold none .* at least 100"),
        ({"risk": {"drawdown": {"start": 0.3}}}, r"recover <= start < limit"),
        (
            SIMULATION | {"risk": {"cvar_historical": {"limit": 0.1}}},
            r"risk.cvar_historical: simulated prices have no past",
        ),
        (
            {"sizing": "shares", "allocator": None, "risk": {"volatility": {"target": 0.1}}},
            r"risk.volatility .* weights",
        ),
    ],
)
def test_what_makes_no_sense_is_refused(given: dict[str, Any], message: str):
    with pytest.raises(ValidationError, match=message):
        MarketParams.model_validate({"data": {"synthetic": {}}, **given})


def test_a_long_half_life_is_no_matter_where_nothing_forecasts():
    MarketParams.model_validate({"data": {"synthetic": {}}, "risk": {"half_life": 900, "max_net": 0.5}})
