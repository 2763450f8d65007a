"""Limits of risk in a market: off they do nothing, on they bind, are told, remembered and forgotten."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from environments.errors import DataError
from environments.market import compiled, risk_forecast
from environments.market import env as market_env
from environments.market.env import MarketEnv
from tests.environments.laws import simulations
from tests.environments.laws.information import assert_same, outcome
from tests.environments.markets import FREE, by_hand, market, random_actions

BARS = 40
CAPS = {"max_position": 20, "max_class": 20, "max_gross": 20}
OFF = {
    "max_net": 20,
    "max_concentration": 1,
    "half_life": 2,
    "volatility": {"target": 10, "max_leverage": 1},
    "var_parametric": {"limit": 1},
    "cvar_parametric": {"limit": 1},
    "var_historical": {"limit": 1, "level": 0.6, "window": 4},
    "cvar_historical": {"limit": 1, "level": 0.6, "window": 4},
    "drawdown": {"start": 0.98, "limit": 1, "recover": 0.98},
}
"""Every limit on, and so wide that it never binds."""


def env_of(num_envs: int = 2, **risk: Any) -> MarketEnv:
    rng = np.random.default_rng(0)
    moves = rng.normal(0, 0.02, (4, BARS))
    moves[1] = moves[0]  # B moves as A does
    closes = 10 * np.exp(moves.cumsum(1))
    names = ("stocks/A", "stocks/B", "stocks/C", "crypto/D")
    panel = by_hand({name: ([10.0, *close[:-1]], list(close)) for name, close in zip(names, closes, strict=True)})
    given = {"horizon": 25, "warmup": 6, "costs": {"stocks": FREE, "crypto": FREE}, "allocator": None}
    traders = {name: {"asset_class": name, "action": "continuous"} for name in ("stocks", "crypto")}
    return market(panel, num_envs, **given, traders=traders, risk={**CAPS, **risk})


def all_long(env: MarketEnv, signal: float = 1.0) -> dict[str, Tensor]:
    return {name: torch.full((env.num_envs, len(group.agent_ids), 1), signal) for name, group in env.groups.items()}


def targets(env: MarketEnv) -> Tensor:
    assert env._outcome is not None
    return env._outcome()[2].target_EN


def stepped(env: MarketEnv, steps: int = 8) -> MarketEnv:
    env.reset(seed=1)
    for _ in range(steps):
        env.step(all_long(env))
    return env


def test_limits_that_never_bind_change_nothing_to_the_bit():
    plain, wide = env_of(), env_of(**OFF)
    assert plain._world.guard is None
    assert wide._world.guard is not None
    assert_same([plain.reset(seed=3)], [wide.reset(seed=3)])
    for i in range(30):
        actions = random_actions(plain, i)
        assert_same([outcome(plain, actions)], [outcome(wide, actions)])
        assert not any(bound_E.any() for bound_E in wide.bound().values())
    assert wide.bound().keys() > plain.bound().keys() == {"position", "class", "gross"}


@pytest.mark.parametrize(
    ("name", "given"),
    [
        ("position", {"max_position": 0.1}),
        ("class", {"max_class": 0.3}),
        ("gross", {"max_gross": 0.5}),
        ("net", {"max_net": 0.4}),
        ("concentration", {"max_concentration": 0.26}),
        ("volatility", {"volatility": {"target": 0.1}, "half_life": 2}),
        ("diversification", {"diversification": 0.5, "half_life": 2}),
        ("var_parametric", {"var_parametric": {"limit": 0.002}, "half_life": 2}),
        ("cvar_parametric", {"cvar_parametric": {"limit": 0.002}, "half_life": 2}),
        ("var_historical", {"var_historical": {"limit": 0.002, "level": 0.6, "window": 4}}),
        ("cvar_historical", {"cvar_historical": {"limit": 0.002, "level": 0.6, "window": 4}}),
    ],
)
def test_a_limit_binds_and_is_told(name: str, given: dict[str, Any]):
    free, limited = stepped(env_of()), stepped(env_of(**given))
    for _ in range(12):
        free.step(all_long(free))
        limited.step(all_long(limited))
        bound_E = limited.bound()[name]
        smaller_EN = targets(limited).abs() < targets(free).abs() - 1e-12
        assert torch.equal(smaller_EN.any(1), bound_E)
        if bound_E.any():
            return
    pytest.fail(f"{name} never bound")


def test_bets_that_move_together_shrink_and_others_do_not():
    """A and B are one bet twice: each is perfectly correlated with most of the book."""
    env = stepped(env_of(diversification=0.6, half_life=2), 20)
    (left_EN,) = (env._outcome()[2].ruling.sized.factors.values()) if env._outcome is not None else ()
    assert (left_EN[:, :2] < 0.7).all()
    assert torch.allclose(left_EN[:, 0], left_EN[:, 1])


def test_exposure_is_of_the_state_and_begins_anew_with_an_episode():
    throttle = {"start": 0.001, "limit": 0.01, "floor": 0.2, "recover": 0.0}
    env, other = env_of(drawdown=throttle), env_of(drawdown=throttle)
    env.reset(seed=1)
    exposures = []
    for _ in range(25):
        done_E = env.step(all_long(env)).done
        ((exposure_E1,),) = env.get_state()["state"]["reins"]
        exposures.append(exposure_E1[:, 0])
        other.set_state(env.get_state())
    assert bool(done_E.all())
    assert exposures[-1].tolist() == [1, 1]
    assert min(float(exposure_E.min()) for exposure_E in exposures) == pytest.approx(0.2)
    assert_same([outcome(env, all_long(env))], [outcome(other, all_long(other))])


def test_baselines_know_no_limits():
    env = env_of(max_net=0.1)
    env.reset(seed=1)
    env.trade(torch.full((2, 4), 0.2), torch.ones(2, 4, dtype=torch.bool))
    assert env.bound() == {}


@pytest.mark.parametrize("seed", range(4))
def test_simulated_books_keep_their_limits(seed: int):
    """By the variance that the process itself gives for a book."""
    limit = 0.001
    risk = {**simulations.params(seed)["risk"], "max_net": 0.1, "var_parametric": {"limit": limit, "level": 0.9}}
    env = simulations.world(seed, risk=risk, close_out=False)
    env.reset(seed=seed)
    for i in range(12):
        before = env._running()
        env.step(random_actions(env, seed + i))
        target_EN = targets(env)
        weight_EN = env._world.sizing.weights(target_EN, before.book.price_EN, before.nav_E)
        shares_EN = env._world.sizing.shares(target_EN, before.book.price_EN, before.nav_E)
        deviation_E = env._world.feed.variance(before, shares_EN).sum(1).sqrt() / before.nav_E
        assert (1.2815515655 * deviation_E <= limit * (1 + 1e-9)).all()
        assert (weight_EN.sum(1).abs() <= 0.1 + 1e-9).all()


def test_a_step_with_every_limit_can_be_traced(monkeypatch: pytest.MonkeyPatch):
    """What is traced runs as it is: all but torch's compiler."""
    monkeypatch.setattr(compiled, "compiled_graph", lambda graph, _: graph)
    monkeypatch.setattr(market_env, "check_compiler", lambda _: None)
    tight = {
        **OFF,
        "max_net": 0.3,
        "max_concentration": 0.3,
        "cvar_historical": {"limit": 0.005, "level": 0.6, "window": 4},
    }
    tight |= {"drawdown": {"start": 0.001, "limit": 0.05, "recover": 0.0}, "diversification": 0.5}
    plain, traced = env_of(**tight), env_of(**tight)
    traced._compiled = compiled.CompiledStep(traced._twin_step)
    plain.reset(seed=2)
    traced.reset(seed=2)
    for i in range(25):
        actions = random_actions(plain, i)
        one, two = outcome(plain, actions), outcome(traced, actions)
        for name, value in one.items():
            torch.testing.assert_close(two[name], value, rtol=1e-9, atol=1e-6)
        assert {name: told_E.tolist() for name, told_E in plain.bound().items()} == {
            name: told_E.tolist() for name, told_E in traced.bound().items()
        }


def test_covariances_that_do_not_fit_are_refused(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(risk_forecast, "MAX_BYTES", 1000)
    with pytest.raises(DataError, match=r"risk: the covariances of 4 assets at 40 bars .* shorten window"):
        env_of(var_parametric={"limit": 0.1}, half_life=2)
