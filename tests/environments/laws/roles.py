"""Laws of the roles: whose turn it is, what quotes are filled, what is held while a stop rests."""

from __future__ import annotations

import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from environments.market.config_roles import RISK
from environments.market.env import MarketEnv
from environments.market.history import settle_TN
from environments.market.orders import Orders
from environments.market.panel import Panel
from tests.environments.laws.worlds import STEPS, Make, prices, quote_fees, world
from tests.environments.markets import market, random_actions

CLOCK = 17
"""Of slow traders: so many steps later, as ``nothing_hidden_acts`` goes, it is their turn where it was."""


def staffed(panel: Panel, num_envs: int = 1, *, makers: bool = True, manager: bool = True, **params: Any) -> MarketEnv:
    """A market as ``markets.market`` makes it, with slow traders, market makers and a risk manager."""
    told = repr((panel.classes, params.get("warmup"), params.get("costs")))
    rng = np.random.default_rng(zlib.crc32(told.encode()))
    traders = {name: dict(trader) for name, trader in params["traders"].items()}
    for trader in traders.values():
        trader["every"] = CLOCK if rng.random() < 0.4 else 1
    for name in panel.classes:
        if makers and rng.random() < 0.8:
            traders[f"maker-{name}"] = _maker(name, rng)
    given = {**params, "traders": {name: traders[name] for name in map(str, rng.permutation(list(traders)))}}
    given["reward"] = {**given.get("reward", {}), "adaptive": None}
    if manager:
        given["risk_manager"] = _manager(rng)
    return market(panel, num_envs, **given)


def _maker(name: str, rng: np.random.Generator) -> dict[str, Any]:
    most = float(rng.uniform(0.1, 1))
    quotes = {"width": float(rng.uniform(0.2, 3)), "size": most * float(rng.uniform(0.1, 1)), "max_inventory": most}
    return {"asset_class": name, "role": "market_making", "quoting": quotes, "risk_aversion": float(rng.uniform(0, 10))}


def _manager(rng: np.random.Generator) -> dict[str, Any]:
    least = float(rng.uniform(0.001, 0.02))
    stops = {"min_stop": least, "max_stop": least + float(rng.uniform(0, 0.05))}
    return {"every": int(rng.choice([1, 1, CLOCK])), "rest": int(rng.integers(1, 4)), **stops}


@dataclass(frozen=True)
class Acted:
    """A step: the state before it, what was done and decided, and whose turn it was."""

    before: dict[str, Any]
    actions: dict[str, Tensor]
    orders: Orders
    done_E: Tensor


def acted(env: MarketEnv, seed: int) -> Iterator[Acted]:
    """Random steps from a reset on; the record is that of the step."""
    env.reset(seed=seed)
    for i in range(STEPS):
        before, actions = env.get_state()["state"], random_actions(env, seed + i)
        done_E = env.step(actions).done
        assert env._outcome is not None
        yield Acted(before, actions, env._outcome()[2], done_E)


def only_who_decides_is_heard(make: Make, seed: int) -> None:
    """10. What those say whose turn it is not changes nothing; a slow trader has its turn each ``every``-th step."""
    env, other = (world(make, seed) for _ in range(2))
    env.reset(seed=seed)
    other.reset(seed=seed)
    for i in range(STEPS):
        actions, active = random_actions(env, seed + i), env.active()
        step_E = env.get_state()["state"]["step_E"]
        for name, trader in (env.params.traders or {}).items():
            if trader.clock > 1:
                assert not active[name][step_E % trader.clock != 0].any()
        garbled = {name: _garbled(action, active.get(name)) for name, action in actions.items()}
        one, two = env.step(actions), other.step(garbled)
        for name, reward_EA in one.reward.items():
            assert torch.equal(reward_EA, two.reward[name])
            assert torch.equal(one.obs[name], two.obs[name])


def _garbled(action: Tensor, active: Tensor | None) -> Tensor:
    if active is None:
        return action
    mask = active if action.dim() == 2 else active.unsqueeze(-1)
    return torch.where(mask, action, torch.zeros_like(action))


def quotes_fill_where_the_bar_goes_through(make: Make, seed: int) -> None:
    """5, 8. A bid fills at its price if the low is below it, an ask if the high is above; nothing else moves inventory.

    Reckoned anew from the panel. A fill is at no better price than the bar's extreme; its commission is paid; the
    inventory stays within its limit, unless it shrinks; it is a part of the position, and makers earn on it alone.
    """
    env = world(make, seed)
    panel, volatility_TN = env.panel, _volatility_TN(env.panel)
    low_TN, high_TN = torch.from_numpy(panel.low_TN), torch.from_numpy(panel.high_TN)
    for step in acted(env, seed):
        record, quoting, before = env.record, step.orders.quoting, step.before
        if quoting is None:
            return
        last_EN, open_EN, close_EN = prices(panel, record.bar_E)
        distance_EN2 = _distances(env, step.actions) * volatility_TN[record.bar_E - 1].unsqueeze(-1)
        bid_EN, ask_EN = last_EN * (1 - distance_EN2[..., 0]).clamp(min=0.05), last_EN * (1 + distance_EN2[..., 1])
        units_EN, after_EN = quoting.units_EN, record.inventory_EN / close_EN
        kept_EN = _kept(env, step)
        change_EN, least_EN = after_EN - kept_EN, 1e-9 * (units_EN + kept_EN.abs())
        bought_EN, sold_EN = change_EN > least_EN, change_EN < -least_EN
        assert (low_TN[record.bar_E] < bid_EN)[bought_EN].all()
        assert (high_TN[record.bar_E] > ask_EN)[sold_EN].all()
        both_EN = ~bought_EN & ~sold_EN & (record.quoted_EN > 0)
        buys_EN, sells_EN = bought_EN | both_EN, sold_EN | both_EN
        captured_EN = torch.where(buys_EN, units_EN * (open_EN - bid_EN), 0.0)
        captured_EN = captured_EN + torch.where(sells_EN, units_EN * (ask_EN - open_EN), 0.0)
        scale_EN = before["nav_E"].abs().unsqueeze(1) + units_EN * last_EN
        assert ((record.captured_EN - captured_EN).abs() <= 1e-9 * scale_EN).all()
        value_EN = torch.where(buys_EN, units_EN * bid_EN, 0.0) + torch.where(sells_EN, units_EN * ask_EN, 0.0)
        assert ((record.quoted_EN - value_EN).abs() <= 1e-9 * scale_EN).all()
        _nothing_else_moves(env, step, open_EN, close_EN)
        grown_EN = after_EN.abs() > before["inventory_EN"].abs() * (1 + 1e-9) + 1e-9 * units_EN
        assert (after_EN.abs() <= torch.where(after_EN > 0, quoting.most_EN, -quoting.least_EN) * (1 + 1e-9))[
            grown_EN
        ].all()
        gain_EN = before["inventory_EN"] * (open_EN - last_EN) + after_EN * (close_EN - open_EN) + captured_EN
        gain_EN = gain_EN - quote_fees(env, record)
        assert ((record.made_EN - gain_EN) <= 1e-9 * scale_EN).all()  # but for the carry of its own shorts
        assert ((gain_EN + record.carry_EN - record.made_EN) <= 1e-9 * scale_EN).all()


def _nothing_else_moves(env: MarketEnv, step: Acted, open_EN: Tensor, close_EN: Tensor) -> None:
    """Where no order fills, the position moves as its inventory does, and costs are the quotes' commission."""
    record, before, bar_E = env.record, step.before, env.record.bar_E
    idle_EN = ~(step.orders.order_EN & torch.from_numpy(env.panel.traded_TN)[bar_E])
    idle_EN = idle_EN & ~torch.from_numpy(settle_TN(env.panel))[bar_E]
    moved_EN = record.value_EN / close_EN - before["book"]["shares_EN"]
    made_EN = record.inventory_EN / close_EN - before["inventory_EN"]
    scale_E1 = before["nav_E"].abs().unsqueeze(1)
    assert ((moved_EN - made_EN).abs() * open_EN <= 1e-9 * scale_E1)[idle_EN].all()
    fee_EN = quote_fees(env, record)
    assert ((record.cost_EN - fee_EN).abs() <= 1e-9 * scale_E1)[idle_EN].all()
    assert (record.cost_EN >= fee_EN * (1 - 1e-9)).all()


def _kept(env: MarketEnv, step: Acted) -> Tensor:
    """The inventory before quotes: what it was, or nothing where a stop, or an asset's silence, closed it."""
    assert step.orders.quoting is not None
    bar_E, panel = env.record.bar_E, env.panel
    fill_EN = step.orders.order_EN & torch.from_numpy(panel.traded_TN)[bar_E]
    kept_EN = torch.where(fill_EN, step.orders.quoting.kept_EN, step.before["inventory_EN"])
    return torch.where(torch.from_numpy(settle_TN(panel))[bar_E], 0.0, kept_EN)


def _volatility_TN(panel: Panel) -> Tensor:
    """By its definition: of the last 20 log returns of an asset's own bars."""
    found = np.zeros_like(panel.close_TN)
    for n in range(len(panel.symbols)):
        own = np.flatnonzero(panel.traded_TN[:, n])
        deviation = pd.Series(np.log(panel.close_TN[own, n])).diff().rolling(20, min_periods=2).std().fillna(0.0)
        found[:, n] = pd.Series(deviation.to_numpy(), index=own).reindex(range(len(found))).ffill().fillna(0.0)
    return torch.from_numpy(found)


def _distances(env: MarketEnv, actions: dict[str, Tensor]) -> Tensor:
    distance_EN2 = torch.full((env.num_envs, len(env.panel.symbols), 2), torch.inf, dtype=torch.float64)
    for name, trader in (env.params.traders or {}).items():
        if trader.quoting is not None:
            asset_A = [env.panel.symbols.index(agent.split("/")[1]) for agent in env.groups[name].agent_ids]
            distance_EN2[:, asset_A] = (actions[name].double() + 1) / 2 * trader.quoting.width
    return distance_EN2


def a_stop_holds_nothing(make: Make, seed: int) -> None:
    """7. Once the value at a close is too far below its peak since the stop was armed, all targets are 0 for a while.

    Reckoned anew from the values of the portfolio. Otherwise what a signal of 1 holds is at most scale x its sleeve.
    """
    env = world(make, seed, risk={"max_position": 2, "max_class": 2, "max_gross": 2})
    manager = env.params.risk_manager
    if manager is None:
        return
    copies = range(env.num_envs)
    peak, rest, chosen = [env.params.capital] * env.num_envs, [0] * env.num_envs, [(1.0, 0.0)] * env.num_envs
    for step in acted(env, seed):
        for e in copies:
            value = float(step.before["nav_E"][e])
            if int(step.before["step_E"][e]) % manager.every == 0:
                scale, part = ((step.actions[RISK][e, 0].double() + 1) / 2).tolist()
                chosen[e] = scale, manager.min_stop + part * (manager.max_stop - manager.min_stop)
            if rest[e]:
                rest[e] -= 1
                peak[e] = value
            else:
                peak[e] = max(peak[e], value)
                rest[e] = manager.rest if 1 - value / peak[e] > chosen[e][1] + 1e-12 else 0
            target_N, full_N = step.orders.target_EN[e], step.orders.full_EN[e]
            if rest[e]:
                assert (target_N[step.orders.order_EN[e]] == 0).all()
                assert (full_N == 0).all()
            else:
                expected_N = chosen[e][0] * step.orders.sleeve_EN[e]
                assert torch.allclose(full_N, expected_N, rtol=1e-9, atol=0)
            if bool(step.done_E[e]):
                peak[e], rest[e] = env.params.capital, 0
