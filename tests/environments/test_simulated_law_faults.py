"""The laws of simulated markets are tested: each row breaks the market in one way, and the law named must notice."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest
import torch

from environments.market import (
    env,
    execution,
    impact,
    ledger,
    opening,
    quotes,
    rewards,
    risk,
    roster,
    sight,
    simulation,
    world,
)
from environments.market.env import MarketEnv
from environments.market.execution import Costs
from environments.market.seats import Seat
from environments.market.simulation import PRICE_STREAM, SimulatedFeed
from environments.market.sizing import Sizing
from environments.random import uniform
from tests.environments.laws import simulated_accounts as accounts
from tests.environments.laws import simulated_chance as chance
from tests.environments.laws import simulated_rewards as paid
from tests.environments.laws.faults import (
    Fault,
    a_shared_purse,
    costs_paid_out,
    drawn_anew,
    forgets_interest,
    given,
    instead,
    result,
)
from tests.environments.test_simulated_laws import CHANCE, LAWS, keeps_the_contract

SEEDS = range(5)
"""A fault must be noticed on one of these; without a fault every law holds on each of them."""


def captures_nothing(original):
    return lambda book, fills, *args: original(book, replace(fills, captured_EN=None), *args)


def a_bar_early(original):
    return lambda world, before, *args: original(world, replace(before, end_E=before.end_E - 1), *args)


def keeps_what_it_holds(found, world, before, *_):
    last_E1 = (before.bar_E + 1 >= before.end_E).unsqueeze(1)
    return replace(found, order_EN=found.order_EN & ~last_E1)


def given_shares(found, *_):
    book = found.book
    return replace(found, book=replace(book, cash_E=book.cash_E + (book.shares_EN * book.price_EN).sum(1)))


def flat_later_on(original):
    def fresh(world, seed, copy_E, episode_E, remembered):
        state = original(world, seed, copy_E, episode_E, remembered)
        first_E1 = (episode_E == 0).unsqueeze(1)
        shares_EN = torch.where(first_E1, state.book.shares_EN, 0.0)
        value_EN = shares_EN * state.book.price_EN
        cash_E = state.nav_E - value_EN.sum(1)
        return replace(state, book=replace(state.book, shares_EN=shares_EN, value_EN=value_EN, cash_E=cash_E))

    return fresh


def without_interest(found, record, *_):
    found = found.clone()
    found[:, -1] -= record.interest_E
    return found


def at_every_step(original):
    return lambda outcome, *given: original(replace(outcome, last_E=torch.ones_like(outcome.last_E)), *given)


def of_what_was_held(original):
    return lambda self, state, position_EN: original(self, state, state.book.shares_EN)


def ask_is_hit_less(found, *_):
    return found * torch.tensor([1.0, 0.5], dtype=found.dtype)


def luck_of_the_price(_):
    """The streams of prices and quotes collide."""

    def draw(seed, copy_E11, episode_E11, _stream, bar_E11, asset_N1, side_2):
        return uniform(seed, copy_E11, episode_E11, PRICE_STREAM, bar_E11 + 1, asset_N1 + 0 * side_2)

    return draw


def hidden_is_lost(found, *_):
    return replace(found, hidden_EK=torch.zeros_like(found.hidden_EK))


FAULTS = [
    Fault("costs are paid out", accounts.the_accounts_balance, ledger, "settle", costs_paid_out),
    Fault("interest is forgotten", accounts.the_accounts_balance, ledger, "settle", forgets_interest),
    Fault("captured spreads are forgotten", accounts.the_accounts_balance, ledger, "settle", captures_nothing),
    Fault(
        "the next call draws other prices",
        accounts.prices_are_not_traded_but_for_permanent_impact,
        simulation,
        "normal",
        drawn_anew,
    ),
    Fault(
        "buying makes cheaper",
        accounts.prices_are_not_traded_but_for_permanent_impact,
        impact,
        "per_asset",
        result(lambda found, *_: -found),
    ),
    Fault(
        "linear impact is not halved",
        accounts.costs_are_what_they_are_said_to_be,
        execution,
        "per_asset",
        result(lambda found, *_: 2 * found),
    ),
    Fault(
        "no cross impact",
        accounts.costs_are_what_they_are_said_to_be,
        execution,
        "per_asset",
        instead(lambda impact, shares_EN: shares_EN * (impact if impact.dim() == 1 else impact.diagonal())),
    ),
    Fault(
        "quotes are free",
        accounts.costs_are_what_they_are_said_to_be,
        quotes,
        "fill",
        lambda original: lambda fills, *args: replace(original(fills, *args), cost_EN=fills.cost_EN),
    ),
    Fault("costs are negative", accounts.costs_are_adverse, Costs, "of", result(lambda found, *_: -found)),
    Fault(
        "quotes pay what they capture",
        accounts.costs_are_adverse,
        quotes,
        "fill",
        result(lambda found, *_: replace(found, captured_EN=-found.captured_EN)),
    ),
    Fault(
        "prices give way twice",
        accounts.a_round_trip_never_gains,
        impact,
        "per_asset",
        result(lambda found, *_: 2 * found),
    ),
    Fault(
        "a signal of one is more",
        accounts.a_signal_of_one_is_the_size,
        Sizing,
        "full",
        result(lambda found, *_: found + 1),
    ),
    Fault("quotes know no limit", accounts.limits_hold, quotes, "allowed", result(lambda found, *_: found | True)),
    Fault("no cap on targets", accounts.limits_hold, risk, "capped", instead(lambda weight_EN, *_: weight_EN)),
    Fault("all may be short", accounts.limits_hold, roster, "lowest", instead(lambda *_: -1.0)),
    Fault("nothing is closed", accounts.a_close_out_leaves_nothing, env, "decide", result(keeps_what_it_holds)),
    Fault("closed a bar early", accounts.a_close_out_leaves_nothing, env, "decide", a_bar_early),
    Fault(
        "the time runs backwards",
        accounts.the_horizon_ends_as_it_says,
        sight,
        "_time_left",
        result(lambda found, *_: 1 - found),
    ),
    Fault(
        "the end is a cut",
        accounts.the_horizon_ends_as_it_says,
        MarketEnv,
        "_advance",
        result(lambda found, *_: (found[0], found[2], found[1])),
    ),
    Fault("the start is a gift", accounts.an_episode_begins_with_its_start, opening, "begin", result(given_shares)),
    Fault("later episodes start flat", accounts.an_episode_begins_with_its_start, opening, "begin", flat_later_on),
    Fault("interest is not paid out", paid.money_is_paid_as_it_is_earned, rewards, "profits", result(without_interest)),
    Fault(
        "a joint agent gets the mean",
        paid.money_is_paid_as_it_is_earned,
        Seat,
        "earns",
        lambda original: lambda self, reward_EM, sleeve_EN, _: original(self, reward_EM, sleeve_EN, "log"),
    ),
    Fault("simple returns", paid.log_returns_add_up, rewards, "log_ratio", instead(torch.ones_like)),
    Fault(
        "all was expected",
        paid.an_expected_reward_leaves_the_surprise_out,
        SimulatedFeed,
        "rows",
        result(lambda found, *_: replace(found, expected_EN=found.close_EN)),
    ),
    Fault("risk before the fill", paid.risk_is_charged_by_its_variance, SimulatedFeed, "variance", of_what_was_held),
    Fault(
        "money and shares of sleeves are added up",
        paid.costs_are_charged_again,
        rewards,
        "_in_money",
        lambda original: lambda amount_EN: original(amount_EN) / 1e5,
    ),
    Fault("charged at every step", paid.what_is_left_at_the_end_is_charged, rewards, "reward", at_every_step),
    Fault(
        "a short of half the size",
        chance.a_mirrored_market_pays_the_same,
        execution,
        "fill",
        given(lambda target_EN, **_: {"target_EN": torch.where(target_EN < 0, target_EN / 2, target_EN)}),
    ),
    Fault("asks are hit less", chance.a_mirrored_market_pays_the_same, quotes, "probability", result(ask_is_hit_less)),
    Fault(
        "hit in continuous time",
        chance.quotes_fill_as_often_as_they_should,
        quotes,
        "probability",
        result(lambda found, *_: -torch.expm1(-found)),
    ),
    Fault(
        "one luck for both sides",
        chance.quotes_fill_as_often_as_they_should,
        world,
        "uniform",
        result(lambda found, *_: found[..., :1].expand_as(found)),
    ),
    Fault(
        "the price tells what is hit", chance.quotes_fill_as_often_as_they_should, world, "uniform", luck_of_the_price
    ),
    Fault(
        "losses were expected",
        chance.an_expected_reward_has_the_same_mean,
        SimulatedFeed,
        "rows",
        result(lambda found, *_: replace(found, expected_EN=torch.minimum(found.expected_EN, found.close_EN))),
    ),
    Fault("copies share a purse", keeps_the_contract, ledger, "settle", result(a_shared_purse)),
    Fault("the seed is not all", keeps_the_contract, simulation, "normal", drawn_anew),
    Fault("a restored state lacks the signals", keeps_the_contract, env, "restored", result(hidden_is_lost)),
]


def on_every_seed(law: Callable[[int], None]) -> None:
    for seed in SEEDS:
        law(seed)


@pytest.mark.parametrize("law", [*LAWS, *CHANCE, keeps_the_contract], ids=lambda law: law.__name__)
def test_without_a_fault_a_law_holds_on_every_seed(law):
    on_every_seed(law)


@pytest.mark.parametrize("fault", FAULTS, ids=lambda fault: f"{fault.law.__name__}: {fault.what}")
def test_a_law_notices_its_fault(fault, monkeypatch):
    monkeypatch.setattr(fault.owner, fault.name, fault.wrap(getattr(fault.owner, fault.name)))
    with pytest.raises(AssertionError):
        on_every_seed(fault.law)


def test_every_law_has_a_fault():
    assert {fault.law for fault in FAULTS} == {*LAWS, *CHANCE, keeps_the_contract}
