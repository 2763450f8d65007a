"""Laws 1, 2, 7, 8 and 9: where money comes from, where it goes, and what it may be spent on."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from environments.market.env import MarketEnv
from environments.market.rewards import WORST
from tests.environments.laws.worlds import (
    COPIES,
    Make,
    by_orders,
    frame,
    free,
    panel_of,
    params,
    played,
    quote_fees,
    world,
)


def the_accounts_balance(make: Make, seed: int) -> None:
    """1. Value after = value before - costs + sum(position x price change) + carry + interest, to 1e-9 relative."""
    for step in played(world(make, seed), seed):
        record = step.record
        gain_EN = step.before_EN * (step.open_EN - step.last_EN) + step.after_EN * (step.close_EN - step.open_EN)
        pnl_EN = gain_EN + record.captured_EN - record.cost_EN + record.carry_EN
        scale_E = record.nav_E.abs() + step.nav_E.abs() + record.value_EN.abs().sum(1)
        assert ((record.pnl_EN - pnl_EN).abs().sum(1) <= 1e-9 * scale_E).all()
        assert ((step.nav_E + pnl_EN.sum(1) + record.interest_E - record.nav_E).abs() <= 1e-9 * scale_E).all()


def rewards_add_up(make: Make, seed: int) -> None:
    """2. An episode's rewards of the allocator (profit alone) add up to log(final / initial), last step included."""
    rng = np.random.default_rng(seed)
    scale, every = float(rng.uniform(0.5, 100)), int(rng.integers(1, 5))
    alone = {"allocator": {"every": every}, "coordination": None}
    env = world(make, seed, **alone, reward={"profit": 1, "scale": scale})
    total_E = torch.zeros(env.num_envs, dtype=torch.float64)
    size_E, solvent_E = torch.zeros_like(total_E), torch.ones(env.num_envs, dtype=torch.bool)
    for step in played(env, seed, steps=60):
        reward_E = step.transition.reward["allocator"][:, 0].double() / scale
        solvent_E = solvent_E & (step.record.nav_E > WORST * step.nav_E)  # below it a logarithm is cut off
        total_E, size_E, done_E = total_E + reward_E, size_E + reward_E.abs(), step.transition.done
        gained_E = torch.log(step.record.nav_E / env.params.capital)
        assert ((total_E - gained_E).abs() <= 1e-6 * (1e-3 + size_E))[done_E & solvent_E].all()
        total_E, size_E = (torch.where(done_E, 0.0, sum_E) for sum_E in (total_E, size_E))
        solvent_E = solvent_E | done_E


def exposures_are_feasible(make: Make, seed: int) -> None:
    """7. Caps hold after every fill, with all costs paid; nothing is short where that is off, no cash is borrowed.

    What does not fill cannot be cut: a class, or the whole, may exceed its cap by such positions, never by fills.
    """
    env = world(make, seed)
    risk, classes = env.params.risk, torch.from_numpy(env.panel.class_N)
    shorting = env.panel.classes if risk.shorting is None else risk.shorting
    may_short_N = torch.tensor([name in shorting for name in env.panel.classes])[classes]
    for step in played(env, seed):
        record = step.record
        cost_EN = record.cost_EN - quote_fees(env, record)
        gap_E = (step.before_EN * (step.open_EN - step.last_EN) - cost_EN + record.carry_EN).sum(1)
        paid_E1 = (step.nav_E + gap_E + record.interest_E)[:, None].clamp(min=0)  # the value once all is paid
        room_E1 = 1e-9 * (paid_E1 + env.params.capital)
        size_EN, filled_EN = (step.after_EN * step.open_EN).abs(), by_orders(record) > 0
        fixed_EN = torch.where(filled_EN, 0.0, size_EN)
        assert (size_EN <= risk.max_position * paid_E1 + room_E1)[filled_EN].all()
        members = [(risk.max_class, classes == c) for c in range(len(env.panel.classes))]
        for cap, member_N in (*members, (risk.max_gross, torch.ones_like(may_short_N))):
            held_E1, stuck_E1 = (value_EN[:, member_N].sum(1, keepdim=True) for value_EN in (size_EN, fixed_EN))
            assert (held_E1 <= torch.maximum(cap * paid_E1, stuck_E1) + room_E1).all()
        assert (step.after_EN[:, ~may_short_N] >= 0).all()


def costs_are_adverse(make: Make, seed: int) -> None:
    """8. Where prices stand still nothing is ever gained, and trading more costs more."""
    still = frame(seed)
    still[["open", "high", "low", "close"]] = 7.0
    panel = panel_of(still)
    given = params(seed, panel.classes)
    for step in played(make(panel, COPIES, **given | {"cash_rate": 0}), seed):
        record = step.record
        assert (record.cost_EN >= 0).all()
        assert ((record.cost_EN > 0) <= (record.traded_EN > 0)).all()
        spent_E = (record.cost_EN - record.carry_EN).sum(1)
        scale_E = step.nav_E.abs() + record.value_EN.abs().sum(1)
        assert ((step.nav_E - spent_E - record.nav_E).abs() <= 1e-9 * scale_E).all()
    _more_costs_more(make, seed)


def _more_costs_more(make: Make, seed: int) -> None:
    rng = np.random.default_rng(seed)
    env = world(make, seed, num_envs=5, horizon=None, warmup=1, risk={})
    env.reset()
    share_E1 = torch.linspace(0, 0.5, 5, dtype=torch.float64).unsqueeze(1)
    weight_N = torch.from_numpy(rng.dirichlet(np.ones(len(env.panel.symbols)))) * float(rng.choice([-1, 1]))
    for _ in range(3):
        env.trade(share_E1 * weight_N, torch.ones(5, len(weight_N), dtype=torch.bool))
        more_EN, cost_EN = env.record.traded_EN.diff(dim=0), env.record.cost_EN.diff(dim=0)
        assert (cost_EN[more_EN > 0] >= 0).all()
        least_EN = _flat_N(env) * more_EN * (1 - 1e-6)  # whatever impact adds to the spread and the commission
        assert (cost_EN >= least_EN)[more_EN > 1e-9 * env.params.capital].all()
        env.reset()


def _flat_N(env: MarketEnv) -> Tensor:
    """Half the spread and the commission, per unit of value."""
    costs = [env.params.cost(env.panel.classes[c]) for c in env.panel.class_N]
    return torch.tensor([(cost.spread_bps / 2 + cost.commission_bps) * 1e-4 for cost in costs], dtype=torch.float64)


def carry_accrues_each_bar(make: Make, seed: int) -> None:
    """9. A short is charged in each bar for the days since the last; interest comes on cash that is one's own."""
    rng = np.random.default_rng(seed)
    rate, cash_rate = float(rng.uniform(0.01, 5)), float(rng.uniform(-0.1, 0.5))
    panel = panel_of(frame(seed))
    costs = {name: {**own, "borrow_rate": rate} for name, own in free(panel).items()}
    risk = {"shorting": None, "max_position": 1, "max_class": 1, "max_gross": 1}
    env = make(panel, COPIES, **params(seed, panel.classes) | {"costs": costs, "cash_rate": cash_rate, "risk": risk})
    years_T = torch.from_numpy(np.diff(panel.dates_T) / np.timedelta64(1, "D")) / 365
    for step in played(env, seed):
        years_E1 = years_T[step.record.bar_E - 1].unsqueeze(1)
        value_EN = step.before_EN * step.last_EN
        short_EN = value_EN.clamp(max=0)
        owed_EN = short_EN * rate * years_E1
        assert torch.allclose(step.record.carry_EN, owed_EN, rtol=1e-9, atol=1e-12)
        free_E = step.nav_E - value_EN.sum(1) + short_EN.sum(1)
        slack_E = 1e-9 * (step.nav_E.abs() + value_EN.abs().sum(1))
        assert ((step.record.interest_E - free_E * cash_rate * years_E1[:, 0]).abs() <= slack_E).all()
