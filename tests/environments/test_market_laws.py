"""The laws of the market, on random panels (gaps, late starts, delistings) with random configurations and actions."""

from collections.abc import Callable
from unittest import mock

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from environments.checks import check_array_env
from environments.market import env as market_env
from environments.market.env import MarketEnv
from tests.environments.laws import accounts, copies, information, limits, response
from tests.environments.laws.worlds import Make, world
from tests.environments.markets import market

LAWS: tuple[Callable[[Make, int], None], ...] = (
    accounts.the_accounts_balance,
    accounts.rewards_add_up,
    response.a_short_mirrors_a_long,
    information.what_comes_later_changes_nothing_before,
    information.a_fill_is_at_the_next_open,
    information.a_fill_knows_nothing_of_its_bar,
    response.an_action_moves_its_own_reward,
    accounts.exposures_are_feasible,
    accounts.costs_are_adverse,
    accounts.carry_accrues_each_bar,
    information.the_state_decides,
    information.nothing_hidden_acts,
    copies.a_seed_decides,
    copies.a_copy_is_alone,
    limits.limits_hold,
)
seeds = st.integers(0, 2**32 - 1)


@pytest.mark.parametrize("law", LAWS, ids=lambda law: law.__name__)
@settings(max_examples=10, deadline=None)
@given(seed=seeds)
def test_a_law_holds(law, seed):
    law(market, seed)


@settings(max_examples=4, deadline=None)
@given(seed=seeds)
def test_the_market_keeps_the_contract_of_environments(seed):
    env = world(market, seed)
    with mock.patch.object(market_env, "build_world", return_value=env._world):  # it is never changed: build it once
        check_array_env(MarketEnv, env.params, steps=25, seed=seed)
