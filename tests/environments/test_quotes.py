"""Resting orders by hand: how far they are, when they are hit, and where nothing is quoted any more."""

from typing import Any

import pytest
import torch

from environments.market.config_costs import LimitOrderParams
from environments.market.env import MarketEnv
from environments.market.quotes import distances, probability
from tests.environments.laws import simulations

BID_ONLY = torch.tensor([-1.0, 1.0])  # the bid at the price, where it is always hit; the ask too far away to be
ASK_ONLY = BID_ONLY.flip(0)


def still(size: float = 3, **params: Any) -> MarketEnv:
    """One maker of quotes in one asset at 100 that never moves; what is quoted at the price is hit in every bar."""
    classes = {"stocks": {"class": simulations.PROCESSES["brownian"], "params": {"sigma": 0.0}}}
    given = {
        "data": {"simulation": {"classes": classes, "bars_per_year": 1.0}},
        "horizon": 50,
        "allocator": None,
        "sizing": "shares",
        "capital": 10_000,
        "risk": {"max_position": 1, "max_class": 1, "max_gross": 1},
        "costs": {"stocks": {"spread_bps": 0, "commission_bps": 0, "impact": 0, "borrow_rate": 0}},
        "limit_orders": {"rate": 2.0, "decay": 100.0, "width": 10.0},
        "traders": {"makers": {"asset_class": "stocks", "action": "quotes", "size": size}},
        "reward": {"unit": "money", "scale": 1.0},
    }
    env = simulations.market({**given, **params}, num_envs=2)
    env.reset(seed=0)
    return env


def held(env: MarketEnv, action: torch.Tensor, bars: int) -> list[float]:
    """Shares of the first copy after each bar."""
    shares = []
    for _ in range(bars):
        env.step({"makers": action.expand(2, 1, 2)})
        shares.append(env.record.value_EN[0, 0].item() / 100)
    return shares


def test_actions_are_distances():
    action = torch.tensor([[-1.0, 0.0], [1.0, 7.0]])
    assert distances(action, width=4.0).tolist() == [[0.0, 2.0], [4.0, 4.0]]


def test_the_probability_falls_with_the_distance_and_is_at_most_one():
    params = LimitOrderParams(rate=140, decay=1.5, width=5)
    bar = torch.tensor([[[0.005]]], dtype=torch.float64)
    distance = torch.tensor([[[0.0, 2 / 3]]], dtype=torch.float64)
    assert probability(distance, params, bar)[0, 0].tolist() == pytest.approx([0.7, 0.7 / torch.e])
    assert probability(distance, params, 2 * bar)[0, 0, 0].item() == 1.0


@pytest.mark.parametrize(("action", "sign"), [(BID_ONLY, 1), (ASK_ONLY, -1)])
def test_a_side_that_would_lead_beyond_the_size_is_not_quoted(action, sign):
    assert held(still(), action, bars=6) == [sign * shares for shares in (1, 2, 3, 3, 3, 3)]


def test_without_shorting_nothing_is_sold_that_is_not_there():
    assert held(still(risk={"shorting": []}), ASK_ONLY, bars=3) == [0, 0, 0]


@pytest.mark.parametrize("cap", ["max_position", "max_class", "max_gross"])
def test_a_side_that_would_lead_beyond_a_cap_is_not_quoted_and_the_other_is(cap):
    loose = {"max_position": 1, "max_class": 1, "max_gross": 1}
    env = still(size=50, risk={**loose, cap: 0.025})  # two shares of 100 are .02 of 10,000; three are too much
    assert held(env, BID_ONLY, bars=4) == [1, 2, 2, 2]
    assert held(env, ASK_ONLY, bars=3) == [1, 0, -1]


def test_both_sides_can_be_hit_in_one_bar_and_capture_their_distances():
    env = still(limit_orders={"rate": 1e9, "decay": 1.0, "width": 4.0})  # a quarter of the width is always hit
    transition = env.step({"makers": torch.tensor([-0.5, -0.75]).expand(2, 1, 2)})
    assert env.record.captured_EN[:, 0].tolist() == [1.5, 1.5]
    assert env.record.value_EN[:, 0].tolist() == [0, 0]
    assert transition.reward["makers"][:, 0].tolist() == [1.5, 1.5]
