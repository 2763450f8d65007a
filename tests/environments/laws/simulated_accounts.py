"""Where money goes in a simulated market: accounts, prices, costs, sizes, ends."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor

from environments.market.env import RUIN
from tests.environments.laws.simulations import (
    NO_IMPACT,
    WIDE,
    correlation,
    holding,
    params,
    per_asset,
    played,
    processes_of,
    quoting,
    square,
    world,
)
from tests.environments.markets import FREE, random_actions


def the_accounts_balance(seed: int) -> None:
    """Cash and value follow from shares, prices, costs, captured spreads, carry and interest, to 1e-9 relative."""
    env = world(seed)
    years = 1 / env.params.data.simulation.bars_per_year
    borrow_N = per_asset(env, {name: env.params.cost(name).borrow_rate for name in env.params.costs})
    for step in played(env, seed):
        before, after, record = step.before, step.after, step.record
        scale_E = before.nav_E + record.value_EN.abs().sum(1)
        bought_EN = (after.shares_EN - before.shares_EN) * before.price_EN
        short_EN = (after.shares_EN * before.price_EN).clamp(max=0)  # a bar begins with its fills: they are held
        carry_EN = short_EN * borrow_N * years
        assert torch.allclose(record.carry_EN[step.on_E], carry_EN[step.on_E], rtol=1e-9, atol=1e-12)
        spent_E = (bought_EN + record.cost_EN - record.captured_EN).sum(1)
        interest_E = (before.cash_E - spent_E + short_EN.sum(1)) * env.params.cash_rate * years
        assert ((record.interest_E - interest_E).abs() <= 1e-9 * scale_E)[step.on_E].all()
        flow_EN = record.captured_EN - record.cost_EN + record.carry_EN
        gain_E = record.pnl_EN.sum(1) + record.interest_E
        assert ((before.nav_E + gain_E - record.nav_E).abs() <= 1e-9 * scale_E).all()
        pnl_EN = after.shares_EN * (after.price_EN - before.price_EN) + flow_EN
        assert ((record.pnl_EN - pnl_EN).abs().sum(1) <= 1e-9 * scale_E)[step.on_E].all()
        paid_EN = bought_EN - flow_EN
        cash_E = before.cash_E + interest_E - paid_EN.sum(1)
        assert ((after.cash_E - cash_E).abs() <= 1e-9 * scale_E)[step.on_E].all()


def prices_are_not_traded_but_for_permanent_impact(seed: int) -> None:
    """Whatever is done, prices move as they would alone, and by G dx: the random numbers are the same."""
    env = world(seed)
    alone = world(seed, linear_impact=NO_IMPACT)
    impact_NN = square(env, env.params.linear_impact.permanent)
    geometric_N = per_asset(env, {name: process.positive for name, process in processes_of(env).items()}) > 0
    steps = range(env.params.horizon)
    for _, step, own in zip(steps, played(env, seed), played(alone, seed + 1, env_seed=seed), strict=False):
        before, after = step.before, step.after
        move_EN = own.after.price_EN - own.before.price_EN
        alone_EN = torch.where(
            geometric_N, before.price_EN * own.after.price_EN / own.before.price_EN, before.price_EN + move_EN
        )
        pushed_EN = (after.shares_EN - before.shares_EN) @ impact_NN
        on_E = step.on_E & own.on_E
        assert torch.allclose((after.price_EN - pushed_EN)[on_E], alone_EN[on_E], rtol=1e-10, atol=1e-8)


def costs_are_what_they_are_said_to_be(seed: int) -> None:
    """Half the spread, commission, money per share, and dx' L dx / 2, to rounding; quotes pay no spread, no impact."""
    env = world(seed, close_out=False, risk={**params(seed)["risk"], **WIDE})
    costs = {name: env.params.cost(name) for name in env.params.costs}
    commission_N = per_asset(env, {name: cost.commission_bps * 1e-4 for name, cost in costs.items()})
    spread_N = per_asset(env, {name: cost.spread_bps / 2e4 for name, cost in costs.items()})
    share_N = per_asset(env, {name: cost.per_share for name, cost in costs.items()})
    impact_NN, quotes_N = square(env, env.params.linear_impact.temporary), quoting(env)
    for step in played(env, seed):
        price_EN = step.before.price_EN.abs()
        change_EN = torch.where(quotes_N, 0.0, step.after.shares_EN - step.before.shares_EN)
        shares_EN = torch.where(quotes_N, step.record.traded_EN / price_EN, change_EN.abs())
        rate_EN = share_N + price_EN * (commission_N + torch.where(quotes_N, 0.0, spread_N))
        told_EN = shares_EN * rate_EN + change_EN * (change_EN @ impact_NN) / 2
        assert torch.allclose(step.record.cost_EN[step.on_E], told_EN[step.on_E], rtol=1e-9, atol=1e-9)


def costs_are_adverse(seed: int) -> None:
    """In sum, costs are at least 0 in each bar, and 0 where nothing is traded; what quotes capture is, too."""
    env = world(seed)
    for step in played(env, seed):
        record = step.record
        assert (record.cost_EN.sum(1) >= -1e-9 * record.cost_EN.abs().sum(1)).all()
        assert (record.cost_EN[record.traded_EN == 0] == 0).all()
        assert (record.captured_EN >= 0).all()
        assert (record.captured_EN[:, ~quoting(env)] == 0).all()


def a_round_trip_never_gains(seed: int) -> None:
    """Prices that stand still, from flat to flat: the profit is minus the costs, and -dx'(L - G) dx / 2, exactly."""
    rng = np.random.default_rng([seed, 4])
    changes = _in_shares(seed, rng)
    still = {"class": "environments.market.processes.brownian:Brownian", "params": {"sigma": 0.0, "price": 100.0}}
    sizes = {name: process.assets for name, process in processes_of(world(seed)).items()}
    classes = {name: {**still, "params": {**still["params"], "assets": size}} for name, size in sizes.items()}
    permanent_NN, excess_NN = (0.01 * correlation(rng, sum(sizes.values())) for _ in range(2))
    impact = {"temporary": (permanent_NN + excess_NN).tolist(), "permanent": permanent_NN.tolist()}
    changes |= {"data": {"simulation": {"classes": classes}}, "linear_impact": impact, "cash_rate": 0}
    changes |= {"finite": True, "close_out": True, "costs": {name: {**FREE, "per_share": 0.1} for name in sizes}}
    changes["risk"] = WIDE  # all may be short: each adjustment is a trade
    env = world(seed, **changes)
    spent_E, traded_E = (torch.zeros(env.num_envs, dtype=torch.float64) for _ in range(2))
    for step in played(env, seed, steps=env.params.horizon):
        shares_EN = torch.where(step.on_E[:, None], step.after.shares_EN, 0.0)
        change_EN = shares_EN - step.before.shares_EN
        spent_E = spent_E + (change_EN * (change_EN @ torch.from_numpy(excess_NN))).sum(1) / 2
        traded_E = traded_E + change_EN.abs().sum(1)
    assert step.transition.done.all()
    assert (traded_E > 0).all()
    assert torch.allclose(step.record.nav_E, env.params.capital - spent_E - 0.1 * traded_E, rtol=0, atol=1e-7)


def _in_shares(seed: int, rng: np.random.Generator, actions: tuple[str, ...] = ("continuous", "adjust")) -> Any:
    """A market in shares with wide caps, one trader for each class, flat at the start."""
    given = params(seed)
    traders = {
        name: {
            "asset_class": name,
            "action": str(rng.choice(actions)),
            "size": float(rng.uniform(1, 30)),
            "notch": float(rng.uniform(0.1, 2)),
            "levels": int(rng.integers(2, 9)),
        }
        for name in given["data"]["simulation"]["classes"]
    }
    alone = {"allocator": None, "coordination": None, "fusion": {}}
    return {"sizing": "shares", **alone, "traders": traders, "risk": {**given["risk"], **WIDE}}


def a_signal_of_one_is_the_size(seed: int) -> None:
    """In shares, what is held is the signal x ``size``, to rounding, and never more than ``size``."""
    rng = np.random.default_rng([seed, 5])
    changes = _in_shares(seed, rng, ("trade", "levels", "continuous", "adjust"))
    env = world(seed, **changes, close_out=False)
    for step in played(env, seed):
        for trader in env._world.traders:
            held_EA = step.before.shares_EN[:, trader.assets] / trader.params.size
            action_EA = step.actions[trader.name].flatten(1).double()
            asked_EA = _asked(trader, action_EA, held_EA)[step.on_E]
            shares_EA = step.after.shares_EN[:, trader.assets][step.on_E]
            wanted_EA = asked_EA.clamp(trader.lowest, 1.0) * trader.params.size
            assert torch.allclose(shares_EA, wanted_EA, rtol=1e-9, atol=1e-9)
            assert (shares_EA == trader.params.size)[asked_EA > 1 + 1e-9].all()


def _asked(trader: Any, action_EA: Tensor, held_EA: Tensor) -> Tensor:
    """The signal before it is clipped."""
    match trader.kind:
        case "trade":
            return held_EA + trader.params.notch * (action_EA - 1)
        case "adjust":
            return held_EA + trader.params.notch * action_EA
        case "levels":
            return trader.lowest + (1 - trader.lowest) * (action_EA / (trader.params.levels - 1))
        case _:
            return trader.lowest + (1 - trader.lowest) * (action_EA + 1) / 2


def limits_hold(seed: int) -> None:
    """In shares nobody holds more than its size, or is short where that is off; what is added stays within the cap."""
    risk = {**params(seed)["risk"], "max_position": float(np.random.default_rng([seed, 11]).uniform(0.001, 0.03))}
    env = world(seed, sizing="shares", allocator=None, coordination=None, risk=risk)
    size_N = env._world.sizing.size_N
    shorting = env.params.risk.shorting
    short_N = per_asset(env, {name: shorting is None or name in shorting for name in env.params.costs})
    for step in played(env, seed):
        shares_EN, held_EN = step.after.shares_EN, step.before.shares_EN
        assert ((shares_EN <= size_N + 1e-9) & (shares_EN >= -size_N * short_N - 1e-9)).all()
        value_EN, old_EN = (amount_EN.abs() * step.before.price_EN.abs() for amount_EN in (shares_EN, held_EN))
        room_E1 = env.params.risk.max_position * step.before.nav_E[:, None] * (1 + 1e-3)  # interest may have come
        assert (value_EN <= torch.maximum(room_E1, old_EN))[step.on_E].all()


def a_close_out_leaves_nothing(seed: int) -> None:
    """The last decision of the horizon closes every position, whatever agents say; before it nothing is different."""
    closed, free = (world(seed, finite=True, close_out=flag) for flag in (True, False))
    steps = closed.params.horizon
    for step, other in zip(played(closed, seed, steps), played(free, seed, steps), strict=True):
        over_E = step.record.bar_E == closed.params.horizon
        assert (step.record.value_EN[over_E] == 0).all()
        assert torch.equal(step.record.value_EN[~over_E], other.record.value_EN[~over_E])


def the_horizon_ends_as_it_says(seed: int) -> None:
    """Finite: terminated at the horizon, and the time left is seen; otherwise truncated, and nothing is seen of it."""
    env = world(seed)
    horizon, finite = env.params.horizon, env.params.finite
    seen = {name: columns.index("time_left") for name, columns in env.feature_names.items() if "time_left" in columns}
    choosy = {trader.name for trader in env._world.traders if trader.params.observe is not None}
    assert (seen.keys() == env.groups.keys() - choosy) if finite else not seen
    for step in played(env, seed):
        bar_E, transition = step.record.bar_E, step.transition
        over_E, ruined_E = bar_E == horizon, step.record.nav_E <= RUIN * env.params.capital
        assert torch.equal(transition.done, over_E | ruined_E)
        for name in env.groups:
            terminated_E1 = (ruined_E | (over_E & finite))[:, None]
            assert torch.equal(transition.terminated[name], terminated_E1.expand_as(transition.terminated[name]))
            truncated_E1 = (over_E & ~terminated_E1[:, 0])[:, None]
            assert torch.equal(transition.truncated[name], truncated_E1.expand_as(transition.truncated[name]))
        for name, column in seen.items():
            left_E1 = ((horizon - bar_E) / horizon)[:, None]
            assert torch.allclose(transition.final_obs[name][..., column], left_E1)
            assert torch.allclose(
                transition.obs[name][..., column], torch.where(transition.done[:, None], 1.0, left_E1)
            )


def an_episode_begins_with_its_start(seed: int) -> None:
    """Worth the capital, holding ``start``, which agents see; the first episode and later ones."""
    env = world(seed)
    starts = {trader.name: trader.params.start for trader in env._world.traders}
    start_N = per_asset(env, {trader.asset_class: trader.params.start for trader in env._world.traders})
    obs, done_E = env.reset(seed=seed), torch.ones(env.num_envs, dtype=torch.bool)
    for i in range(2 * env.params.horizon + 1):
        begun = holding(env)
        worth_E = begun.cash_E + (begun.shares_EN * begun.price_EN).sum(1)
        assert torch.allclose(worth_E, begun.nav_E, rtol=1e-12)
        assert (begun.nav_E[done_E] == env.params.capital).all()
        full_EN = begun.shares_EN.clone().fill_(1.0) * env._world.sizing.size_N
        if env.params.sizing == "weights":
            full_EN = full_EN * env.get_state()["state"]["sleeve_EN"] * env.params.capital / begun.price_EN
        assert torch.allclose(begun.shares_EN[done_E], (full_EN * start_N)[done_E], rtol=1e-9)
        for name, start in starts.items():
            for column, feature in enumerate(env.feature_names[name]):
                if feature.endswith("signal_held"):
                    assert torch.allclose(obs[name][done_E][..., column], torch.tensor(start, dtype=torch.float32))
        transition = env.step(random_actions(env, seed + i))
        obs, done_E = transition.obs, transition.done
