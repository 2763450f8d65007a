"""The laws of the market with roles in it, and that each notices its fault."""

from __future__ import annotations

from dataclasses import replace
from functools import partial

import pytest
import torch
from hypothesis import given as drawn
from hypothesis import settings
from hypothesis import strategies as st

from environments.market import compiled, env, inventory, ledger, orders
from environments.market.oversight import Oversight
from environments.market.world import World
from tests.environments.laws import accounts, copies, information, limits, response, roles
from tests.environments.laws.faults import Fault, instead, result
from tests.environments.laws.roles import staffed
from tests.environments.laws.worlds import world
from tests.environments.test_compiled import assert_the_same_game

without_makers = partial(staffed, makers=False)
without_manager = partial(staffed, manager=False)
OWN = (roles.only_who_decides_is_heard, roles.quotes_fill_where_the_bar_goes_through, roles.a_stop_holds_nothing)
LAWS = (
    *((law, staffed) for law in OWN),
    (accounts.the_accounts_balance, staffed),
    (accounts.rewards_add_up, staffed),
    (accounts.exposures_are_feasible, staffed),
    (accounts.costs_are_adverse, staffed),
    (accounts.carry_accrues_each_bar, staffed),
    (information.what_comes_later_changes_nothing_before, staffed),
    (information.a_fill_knows_nothing_of_its_bar, without_makers),  # whose quotes live in the bar
    (information.the_state_decides, staffed),
    (information.nothing_hidden_acts, staffed),
    (response.an_action_moves_its_own_reward, without_manager),  # who may let nothing be held
    (copies.a_seed_decides, staffed),
    (copies.a_copy_is_alone, staffed),
    (limits.limits_hold, without_manager),
)
SEEDS = range(5)


def sees_the_bar(original):
    """A stop that acts on the bar that it is to protect from."""

    def scaled(before, now, sized, factor_E1):
        rise_E1 = (before.book.shares_EN * (now.close_EN - before.book.price_EN)).sum(1, keepdim=True)
        return original(before, now, sized, torch.where(rise_E1 < 0, 0.0, factor_E1))

    return scaled


def at_the_extreme(original):
    """Fills at the low and the high, which nobody quoted."""

    def fill(makers, quoting, fills, held_EN, low_EN, high_EN, *rest):
        better = replace(
            quoting,
            bid_EN=torch.where(low_EN < quoting.bid_EN, low_EN * (1 + 1e-9), quoting.bid_EN),
            ask_EN=torch.where(high_EN > quoting.ask_EN, high_EN * (1 - 1e-9), quoting.ask_EN),
        )
        return original(makers, better, fills, held_EN, low_EN, high_EN, *rest)

    return fill


def always_hit(original):
    def fill(makers, quoting, fills, held_EN, low_EN, high_EN, *rest):
        return original(makers, quoting, fills, held_EN, low_EN * 0, high_EN + torch.inf, *rest)

    return fill


def not_in_the_book(found, _makers, _quoting, fills, *_):
    return replace(found, shares_EN=fills.shares_EN)


def free_of_charge(found, _makers, _quoting, fills, *_):
    return replace(found, cost_EN=fills.cost_EN)


def captures_nothing(original):
    return lambda book, fills, *args: original(book, replace(fills, captured_EN=None), *args)


def any_amount(found, *_):
    return found | True


def never_resting(original):
    def decide(self, before, actions):
        watch = original(self, before, actions)
        return watch._replace(factor=watch.scale)

    return decide


def armed_at_once(original):
    def decide(self, before, actions):
        watch = original(self, before, actions)
        return watch._replace(below=torch.zeros_like(watch.below))

    return decide


FAULTS = [
    Fault("all are heard", roles.only_who_decides_is_heard, World, "speak", instead(lambda *_: None)),
    Fault("fills at the extreme", OWN[1], inventory, "fill", at_the_extreme),
    Fault("all quotes are hit", OWN[1], inventory, "fill", always_hit),
    Fault("inventory is forgotten", OWN[1], inventory, "fill", result(not_in_the_book)),
    Fault("captured spreads are forgotten", accounts.the_accounts_balance, ledger, "settle", captures_nothing),
    Fault("quotes are free", OWN[1], inventory, "fill", result(free_of_charge)),
    Fault("quotes know no limit", OWN[1], inventory, "_allowed", result(any_amount)),
    Fault("quotes know no cap", accounts.exposures_are_feasible, inventory, "_allowed", result(any_amount)),
    Fault("a stop that sees the bar", information.a_fill_knows_nothing_of_its_bar, orders, "_scaled", sees_the_bar),
    Fault("a stop that sees the bar", roles.a_stop_holds_nothing, orders, "_scaled", sees_the_bar),
    Fault("a stop that holds on", roles.a_stop_holds_nothing, Oversight, "decide", never_resting),
    Fault("a stop that forgets the peak", roles.a_stop_holds_nothing, Oversight, "decide", armed_at_once),
]


@pytest.mark.parametrize(("law", "make"), LAWS, ids=lambda part: getattr(part, "__name__", ""))
@settings(max_examples=2, deadline=None)
@drawn(seed=st.integers(0, 2**32 - 1))
def test_a_law_holds_with_roles(law, make, seed):
    law(make, seed)


def on_every_seed(law):
    for seed in SEEDS:
        law(dict(LAWS)[law], seed)


@pytest.mark.parametrize("fault", FAULTS, ids=lambda fault: f"{fault.law.__name__}: {fault.what}")
def test_a_law_notices_its_fault(fault, monkeypatch):
    monkeypatch.setattr(fault.owner, fault.name, fault.wrap(getattr(fault.owner, fault.name)))
    with pytest.raises(AssertionError):
        on_every_seed(fault.law)


@pytest.mark.parametrize("seed", range(3))
def test_a_traced_step_with_roles_is_the_same_game(seed, monkeypatch):
    monkeypatch.setattr(compiled, "compiled_graph", lambda graph, _: graph)
    monkeypatch.setattr(env, "check_compiler", lambda _: None)
    assert_the_same_game(world(staffed, seed), world(staffed, seed, compile=True), seed)


def test_every_law_of_the_roles_has_a_fault():
    assert {fault.law for fault in FAULTS} >= set(OWN)
