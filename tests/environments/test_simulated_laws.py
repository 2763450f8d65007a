"""The laws of simulated markets, on random processes with random configurations and actions."""

from __future__ import annotations

import importlib
import warnings
from collections.abc import Callable
from typing import Any
from unittest import mock

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from ray.rllib.utils.pre_checks.env import check_multiagent_environments

from environments.checks import check_array_env
from environments.errors import DataError
from environments.faces import MultiAgentFace, ParallelFace
from environments.market import env as market_env
from environments.market.env import MarketEnv
from tests.environments.laws import simulated_accounts as accounts
from tests.environments.laws import simulated_chance as chance
from tests.environments.laws import simulated_rewards as rewards
from tests.environments.laws import simulations

LAWS: tuple[Callable[[int], None], ...] = (
    accounts.the_accounts_balance,
    accounts.prices_are_not_traded_but_for_permanent_impact,
    accounts.costs_are_what_they_are_said_to_be,
    accounts.costs_are_adverse,
    accounts.a_round_trip_never_gains,
    accounts.a_signal_of_one_is_the_size,
    accounts.limits_hold,
    accounts.a_close_out_leaves_nothing,
    accounts.the_horizon_ends_as_it_says,
    accounts.an_episode_begins_with_its_start,
    rewards.money_is_paid_as_it_is_earned,
    rewards.log_returns_add_up,
    rewards.an_expected_reward_leaves_the_surprise_out,
    rewards.risk_is_charged_by_its_variance,
    rewards.costs_are_charged_again,
    rewards.what_is_left_at_the_end_is_charged,
    chance.a_mirrored_market_pays_the_same,
)
CHANCE: tuple[Callable[[int], None], ...] = (
    chance.quotes_fill_as_often_as_they_should,
    chance.an_expected_reward_has_the_same_mean,
)
"""Laws of large numbers: on seeds of their own, for a 99.9% interval is missed by one in a thousand."""


def keeps_the_contract(seed: int) -> None:
    """Determinism, copies on their own and a restored state, to the bit; shapes, spaces and ends as declared."""
    env = simulations.world(seed)
    with mock.patch.object(market_env, "build_world", return_value=env._world):  # it is never changed: build it once
        check_array_env(MarketEnv, env.params, steps=2 * (env.params.horizon or 0) + 2, seed=seed)


seeds = st.integers(0, 2**32 - 1)


@pytest.mark.parametrize("law", [*LAWS, keeps_the_contract], ids=lambda law: law.__name__)
@settings(max_examples=10, deadline=None)
@given(seed=seeds)
def test_a_law_holds(law, seed):
    law(seed)


@pytest.mark.parametrize("law", CHANCE, ids=lambda law: law.__name__)
@pytest.mark.parametrize("seed", range(3))
def test_a_law_of_large_numbers_holds(law, seed):
    law(seed)


@pytest.fixture(scope="module")
def pettingzoo_test() -> Any:
    """PettingZoo's own tests, which warn about PettingZoo's own games when they are imported."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return importlib.import_module("pettingzoo.test")


@pytest.mark.parametrize("seed", range(4))
def test_rllib_and_pettingzoo_accept_it(seed, pettingzoo_test):
    config = {"env": "environments.market.env:MarketEnv", "params": simulations.params(seed)}
    check_multiagent_environments(MultiAgentFace(config))
    pettingzoo_test.parallel_api_test(ParallelFace(config), num_cycles=20)
    pettingzoo_test.parallel_seed_test(lambda: ParallelFace(config), num_cycles=3)


@pytest.mark.parametrize("price", [0.0, -50.0])
def test_a_price_of_zero_or_below_is_a_price(price):
    kind = {
        "class": simulations.PROCESSES["brownian"],
        "params": {"price": price, "sigma": 5.0, "mu": 1000.0},
    }
    env = simulations.market(
        {
            "data": {"simulation": {"classes": {"stocks": kind}}},
            "horizon": 20,
            "sizing": "shares",
            "allocator": None,
            "traders": {"stocks": {"asset_class": "stocks", "action": "continuous", "size": 10}},
            "costs": {"stocks": {"per_share": 1.0}},
            "linear_impact": {"temporary": 0.1},
        }
    )
    assert env.reset(seed=0)["stocks"].isfinite().all()
    unrealised = env.feature_names["stocks"].index("unrealised_return")
    for _ in range(10):
        transition = env.step({"stocks": torch.full((simulations.COPIES, 1, 1), 0.5)})
        held = simulations.holding(env)
        assert (held.shares_EN == 5).all()
        assert torch.equal(transition.obs["stocks"][..., unrealised] > 0, held.price_EN > price)


@pytest.mark.parametrize("temporary", [0.0, 0.09, [[0.1, 0.05], [0.05, 0.1]]])
def test_a_permanent_impact_that_pays_for_itself_is_refused(temporary):
    classes = {"stocks": {"class": simulations.PROCESSES["brownian"], "params": {"assets": 2}}}
    given = {
        "data": {"simulation": {"classes": classes}},
        "allocator": None,
        "sizing": "shares",
        "linear_impact": {"temporary": temporary, "permanent": 0.1},
    }
    with pytest.raises(DataError, match=r"linear_impact: permanent is larger .* would earn without risk"):
        simulations.market(given)


def test_a_quote_that_is_nan_is_refused():
    env = quoting()
    env.reset(seed=0)
    with pytest.raises(ValueError, match="an action of copy 1 was NaN"):
        env.step({"makers": torch.tensor([[[0.0, 0.0]], [[torch.nan, 0.0]]])})


def quoting() -> MarketEnv:
    classes = {"stocks": {"class": simulations.PROCESSES["brownian"], "params": {}}}
    given = {
        "data": {"simulation": {"classes": classes}},
        "allocator": None,
        "sizing": "shares",
        "limit_orders": {"rate": 10, "decay": 1, "width": 1},
        "traders": {"makers": {"asset_class": "stocks", "action": "quotes", "size": 5}},
    }
    return simulations.market(given, num_envs=2)
