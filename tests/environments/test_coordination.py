"""Who divides the capital: budgets that follow performance, one book, and what agents see of it."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError
from torch import Tensor

from environments.errors import DataError
from environments.market.config import MarketParams
from environments.market.config_coordination import PerformanceBudgets
from environments.market.coordination import bounded, class_returns, follow, performance, performance_budgets
from environments.market.env import MarketEnv
from tests.environments.markets import FREE, by_hand, market

BARS = 60
FLAT = ([100.0] * BARS, [100.0] * BARS)
RISING = [100 * 1.01**t * (1 + 0.002 * (t % 3)) for t in range(BARS)]
ALL_FREE = {"stocks": FREE, "crypto": FREE, "etf": FREE}


def row(*values: float) -> Tensor:
    return torch.tensor([values], dtype=torch.float64)


# ---- budgets within bounds


def test_bounds_by_hand():
    assert bounded(row(1.0, 1.0, 2.0), 0.0, 1.0, 1.0)[0].tolist() == pytest.approx([0.25, 0.25, 0.5])
    assert bounded(row(1.0, 1.0, 8.0), 0.0, 0.5, 1.0)[0].tolist() == pytest.approx([0.25, 0.25, 0.5])
    assert bounded(row(1.0, 3.0, 16.0), 0.1, 0.6, 1.0)[0].tolist() == pytest.approx([0.1, 0.3, 0.6])
    assert bounded(row(1.0, 9.0), 0.2, 0.4, 0.5)[0].tolist() == pytest.approx([0.2, 0.3])


@settings(max_examples=100, deadline=None)
@given(
    logits=st.lists(st.floats(-40, 0), min_size=1, max_size=8),
    low=st.floats(0, 1),
    high=st.floats(0, 1),
    total=st.floats(0.1, 1),
)
def test_budgets_are_within_bounds_add_up_and_keep_the_order_of_the_weights(logits, low, high, total):
    equal = total / len(logits)
    floor, ceiling = low * equal, equal + high * (1 - equal)
    weight_EC = row(*logits).exp()
    found_EC = bounded(weight_EC, floor, ceiling, total)
    assert float(found_EC.sum()) == pytest.approx(total, abs=1e-12)
    assert (found_EC >= floor).all()
    assert (found_EC <= ceiling).all()
    order = weight_EC[0].argsort()
    assert (found_EC[0][order].diff() >= 0).all()
    inside_C = (found_EC[0] > floor * (1 + 1e-9)) & (found_EC[0] < ceiling * (1 - 1e-9))
    scale_C = (found_EC / weight_EC)[0][inside_C]
    assert torch.allclose(scale_C, scale_C[:1].expand_as(scale_C), rtol=1e-6)


def test_without_bounds_budgets_are_a_softmax_beside_the_cash():
    rule = PerformanceBudgets(temperature=0.2, cash=0.1)
    found_EK = performance_budgets(row(0.1, -0.3, 0.2), rule)
    assert torch.allclose(found_EK[:, :3], 0.9 * torch.softmax(row(0.1, -0.3, 0.2) / 0.2, 1))
    assert found_EK[0, 3] == pytest.approx(0.1)


# ---- performance


def test_performance_is_an_exponential_mean_over_its_deviation():
    mean_EC, variance_EC = row(0.0), row(0.0)
    returns = [0.02, -0.01, 0.03]
    for value in returns:
        mean_EC, variance_EC = follow(mean_EC, variance_EC, row(value), half_life=2.0)
    keep = 0.5**0.5
    weights = [(1 - keep) * keep**age for age in (2, 1, 0)]  # what is left of 1 is the time before, without a return
    mean = sum(w * r for w, r in zip(weights, returns, strict=True))
    second = sum(w * r**2 for w, r in zip(weights, returns, strict=True))
    assert float(mean_EC) == pytest.approx(mean)
    assert float(variance_EC) == pytest.approx(second - mean**2)
    assert float(performance(mean_EC, variance_EC)) == pytest.approx(mean / (second - mean**2) ** 0.5)
    assert performance(row(0.0, 1.0, -1.0), row(0.0, 1e-9, 1e-9))[0].tolist() == [0.0, 3.0, -3.0]


def test_a_class_earns_on_its_budget():
    found_EC = class_returns(row(5.0, -2.0, 1.0), row(0.5, 0.2, 0.0), torch.tensor([100.0], dtype=torch.float64))
    assert found_EC[0].tolist() == pytest.approx([0.1, -0.1, 1 / (1e-3 / 3 * 100)])


def team(coordination: dict[str, Any] | None, copies: int = 1, **changes: Any) -> MarketEnv:
    """Stocks rise, coins stand still, funds fall; all traders say numbers."""
    falling = [10_000 / price for price in RISING]
    prices = {"stocks/UP": (RISING, RISING), "crypto/FLAT": FLAT, "etf/DOWN": (falling, falling)}
    return market(
        by_hand(prices),
        copies,
        traders={name: {"asset_class": name, "action": "continuous"} for name in ("stocks", "crypto", "etf")},
        coordination=coordination,
        risk={"max_position": 1, "max_class": 1},
        **{"horizon": None, "warmup": 1, "costs": ALL_FREE, **changes},
    )


def say(env: MarketEnv, **signals: float) -> dict[str, Tensor]:
    env.reset() if env._state is None else None
    given = {name: signals.get(name, 0.0) for name in ("stocks", "crypto", "etf")}
    transition = env.step({name: torch.full((env.num_envs, 1, 1), value) for name, value in given.items()})
    return {name: obs[0, 0] for name, obs in transition.obs.items()}


def budgets(env: MarketEnv) -> dict[str, float]:
    return dict(zip((*env.panel.classes, "cash"), env.record.budget_EK[0].tolist(), strict=True))


def test_budgets_follow_performance_within_floor_and_ceiling():
    rule = {"kind": "performance", "every": 3, "temperature": 0.2, "floor": 0.1, "ceiling": 0.6, "cash": 0.1}
    env = team({"kind": "decentralized", "budgets": rule, "half_life": 10})
    seen = []
    for _ in range(40):
        say(env, stocks=1.0, crypto=1.0, etf=1.0)
        seen.append(budgets(env))
    assert seen[0] == pytest.approx({"stocks": 0.3, "crypto": 0.3, "etf": 0.3, "cash": 0.1})
    assert all(sum(found.values()) == pytest.approx(1.0) for found in seen)
    assert seen[-1] == pytest.approx({"stocks": 0.6, "crypto": 0.2, "etf": 0.1, "cash": 0.1}, abs=1e-9)
    changes = [i for i in range(1, 40) if seen[i] != seen[i - 1]]
    assert changes
    assert all(i % 3 == 0 for i in changes)


def test_fixed_budgets_leave_the_rest_as_cash():
    env = team(
        {"kind": "decentralized", "budgets": {"kind": "fixed", "shares": {"stocks": 0.5, "crypto": 0.2, "etf": 0.1}}}
    )
    say(env, stocks=1.0, crypto=1.0, etf=1.0)
    assert budgets(env) == pytest.approx({"stocks": 0.5, "crypto": 0.2, "etf": 0.1, "cash": 0.2})
    assert env.groups.keys() == {"stocks", "crypto", "etf"}


# ---- one book


def weights(env: MarketEnv) -> dict[str, float]:
    found_N = env.value_EN[0] / env.record.nav_E[0]
    return dict(zip(env.panel.symbols, found_N.tolist(), strict=True))


def test_in_one_book_capital_goes_where_the_signals_are():
    flat = {f"{name}/A": FLAT for name in ("stocks", "crypto")} | {"etf/B": FLAT}
    prices = {**flat, "crypto/C": FLAT}
    del prices["crypto/A"]
    env = market(
        by_hand(prices),
        traders={name: {"asset_class": name, "action": "continuous"} for name in ("stocks", "crypto", "etf")},
        coordination={"kind": "centralized", "gross": 0.9},
        risk={"max_position": 1, "max_class": 1},
        **{"horizon": None, "warmup": 1, "costs": ALL_FREE},
    )
    env.reset()
    say(env, stocks=1.0, crypto=-0.5, etf=0.5)
    assert weights(env) == pytest.approx({"A": 0.45, "B": 0.225, "C": -0.225})
    assert budgets(env) == pytest.approx({"stocks": 0.45, "crypto": 0.225, "etf": 0.225, "cash": 0.1})
    say(env, stocks=0.5)
    assert weights(env) == pytest.approx({"A": 0.45, "B": 0.0, "C": 0.0})
    say(env, stocks=1.0)
    assert weights(env) == pytest.approx({"A": 0.9, "B": 0.0, "C": 0.0})


def test_nothing_is_traded_in_one_book_until_somebody_asks():
    hold = {name: {"asset_class": name, "action": "trade", "start": 0.5} for name in ("stocks", "etf")}
    env = market(
        by_hand({"stocks/UP": (RISING, RISING), "etf/FLAT": FLAT}),
        traders=hold,
        coordination={"kind": "centralized"},
        risk={"max_position": 1, "max_class": 1},
        **{"horizon": None, "warmup": 1},
    )
    env.reset()
    for _ in range(5):
        env.step({name: torch.ones(1, 1, dtype=torch.int64) for name in hold})
        assert (env.record.traded_EN == 0).all()
    env.step({"stocks": torch.tensor([[2]]), "etf": torch.tensor([[1]])})
    assert (env.record.traded_EN > 0).all()


def test_in_one_book_a_trader_is_paid_on_an_equal_share():
    env = team({"kind": "centralized", "gross": 0.6})
    env.reset()
    rises = []
    for stocks in (1.0, 0.5):
        transition = env.step({name: torch.full((1, 1, 1), stocks * (name == "stocks")) for name in env.groups})
        rises.append(float(transition.reward["stocks"]))
    env.reset()
    env.step({name: torch.full((1, 1, 1), float(name == "stocks")) for name in env.groups})
    transition = env.step({name: torch.full((1, 1, 1), float(name == "stocks")) for name in env.groups})
    pnl, nav = env.record.pnl_EN[0].sum(), env.record.nav_E[0]
    before = nav - pnl
    on_share = torch.log(nav / before) * 3 / 0.6
    assert float(transition.reward["stocks"]) == pytest.approx(100 * float(on_share), rel=1e-4)


# ---- what agents see


@pytest.mark.parametrize("kind", ["hierarchical", "decentralized", "centralized"])
def test_agents_see_budgets_exposures_performances_and_the_consensus(kind):
    env = team({"kind": kind})
    names = env.feature_names["stocks"]
    shown = ("consensus", "class_budget", "exposure/crypto", "exposure/etf", "performance/crypto", "performance/etf")
    assert set(shown) <= set(names)
    assert "exposure/stocks" not in names
    env.reset()
    for _ in range(20):
        actions = {name: torch.full((1, 1, 1), value) for name, value in zip("abc", (0.4, 0.8, -0.2), strict=True)}
        given = dict(zip(("stocks", "crypto", "etf"), actions.values(), strict=True))
        if kind == "hierarchical":
            given["allocator"] = torch.zeros(1, 1, 4)
        obs = env.step(given).obs
    seen = dict(zip(names, obs["stocks"][0, 0].tolist(), strict=True))
    coin = dict(zip(env.feature_names["crypto"], obs["crypto"][0, 0].tolist(), strict=True))
    value = weights(env)
    assert (seen["consensus"], coin["consensus"]) == pytest.approx((0.4, 0.8))
    assert (seen["class_budget"], coin["class_budget"]) == pytest.approx(
        (budgets(env)["stocks"], budgets(env)["crypto"])
    )
    assert (seen["exposure/crypto"], coin["exposure/stocks"]) == pytest.approx((value["FLAT"], value["UP"]), rel=1e-5)
    assert seen["performance/stocks"] == coin["performance/stocks"] > 0.1
    assert seen["performance/crypto"] == pytest.approx(0.0, abs=1e-5)
    assert seen["performance/etf"] > 0.1  # it is short of what falls
    if kind == "hierarchical":
        found = dict(zip(env.feature_names["allocator"], obs["allocator"][0, 0].tolist(), strict=True))
        assert found["performance/stocks"] == seen["performance/stocks"]


def test_without_a_section_agents_see_nothing_of_it():
    plain = team(None).feature_names
    assert plain == team({"kind": "hierarchical", "observe": False}).feature_names
    assert not any(name.startswith(("performance/", "consensus", "class_budget")) for name in plain["stocks"])


def test_the_consensus_is_the_mean_of_an_assets_traders():
    env = market(
        by_hand({"stocks/AA": FLAT}),
        traders={name: {"asset_class": "stocks", "action": "continuous"} for name in "ab"},
        coordination={"kind": "decentralized"},
        **{"horizon": None, "warmup": 1},
    )
    env.reset()
    obs = env.step({"a": torch.full((1, 1, 1), 0.8), "b": torch.full((1, 1, 1), -0.2)}).obs["a"][0, 0]
    assert obs[env.feature_names["a"].index("consensus")].item() == pytest.approx(0.3)


# ---- defaults and refusals


def test_the_kinds_without_an_allocator_need_no_null():
    for kind in ("decentralized", "centralized"):
        assert (
            MarketParams.model_validate({"data": {"synthetic": {}}, "coordination": {"kind": kind}}).allocator is None
        )
    assert MarketParams.model_validate({"data": {"synthetic": {}}}).allocator is not None


def test_a_market_without_allocator_is_as_decentralized_with_equal_budgets():
    old, new = team(None, allocator=None), team({"kind": "decentralized", "observe": False})
    for env in (old, new):
        for i in range(10):
            say(env, stocks=0.5, crypto=-0.3, etf=0.1 * i)
    assert torch.equal(old.record.nav_E, new.record.nav_E)
    assert torch.equal(old.record.budget_EK, new.record.budget_EK)


DECENTRALIZED = {"kind": "decentralized"}
REFUSED: dict[str, dict[str, Any]] = {
    "coordination.kind: decentralized has no allocator, and one is given": {
        "coordination": DECENTRALIZED,
        "allocator": {"every": 5},
    },
    "coordination.kind: hierarchical needs an allocator": {"coordination": {"kind": "hierarchical"}, "allocator": None},
    "coordination.gross: 2 is more than risk.max_gross = 1 allows": {
        "coordination": {"kind": "centralized", "gross": 2}
    },
    "coordination: sizing: shares leaves no capital to divide": {
        "coordination": {"kind": "centralized"},
        "sizing": "shares",
    },
    "shares add up to 1.2; they must add up to 1 at most": {
        "coordination": {**DECENTRALIZED, "budgets": {"kind": "fixed", "shares": {"stocks": 0.7, "crypto": 0.5}}}
    },
    "greater than 0": {"coordination": {**DECENTRALIZED, "budgets": {"kind": "fixed", "shares": {"stocks": 0}}}},
    "Extra inputs are not permitted": {"coordination": {**DECENTRALIZED, "budgets": {"kind": "fixed", "floor": 0.1}}},
}


@pytest.mark.parametrize("rule", REFUSED)
def test_what_makes_no_sense_is_refused(rule):
    with pytest.raises(ValidationError, match=rule):
        MarketParams.model_validate({"data": {"synthetic": {}}, **REFUSED[rule]})


@pytest.mark.parametrize(
    ("rule", "complaint"),
    [
        (
            {"kind": "performance", "floor": 0.4},
            "floor 0.4 and ceiling 1 with 3 classes and cash 0; must be floor x cla",
        ),
        ({"kind": "performance", "ceiling": 0.3}, "must be floor x classes <= 1 - cash <= ceiling x classes"),
        ({"kind": "fixed", "shares": {"stocks": 0.5}}, "shares: names stocks; it must name "),
    ],
)
def test_budgets_that_the_classes_cannot_have_are_refused(rule, complaint):
    with pytest.raises(DataError, match=complaint):
        team({"kind": "decentralized", "budgets": rule})
