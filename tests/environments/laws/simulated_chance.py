"""What is random in a simulated market, and what is symmetric: fills of quotes, surprises, mirrored paths."""

from __future__ import annotations

import contextlib
import math
from collections.abc import Iterator
from typing import Any
from unittest import mock

import numpy as np
import torch
from torch import Tensor

from environments.base import ArrayEnv
from environments.market import simulation, world
from environments.random import normal, uniform
from tests.environments.laws import simulations
from tests.environments.laws.simulations import PROCESSES, WIDE, market, played
from tests.environments.markets import FREE, random_actions

SURE = 3.29  # standard deviations: a 99.9% interval
BY_VALUE = ("diversification", "exploration", "market_impact")  # terms by the value of a position, not its profit


def _making(seed: int) -> dict[str, Any]:
    """Quotes on one or two assets without limits in reach."""
    rng = np.random.default_rng([seed, 6])
    trader = {"asset_class": "stocks", "action": "quotes", "size": 1e6, "paid": "portfolio"}
    params = {"assets": int(rng.integers(1, 3)), "sigma": float(rng.uniform(0.5, 3))}
    return {
        "data": {
            "simulation": {
                "classes": {"stocks": {"class": PROCESSES["brownian"], "params": params}},
                "bars_per_year": 200.0,
            }
        },
        "horizon": 40,
        "capital": 1e12,
        "sizing": "shares",
        "allocator": None,
        "traders": {"stocks": trader},
        "limit_orders": {
            "rate": float(rng.uniform(50, 400)),
            "decay": float(rng.uniform(0.3, 1)),
            "width": float(rng.uniform(0.5, 2)),
            "units": float(rng.choice([1, 5])),
        },
        "costs": {"stocks": FREE},
        "risk": WIDE,
    }


def quotes_fill_as_often_as_they_should(seed: int) -> None:
    """With min(1, rate exp(-decay distance) dt), bids and asks apart, whatever prices do before and after."""
    given = _making(seed)
    env = market(given, num_envs=500)
    env.reset(seed=seed)
    orders, bars = env.params.limit_orders, int(given["horizon"]) - 1
    rng = np.random.default_rng([seed, 7])
    action_2 = torch.from_numpy(rng.uniform(-1, 1, 2).astype(np.float32))
    distance_2 = (action_2.double() + 1) / 2 * orders.width
    chance_2 = (
        orders.rate * torch.exp(-orders.decay * distance_2) / given["data"]["simulation"]["bars_per_year"]
    ).clamp(max=1)
    filled, moves = [], []
    for _ in range(bars):
        before = simulations.holding(env)
        agents = len(env.groups["stocks"].agent_ids)
        env.step({"stocks": action_2.expand(env.num_envs, agents, 2)})
        after = simulations.holding(env)
        filled.append(_fills(env, after.shares_EN - before.shares_EN, before.price_EN))
        moves.append(after.price_EN - before.price_EN)
    filled_TEN2, move_TEN = torch.stack(filled).double(), torch.stack(moves)
    _assert_frequent(filled_TEN2, chance_2)
    _assert_independent(filled_TEN2, move_TEN, chance_2)


def _fills(env: Any, change_EN: Tensor, price_EN: Tensor) -> Tensor:
    """Whether the bid and the ask of each asset were hit, from what was traded and what is held: bool (E, N, 2)."""
    units = env.params.limit_orders.units
    hits_EN, net_EN = (torch.round(x / units) for x in (env.record.traded_EN / price_EN.abs(), change_EN))
    return torch.stack([(hits_EN + net_EN) / 2, (hits_EN - net_EN) / 2], dim=-1)


def _assert_frequent(filled_TEN2: Tensor, chance_2: Tensor) -> None:
    assert ((filled_TEN2 == 0) | (filled_TEN2 == 1)).all()
    count = filled_TEN2[..., 0].numel()
    deviation_2 = (chance_2 * (1 - chance_2) / count).sqrt()
    assert ((filled_TEN2.mean((0, 1, 2)) - chance_2).abs() <= SURE * deviation_2 + 1e-12).all()


def _assert_independent(filled_TEN2: Tensor, move_TEN: Tensor, chance_2: Tensor) -> None:
    """Of the other side, of what the price does in the bar, and in the bars around it."""
    bid_TEN, ask_TEN = ((filled_TEN2 - chance_2) / (chance_2 * (1 - chance_2)).clamp(min=1e-9).sqrt()).unbind(-1)
    move_TEN = move_TEN / move_TEN.std()
    columns = [bid_TEN, ask_TEN, move_TEN]
    pairs = [(bid_TEN, ask_TEN)]
    for lag in (1, 2, 3):
        pairs += [(one[lag:], other[:-lag]) for one in columns for other in columns]
    pairs += [(side_TEN, move_TEN) for side_TEN in (bid_TEN, ask_TEN)]
    for one, other in pairs:
        assert abs(float((one * other).mean())) <= 4.5 / math.sqrt(one.numel()) * float(one.std() * other.std()) + 1e-9


def an_expected_reward_has_the_same_mean(seed: int) -> None:
    """Over many copies on the same random numbers, and it is the less noisy of the two where anything is held."""
    rng = np.random.default_rng([seed, 8])
    given = {
        "data": {
            "simulation": {"classes": {"stocks": simulations.process(rng, 2, geometric=bool(rng.random() < 0.5))}}
        },
        "horizon": 3,
        "sizing": "shares",
        "allocator": None,
        "traders": {"stocks": {"asset_class": "stocks", "action": "continuous", "size": 10, "paid": "portfolio"}},
        "risk": {**WIDE, "shorting": []},
    }
    told = []
    for expected in (False, True):
        env = market({**given, "reward": {"unit": "money", "expected": expected, "scale": 1}}, num_envs=2000)
        steps = played(env, seed, steps=3)
        told.append(sum(step.transition.reward["stocks"][:, 0].double() for step in steps))
    real_E, expected_E = told
    difference_E = real_E - expected_E
    assert abs(float(difference_E.mean())) <= 4 * float(difference_E.std()) / math.sqrt(len(difference_E))
    assert float(difference_E.std()) > 0


def a_mirrored_market_pays_the_same(seed: int) -> None:
    """Prices mirrored about their start, all positions and orders turned round: the same profits, bar by bar."""
    given = _symmetric(seed)
    env, mirror = market(given), market(_turned(given))
    rng = np.random.default_rng([seed, 9])
    steps, price_EN = 3 * int(given["horizon"]), None
    env.reset(seed=seed)
    with _mirrored_draws():
        mirror.reset(seed=seed)
    for i in range(steps):
        actions = random_actions(env, int(rng.integers(2**31)))
        one = env.step(actions)
        with _mirrored_draws():
            other = mirror.step(_turned_actions(env, actions))
        assert torch.allclose(env.record.nav_E, mirror.record.nav_E, rtol=1e-11), i
        assert torch.allclose(env.record.cost_EN, mirror.record.cost_EN, rtol=1e-9, atol=1e-9)
        for name, reward_EA in one.reward.items():
            assert torch.allclose(reward_EA, other.reward[name], rtol=1e-4, atol=1e-4), name
        there, here = (simulations.holding(market) for market in (mirror, env))
        assert torch.allclose(there.shares_EN, -here.shares_EN, rtol=1e-9, atol=1e-9)
        price_EN = torch.full_like(here.price_EN, 100.0) * 2 - here.price_EN
        assert torch.allclose(there.price_EN, price_EN, rtol=1e-11)


def _symmetric(seed: int) -> dict[str, Any]:
    """A random market in which long and short differ in nothing: no carry, no interest, no cost or reward by value."""
    given = simulations.params(seed)
    rng = np.random.default_rng([seed, 10])
    classes = given["data"]["simulation"]["classes"]
    for name, spec in classes.items():
        width = len(spec["params"].get("covariance", [0] * spec["params"].get("assets", 1)))
        classes[name] = simulations.process(rng, width, geometric=False)
    traders = {
        name: {**trader, "asset_class": trader["asset_class"], "size": float(int(5 + 10 * rng.random()))}
        for name, trader in given["traders"].items()
        if name in classes
    }
    if given["sizing"] == "weights":
        given |= {"sizing": "shares", "allocator": None, "coordination": None}
    terms = {name: entry for name, entry in given["reward"]["terms"].items() if name not in BY_VALUE}
    if given["fusion"]["kind"] == "neural":
        given |= {"fusion": {"kind": "mean"}}  # a fuser's action has no mirror image
    return given | {
        "traders": traders,
        "reward": {**given["reward"], "terms": terms},
        "costs": {name: {**FREE, "per_share": 0.1} for name in classes},
        "cash_rate": 0.0,
        "risk": {**WIDE, "shorting": None},
    }


def _turned(given: dict[str, Any]) -> dict[str, Any]:
    """Drifts and starts the other way round."""
    simulation = given["data"]["simulation"]
    classes = {name: {**spec, "params": _turned_drift(spec["params"])} for name, spec in simulation["classes"].items()}
    traders = {name: {**trader, "start": -trader["start"]} for name, trader in given["traders"].items()}
    return {**given, "data": {"simulation": {**simulation, "classes": classes}}, "traders": traders}


def _turned_drift(params: dict[str, Any]) -> dict[str, Any]:
    return {**params, "mu": [-mu for mu in params["mu"]]} if "mu" in params else params


def _turned_actions(env: ArrayEnv, actions: dict[str, Tensor]) -> dict[str, Tensor]:
    turned = {}
    for trader in env._world.traders:
        action = actions[trader.name]
        match trader.kind:
            case "trade":
                turned[trader.name] = 2 - action
            case "levels":
                turned[trader.name] = trader.params.levels - 1 - action
            case "quotes":
                turned[trader.name] = action.flip(-1)
            case _:
                turned[trader.name] = -action
    return turned


@contextlib.contextmanager
def _mirrored_draws() -> Iterator[None]:
    """Normal numbers turned round, and the luck of bids and asks exchanged."""
    with (
        mock.patch.object(simulation, "normal", lambda *counters: -normal(*counters)),
        mock.patch.object(world, "uniform", lambda *counters: uniform(*counters).flip(-1)),
    ):
        yield
