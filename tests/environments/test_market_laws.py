"""The laws of the market, on random panels (gaps, late starts, delistings) with random configurations and actions."""

import math
from unittest import mock

import numpy as np
import pandas as pd
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from environments.checks import check_array_env
from environments.market import env as market_env
from environments.market.env import MarketEnv
from environments.market.panel import panel_from_frame
from tests.environments.markets import (
    FREE,
    by_hand,
    market,
    random_actions,
    random_frame,
    random_market,
    random_params,
)

STEPS = 30
seeds = st.integers(0, 2**32 - 1)
laws = settings(max_examples=12, deadline=None)


def prices(env: MarketEnv, bar_E: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Close before, open and close of each copy's bar."""
    open_TN, close_TN = torch.from_numpy(env.panel.open_TN), torch.from_numpy(env.panel.close_TN)
    return close_TN[bar_E - 1], open_TN[bar_E], close_TN[bar_E]


def played(env: MarketEnv, seed: int, steps: int = STEPS):
    """Random steps: state at the decision (nav, shares held), record, transition."""
    env.reset(seed=seed)
    capital = torch.full((env.num_envs,), env.params.capital, dtype=torch.float64)
    nav_E, shares_EN = capital, torch.zeros(env.num_envs, len(env.panel.symbols), dtype=torch.float64)
    for i in range(steps):
        transition = env.step(random_actions(env, seed + i))
        record = env.record
        after_EN = record.value_EN / prices(env, record.bar_E)[2]
        yield nav_E, shares_EN, after_EN, record, transition
        nav_E = torch.where(transition.done, capital, record.nav_E)
        shares_EN = torch.where(transition.done[:, None], 0.0, after_EN)


@laws
@given(seeds)
def test_1_the_accounts_balance(seed):
    env = random_market(seed)
    for nav_E, before_EN, after_EN, record, _ in played(env, seed):
        last_EN, open_EN, close_EN = prices(env, record.bar_E)
        gain_EN = before_EN * (open_EN - last_EN) + after_EN * (close_EN - open_EN)
        pnl_EN = gain_EN - record.cost_EN + record.carry_EN
        scale = record.nav_E.abs() + nav_E.abs() + record.value_EN.abs().sum(1)
        assert ((record.pnl_EN - pnl_EN).abs().sum(1) <= 1e-9 * scale).all()
        assert ((nav_E + pnl_EN.sum(1) + record.interest_E - record.nav_E).abs() <= 1e-9 * scale).all()


@laws
@given(seeds)
def test_2_rewards_of_an_episode_add_up_to_its_log_return(seed):
    env = random_market(seed, allocator={"every": 2}, reward={"profit": 1, "scale": 10})
    total_E = torch.zeros(env.num_envs, dtype=torch.float64)
    for _, _, _, record, transition in played(env, seed, steps=60):
        total_E += transition.reward["allocator"][:, 0]
        for copy in transition.done.nonzero()[:, 0]:
            if record.nav_E[copy] > 0:
                expected = 10 * math.log(record.nav_E[copy] / env.params.capital)
                assert total_E[copy].item() == pytest.approx(expected, abs=1e-4)
        total_E[transition.done] = 0


@laws
@given(seeds, st.floats(0.1, 0.9))
def test_3_a_short_earns_what_a_long_earns_on_the_mirrored_path(seed, weight):
    rng = np.random.default_rng(seed)
    moves = 1 + 0.015 * rng.uniform(-1, 1, 24)  # the path stays below twice the entry, its mirror above 0
    open_, close = 50 * np.cumprod(moves).reshape(12, 2).T
    entry = open_[1]
    navs = []
    for side in (1, -1):
        # Mirrored about the price of the fill: 2 entry - p moves by just as much the other way.
        path = [(entry + side * (price - entry)).tolist() for price in (open_, close)]
        env = market(by_hand({"stocks/A": (path[0], path[1])}), warmup=1, horizon=None, costs={"stocks": FREE})
        env.reset()
        target_EN = torch.tensor([[side * weight]])
        navs.append([env.trade(target_EN, torch.tensor([[i == 0]])).nav_E.item() for i in range(11)])
    assert navs[0] == pytest.approx(navs[1], rel=1e-12)


@laws
@given(seeds)
def test_4_what_comes_later_changes_nothing_before(seed):
    rng = np.random.default_rng(seed)
    frame = random_frame(seed)
    days = np.sort(frame["date"].unique())
    cut = pd.Timestamp(days[int(rng.integers(len(days) // 3, len(days) - 1))])
    later = (frame["date"] > cut).to_numpy()
    factor = np.where(later, rng.lognormal(0, 0.5, len(frame)), 1.0)
    other = frame.assign(**{name: frame[name] * factor for name in ("open", "high", "low", "close", "volume")})
    other = other[~later | (rng.random(len(frame)) < 0.8)]
    told = []
    for table in (frame, other):
        panel = panel_from_frame(table, origin="told")
        params = random_params(seed, panel.classes) | {"horizon": None}
        env = market(panel, 2, **params)
        known = int((panel.dates_T <= np.datetime64(cut)).sum()) - 1
        obs = [env.reset(seed=1)]
        records = []
        for i in range(known):
            obs.append(env.step(random_actions(env, i)).final_obs)
            records.append(env.record)
        told.append((obs, records))
    (obs, records), (other_obs, other_records) = told
    assert len(obs) == len(other_obs)
    for one, two in zip(obs, other_obs, strict=True):
        assert all(torch.equal(one[name], two[name]) for name in one)
    for one, two in zip(records, other_records, strict=True):
        assert all(torch.equal(value, vars(two)[name]) for name, value in vars(one).items())


@laws
@given(seeds, st.floats(0.01, 0.9), st.sampled_from([-1, 1]))
def test_5_an_order_fills_at_the_open_of_the_assets_next_own_bar(seed, weight, side):
    panel = panel_from_frame(random_frame(seed), origin="random")
    env = market(panel, horizon=None, warmup=1, costs=dict.fromkeys(panel.classes, FREE))
    env.reset()
    target_EN = torch.full((1, len(panel.symbols)), side * weight / len(panel.symbols), dtype=torch.float64)
    ordered_EN = env.listed_EN()
    waiting_EN, shares_EN, nav = ordered_EN.clone(), torch.zeros_like(target_EN), 1e6
    for bar in range(1, 10):
        own_EN, none = torch.from_numpy(panel.traded_TN[bar : bar + 1]), torch.zeros_like(ordered_EN)
        last_EN, open_EN, close_EN = prices(env, env.bar_E + 1)
        nav += (shares_EN * (open_EN - last_EN)).sum().item()
        record = env.trade(target_EN, ordered_EN if bar == 1 else none)
        fills_EN = waiting_EN & own_EN
        shares_EN = torch.where(fills_EN, target_EN * nav / open_EN, shares_EN)
        assert torch.allclose(record.value_EN, shares_EN * close_EN, rtol=1e-9)
        nav, waiting_EN = record.nav_E.item(), waiting_EN & ~own_EN


@laws
@given(seeds)
def test_5_a_fill_at_the_open_knows_nothing_of_the_rest_of_its_bar(seed):
    rng = np.random.default_rng(seed)
    frame = random_frame(seed)
    days = np.sort(frame["date"].unique())
    cut = int(rng.integers(len(days) // 3, len(days)))
    at = (frame["date"] == days[cut]).to_numpy()
    factor = np.where(at, rng.lognormal(0, 0.5, len(frame)), 1.0)
    other = frame.assign(close=frame["close"] * factor, volume=frame["volume"] * factor)
    other["high"], other["low"] = (getattr(other[["open", "close"]], side)(axis=1) for side in ("max", "min"))
    fills = []
    for table in (frame, other):
        panel = panel_from_frame(table, origin="told")
        env = market(panel, 2, **random_params(seed, panel.classes) | {"horizon": None})
        env.reset()
        for i in range(cut):
            env.step(random_actions(env, i))
        fills.append(env.record)
    for name in ("traded_EN", "cost_EN", "carry_EN", "interest_E"):
        assert torch.equal(getattr(fills[0], name), getattr(fills[1], name))


@laws
@given(seeds)
def test_6_an_action_moves_the_reward_of_its_own_step(seed):
    rng = np.random.default_rng(seed)
    open_, close = (100 * np.exp(rng.normal(0, 0.02, (2, 12)))).tolist()
    panel = by_hand({"stocks/A": (open_, close)})
    trader = {"stocks": {"asset_class": "stocks", "action": "continuous"}}
    env = market(
        panel, 2, warmup=1, horizon=None, allocator=None, traders=trader, costs={"stocks": FREE}, risk={"max_class": 1}
    )
    env.reset()
    bold_E = torch.tensor([0.1, 0.2])
    for _ in range(11):
        bar = int(env.bar_E[0]) + 1
        fresh = env.get_state()
        reward_E = env.step({"stocks": bold_E.view(2, 1, 1)}).reward["stocks"][:, 0]
        gain = panel.close_TN[bar, 0] - panel.open_TN[bar, 0]
        assert torch.sign(reward_E[1] - reward_E[0]) == np.sign(gain)
        env.set_state(fresh)  # from all cash again, a bar later
        env.step({"stocks": torch.zeros(2, 1, 1)})


@laws
@given(seeds)
def test_7_exposures_are_feasible_after_every_fill(seed):
    env = random_market(seed)
    risk, classes = env.params.risk, torch.from_numpy(env.panel.class_N)
    may_short = torch.tensor([name in risk.shorting for name in env.panel.classes])[classes]
    for nav_E, before_EN, after_EN, record, _ in played(env, seed):
        last_EN, open_EN, _ = prices(env, record.bar_E)
        gap_E = (before_EN * (open_EN - last_EN) - record.cost_EN + record.carry_EN).sum(1)
        paid_E1 = (nav_E + gap_E + record.interest_E)[:, None].clamp(min=0)  # the value once all is paid
        room_E1 = 1e-9 * (paid_E1 + env.params.capital)
        size_EN, filled_EN = (after_EN * open_EN).abs(), record.traded_EN > 0
        fixed_EN = torch.where(filled_EN, 0.0, size_EN)
        assert (size_EN[filled_EN] <= (risk.max_position * paid_E1 + room_E1).expand_as(size_EN)[filled_EN]).all()
        for index in range(len(env.panel.classes)):
            size_E1, fixed_E1 = (x[:, classes == index].sum(1, keepdim=True) for x in (size_EN, fixed_EN))
            assert (size_E1 <= torch.maximum(risk.max_class * paid_E1, fixed_E1) + room_E1).all()
        gross_E1, fixed_E1 = size_EN.sum(1, keepdim=True), fixed_EN.sum(1, keepdim=True)
        assert (gross_E1 <= torch.maximum(risk.max_gross * paid_E1, fixed_E1) + room_E1).all()
        assert (after_EN[:, ~may_short] >= 0).all()


@laws
@given(seeds)
def test_8_where_prices_stand_still_trading_only_loses(seed):
    frame = random_frame(seed)
    frame[["open", "high", "low", "close"]] = 7.0
    panel = panel_from_frame(frame, origin="still")
    env = market(panel, 3, **random_params(seed, panel.classes) | {"cash_rate": 0})
    for nav_E, _, _, record, _ in played(env, seed):
        assert (record.cost_EN >= 0).all()
        assert ((record.cost_EN > 0) <= (record.traded_EN > 0)).all()
        assert torch.allclose(record.nav_E, nav_E - (record.cost_EN - record.carry_EN).sum(1), rtol=1e-9)


@laws
@given(seeds, st.floats(0.01, 0.5), st.floats(0, 0.5))
def test_9_a_short_is_charged_each_bar_for_the_days_it_was_held(seed, rate, cash_rate):
    costs = {name: {**FREE, "borrow_rate": rate} for name in set(random_frame(seed)["asset_class"])}
    env = random_market(seed, costs=costs, cash_rate=cash_rate)
    days_T = np.diff(env.panel.dates_T) / np.timedelta64(1, "D")
    for nav_E, before_EN, _, record, _ in played(env, seed):
        years_E1 = torch.from_numpy(days_T)[record.bar_E - 1].unsqueeze(1) / 365
        value_EN = before_EN * prices(env, record.bar_E)[0]
        short_EN = value_EN.clamp(max=0)
        assert torch.allclose(record.carry_EN, short_EN * rate * years_E1, rtol=1e-9, atol=1e-12)
        free_E = nav_E - value_EN.sum(1) + short_EN.sum(1)
        assert torch.allclose(record.interest_E, free_E * cash_rate * years_E1[:, 0], rtol=1e-6, atol=1e-6)


@settings(max_examples=6, deadline=None)
@given(seeds)
def test_11_and_12_seeded_never_changed_later_and_the_same_alone(seed):
    env = random_market(seed)
    with mock.patch.object(market_env, "build_world", return_value=env._world):  # it is never changed: build it once
        check_array_env(MarketEnv, env.params, steps=25, seed=seed)
