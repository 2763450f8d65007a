"""What agents of a simulated market are paid, told from what the record and the processes say."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

from environments.base import Transition
from environments.market.env import MarketEnv
from tests.environments.laws.simulations import Step, params, played, processes_of, square, world

PLAIN = {"unit": "money", "profit": 1, "scale": 10}


def money_is_paid_as_it_is_earned(seed: int) -> None:
    """In money, an agent is paid its asset's profit, a joint one that of all its assets, a portfolio's agent all."""
    env = world(seed, reward=PLAIN, traders=_without_aversion(seed))
    for step in played(env, seed):
        gain_E = step.record.pnl_EN.sum(1) + step.record.interest_E
        assert torch.allclose(gain_E, step.record.nav_E - step.before.nav_E, rtol=1e-9, atol=1e-6)
        _assert_paid(env, step.transition, step.record.pnl_EN, gain_E)


def log_returns_add_up(seed: int) -> None:
    """In log returns, whoever is paid for the portfolio gets log(final / initial) over an episode."""
    traders = {name: {**trader, "paid": "portfolio"} for name, trader in _without_aversion(seed).items()}
    env = world(seed, reward={"scale": 10}, traders=traders)
    total_E = torch.zeros(env.num_envs, dtype=torch.float64)
    for step in played(env, seed):
        rewards = list(step.transition.reward.values())
        assert all((reward_EA == rewards[0][:, :1]).all() for reward_EA in rewards)
        total_E = total_E + rewards[0][:, 0].double() / 10
        gained_E = torch.log(step.record.nav_E / env.params.capital)
        assert torch.allclose(total_E, gained_E, rtol=1e-5, atol=1e-6)
        total_E = torch.where(step.transition.done, 0.0, total_E)


def an_expected_reward_leaves_the_surprise_out(seed: int) -> None:
    """Paid is the profit less x (close - its conditional expectation), and the path is the same."""
    traders = _without_aversion(seed)
    env = world(seed, reward={**PLAIN, "expected": True}, traders=traders)
    impact_NN = square(env, env.params.linear_impact.permanent)
    for step in played(env, seed):
        on_E, (before, after) = step.on_E, (step.before, step.after)
        expected_EN = _expected(env, step) + (after.shares_EN - before.shares_EN) @ impact_NN
        pnl_EN = step.record.pnl_EN - after.shares_EN * (after.price_EN - expected_EN)
        _assert_paid(env, step.transition, pnl_EN, pnl_EN.sum(1) + step.record.interest_E, on_E)


def risk_is_charged_by_its_variance(seed: int) -> None:
    """An aversion g takes off g/2 x the variance of the bar's profit: x' Cov x of what is held after the fill."""
    given = params(seed)["traders"]
    calm, averse = (
        world(seed, reward=PLAIN, traders={name: {**trader, "risk_aversion": g} for name, trader in given.items()})
        for g in (0.0, 0.4)
    )
    for step, paid in _side_by_side(averse, calm, seed):
        variance_EN = torch.cat(
            [process.variance(*columns) for process, *columns in _by_class(averse, step, step.after.shares_EN)], dim=1
        )
        charged, size = _charge(step, paid)
        _assert_paid(
            averse, charged, 0.2 * variance_EN, 0.2 * variance_EN.sum(1), step.on_E, size=size, allocator=False
        )


def costs_are_charged_again(seed: int) -> None:
    """A weight on costs takes that share of them off, in money as in the profit."""
    traders = _without_aversion(seed)
    charged, free = (world(seed, reward={**PLAIN, "cost": weight}, traders=traders) for weight in (0.7, 0.0))
    for step, paid in _side_by_side(charged, free, seed):
        penalty, size = _charge(step, paid)
        cost_EN = 0.7 * step.record.cost_EN
        _assert_paid(charged, penalty, cost_EN, cost_EN.sum(1), size=size)


def what_is_left_at_the_end_is_charged(seed: int) -> None:
    """``final_position`` takes a x^2 of each asset off, at the horizon alone."""
    common = {"finite": True, "close_out": False, "traders": _without_aversion(seed)}
    charged, free = (world(seed, **common, reward={**PLAIN, "final_position": a}) for a in (0.03, 0.0))
    longer = world(seed, **common, reward=PLAIN, horizon=charged.params.horizon + 1)
    for (step, paid), further in zip(
        _side_by_side(charged, free, seed, charged.params.horizon), played(longer, seed), strict=False
    ):
        over_E1 = (step.record.bar_E == charged.params.horizon)[:, None]
        left_EN = torch.where(over_E1, 0.03 * further.after.shares_EN.square(), 0.0)
        penalty, size = _charge(step, paid)
        _assert_paid(charged, penalty, left_EN, left_EN.sum(1), size=size)


def _side_by_side(one: MarketEnv, other: MarketEnv, seed: int, steps: int | None = None) -> Iterator[tuple[Step, Step]]:
    """Steps of two markets that differ in what they pay alone."""
    for step, twin in zip(played(one, seed, steps), played(other, seed, steps), strict=True):
        assert torch.equal(step.record.nav_E, twin.record.nav_E)
        yield step, twin


def _charge(step: Step, free: Step) -> tuple[Transition, float]:
    """What a step pays less than another that is free of it, as rewards, and the size of those."""
    rewards = [(name, free.transition.reward[name], reward_EA) for name, reward_EA in step.transition.reward.items()]
    charged = {name: more_EA - less_EA for name, more_EA, less_EA in rewards}
    return replace(step.transition, reward=charged), max(float(more_EA.abs().max()) for _, more_EA, _ in rewards)


def _without_aversion(seed: int) -> dict[str, dict[str, Any]]:
    return {name: {**trader, "risk_aversion": 0} for name, trader in params(seed)["traders"].items()}


def _by_class(env: MarketEnv, step: Step, *columns_EN: Tensor) -> Iterator[tuple[Any, ...]]:
    """Each class's process with its part of the columns, of the prices and of the hidden columns before the step."""
    asset = hidden = 0
    for process in processes_of(env).values():
        assets, hiddens = slice(asset, asset + process.assets), slice(hidden, hidden + process.hidden)
        parts = [column_EN[:, assets] for column_EN in (*columns_EN, step.before.price_EN)]
        yield process, *parts, step.before.hidden_EK[:, hiddens]
        asset, hidden = assets.stop, hiddens.stop


def _expected(env: MarketEnv, step: Step) -> Tensor:
    return torch.cat([process.expected(*columns) for process, *columns in _by_class(env, step)], dim=1)


def _assert_paid(
    env: MarketEnv,
    transition: Transition,
    pnl_EN: Tensor,
    gain_E: Tensor,
    on_E: Tensor | None = None,
    *,
    size: float | None = None,
    allocator: bool = True,
) -> None:
    """``PLAIN`` rewards are ``scale`` x what the agent's assets, or the portfolio, gained."""
    scale = env.params.reward.scale
    size = scale * float(gain_E.abs().max() + pnl_EN.abs().max()) if size is None else size
    on_E = torch.ones_like(gain_E, dtype=torch.bool) if on_E is None else on_E
    for trader in env._world.traders:
        told_EA = pnl_EN[:, trader.assets]
        if trader.params.joint:
            told_EA = told_EA.sum(1, keepdim=True)
        if trader.params.paid == "portfolio":
            told_EA = gain_E[:, None].expand(-1, len(env.groups[trader.name].agent_ids))
        _assert_close(transition.reward[trader.name][on_E], scale * told_EA[on_E], size)
    if allocator and "allocator" in env.groups:
        _assert_close(transition.reward["allocator"][on_E, 0], scale * gain_E[on_E], size)


def _assert_close(reward: Tensor, told: Tensor, size: float) -> None:
    """Equal up to the rounding of float32 numbers of that size."""
    assert torch.allclose(reward.double(), told, rtol=1e-5, atol=1e-6 * size)
