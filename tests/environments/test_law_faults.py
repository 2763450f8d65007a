"""The laws are tested: each row breaks the market in one way, and the law named in it must notice."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from environments.market import (
    bar,
    env,
    execution,
    ledger,
    panel_feed,
    rewards,
    risk,
    risk_balance,
    risk_forecast,
    risk_sizing,
    risk_tail,
    roster,
)
from environments.market.env import MarketEnv
from environments.market.panel_feed import PanelFeed
from tests.environments.laws import accounts, copies, information, limits, response
from tests.environments.laws.faults import (
    Fault,
    a_shared_purse,
    carry_only_at_exit,
    centred_on_the_batch,
    costs_paid_out,
    counted_together,
    drawn_anew,
    each_bar_a_day,
    exposed_at_once,
    features_seen,
    filled_at,
    forgets_interest,
    given,
    in_one_buffer,
    instead,
    later_episodes_earn_more,
    looks_at_old_scores,
    of_the_whole_sample,
    one_bar_ahead,
    one_step_late,
    result,
    rich_pay_less,
    shares_the_worst,
    single_precision,
    sized_alike,
    slope_of_the_next_bar,
    starts_by_the_number_of_copies,
    tired,
    trades_on_every_bar,
    unlimited,
    without_memory,
    without_reins,
    without_short_proceeds,
    without_the_last_step,
)
from tests.environments.markets import market
from tests.environments.test_market_laws import LAWS

SEEDS = range(5)
"""A fault must be noticed on one of these; without a fault every law holds on each of them."""

FAULTS = [
    Fault("costs are paid out", accounts.the_accounts_balance, ledger, "settle", costs_paid_out),
    Fault(
        "a short loses its proceeds", accounts.the_accounts_balance, ledger, "settle", result(without_short_proceeds)
    ),
    Fault("interest is forgotten", accounts.the_accounts_balance, ledger, "settle", forgets_interest),
    Fault("cash in single precision", accounts.the_accounts_balance, ledger, "settle", result(single_precision)),
    Fault("no reward at the end", accounts.rewards_add_up, MarketEnv, "step", result(without_the_last_step)),
    Fault("simple returns", accounts.rewards_add_up, rewards, "log_ratio", instead(torch.ones_like)),
    Fault(
        "a short loses its proceeds", response.a_short_mirrors_a_long, ledger, "settle", result(without_short_proceeds)
    ),
    Fault(
        "a short of half the size",
        response.a_short_mirrors_a_long,
        execution,
        "fill",
        given(lambda target_EN, **_: {"target_EN": torch.where(target_EN < 0, target_EN / 2, target_EN)}),
    ),
    Fault(
        "traders see the next bar",
        information.what_comes_later_changes_nothing_before,
        panel_feed,
        "build",
        features_seen(lambda value_TNF: value_TNF.roll(-1, 0)),
    ),
    Fault(
        "the allocator sees the next bar",
        information.what_comes_later_changes_nothing_before,
        panel_feed,
        "build",
        one_bar_ahead("class_TF"),
    ),
    Fault(
        "scaled on the whole sample",
        information.what_comes_later_changes_nothing_before,
        panel_feed,
        "build",
        features_seen(of_the_whole_sample),
    ),
    Fault(
        "a fill at the observed close",
        information.a_fill_is_at_the_next_open,
        panel_feed,
        "build",
        filled_at(lambda tables: tables.close_TN),
    ),
    Fault(
        "a fill where there is no bar",
        information.a_fill_is_at_the_next_open,
        panel_feed,
        "build",
        result(trades_on_every_bar),
    ),
    Fault(
        "a fill at the close of its bar",
        information.a_fill_knows_nothing_of_its_bar,
        panel_feed,
        "build",
        filled_at(lambda tables: tables.value_TXN[:, 1]),
    ),
    Fault(
        "impact of the bar's own volume",
        information.a_fill_knows_nothing_of_its_bar,
        panel_feed,
        "build",
        result(slope_of_the_next_bar),
    ),
    Fault("an action a step late", response.an_action_moves_its_own_reward, env, "decide", one_step_late),
    Fault(
        "losses are rewarded",
        response.an_action_moves_its_own_reward,
        rewards,
        "reward",
        result(lambda found, *_: (-found[0], found[1])),
    ),
    Fault(
        "no cap on targets", accounts.exposures_are_feasible, risk, "capped", instead(lambda weight_EN, *_: weight_EN)
    ),
    Fault(
        "caps leave out what does not fill",
        accounts.exposures_are_feasible,
        execution,
        "room",
        instead(lambda held_EN, target_EN, fill_EN, *_: torch.where(fill_EN, target_EN, 0.0)),
    ),
    Fault("all may be short", accounts.exposures_are_feasible, roster, "lowest", instead(lambda *_: -1.0)),
    Fault(
        "costs have the wrong sign",
        accounts.costs_are_adverse,
        execution,
        "fill",
        result(lambda found, **_: replace(found, cost_EN=-found.cost_EN)),
    ),
    Fault(
        "a flat fee in place of a rate",
        accounts.costs_are_adverse,
        execution,
        "fill",
        result(lambda found, **_: replace(found, cost_EN=(found.traded_EN > 0) * 1.0)),
    ),
    Fault(
        "the large get a rebate",
        accounts.costs_are_adverse,
        execution,
        "fill",
        result(lambda found, **_: replace(found, cost_EN=found.cost_EN / (1 + found.traded_EN))),
    ),
    Fault("carry only at exit", accounts.carry_accrues_each_bar, ledger, "accrue", carry_only_at_exit),
    Fault(
        "no carry at all",
        accounts.carry_accrues_each_bar,
        ledger,
        "accrue",
        result(lambda found, *_: (found[0] * 0, found[1])),
    ),
    Fault("a weekend is a day", accounts.carry_accrues_each_bar, panel_feed, "build", result(each_bar_a_day)),
    Fault("costs rise with the calls", information.the_state_decides, execution, "cost_rate", tired),
    Fault("later episodes earn more", information.the_state_decides, bar, "trade", result(later_episodes_earn_more)),
    Fault("later episodes earn more", information.nothing_hidden_acts, bar, "trade", result(later_episodes_earn_more)),
    Fault("the rich pay less", information.nothing_hidden_acts, bar, "trade", result(rich_pay_less)),
    Fault("old scores are paid", information.nothing_hidden_acts, bar, "trade", result(looks_at_old_scores)),
    Fault("terms forget in between", information.the_state_decides, env, "restored", result(without_memory)),
    Fault("the seed is not all", copies.a_seed_decides, panel_feed, "uniform", drawn_anew),
    Fault("observations share a buffer", copies.a_seed_decides, env, "observe", in_one_buffer),
    Fault("copies share a purse", copies.a_copy_is_alone, ledger, "settle", result(a_shared_purse)),
    Fault("rewards centred on the batch", copies.a_copy_is_alone, rewards, "reward", result(centred_on_the_batch)),
    Fault("terms remember all copies", copies.a_copy_is_alone, rewards, "reward", result(counted_together)),
    Fault("copies share their losses", copies.a_copy_is_alone, risk_tail, "of_losses", result(shares_the_worst)),
    Fault("reins are dropped in between", information.the_state_decides, env, "restored", result(without_reins)),
    Fault(
        "forecasts know the next bar",
        information.a_fill_knows_nothing_of_its_bar,
        risk_forecast,
        "returns_TN",
        result(lambda found, _: np.roll(found, -1, axis=0)),
    ),
    Fault("one side outweighs", limits.limits_hold, risk_balance, "balanced", unlimited),
    Fault(
        "fills tilt the book", limits.limits_hold, execution, "net_room", instead(lambda _, wanted_EN, *__: wanted_EN)
    ),
    Fault("few hold everything", limits.limits_hold, risk_balance, "spread_out", unlimited),
    Fault("half the deviation", limits.limits_hold, risk_tail, "deviations", result(lambda found, *_: found / 2)),
    Fault("half the loss", limits.limits_hold, risk_tail, "of_losses", result(lambda found, *_: found / 2)),
    Fault("the quiet are no larger", limits.limits_hold, risk_sizing, "by_volatility", sized_alike),
    Fault("like bets are two", limits.limits_hold, risk_sizing, "by_diversification", sized_alike),
    Fault("losses are forgotten", limits.limits_hold, risk_sizing, "by_drawdown", exposed_at_once),
    Fault("starts hang on E", copies.a_copy_is_alone, PanelFeed, "span", starts_by_the_number_of_copies),
]


def on_every_seed(law):
    for seed in SEEDS:
        law(market, seed)


@pytest.mark.parametrize("law", LAWS, ids=lambda law: law.__name__)
def test_without_a_fault_a_law_holds_on_every_seed(law):
    on_every_seed(law)


@pytest.mark.parametrize("fault", FAULTS, ids=lambda fault: f"{fault.law.__name__}: {fault.what}")
def test_a_law_notices_its_fault(fault, monkeypatch):
    monkeypatch.setattr(fault.owner, fault.name, fault.wrap(getattr(fault.owner, fault.name)))
    with pytest.raises(AssertionError):
        on_every_seed(fault.law)


def test_every_law_has_a_fault():
    assert {fault.law for fault in FAULTS} == set(LAWS)
