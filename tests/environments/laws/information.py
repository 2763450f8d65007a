"""Laws 4, 5 and 10: what is known when, and what may act on an agent."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from environments.market.env import MarketEnv
from environments.market.sight import observe
from tests.environments.laws.worlds import COPIES, Make, frame, free, panel_of, params, prices, world
from tests.environments.markets import random_actions

MONEY = ("nav_E", "value_EN", "traded_EN", "cost_EN", "carry_EN", "pnl_EN", "interest_E", "captured_EN")
MONEY += ("inventory_EN", "made_EN", "quoted_EN")
ENDS = ("done", "obs of ", "truncated of ", "terminated of ")
"""What tells of an episode's end, or of the episode after it."""


def what_comes_later_changes_nothing_before(make: Make, seed: int) -> None:
    """4. Change all data after a random bar, and drop some: nothing observed, done or earned up to it changes."""
    rng = np.random.default_rng(seed)
    table = frame(seed)
    days = np.sort(table["date"].unique())
    cut = pd.Timestamp(days[int(rng.integers(len(days) // 3, len(days) - 1))])
    later = (table["date"] > cut).to_numpy()
    factor = np.where(later, rng.lognormal(0, 0.5, len(table)), 1.0)
    other = table.assign(**{name: table[name] * factor for name in table.columns if table[name].dtype == float})
    known = int((days <= cut.to_datetime64()).sum()) - 1
    one, two = (_told(make, seed, told, known) for told in (table, other[~later | (rng.random(len(table)) < 0.8)]))
    assert_same(one, two)


def a_fill_is_at_the_next_open(make: Make, seed: int) -> None:
    """5. At zero cost an order fills at the open of its asset's next own bar: after the decision, at no price seen."""
    rng = np.random.default_rng(seed)
    panel = panel_of(frame(seed))
    given = {"horizon": None, "warmup": 1, "costs": free(panel), "cash_rate": 0, "risk": {}}
    env = make(panel, COPIES, **params(seed, panel.classes) | given)
    env.reset()
    assets = len(panel.symbols)
    target_EN = torch.from_numpy(rng.uniform(-0.9, 0.9, (COPIES, assets)) / assets)
    shares_EN, none_EN = torch.zeros_like(target_EN), torch.zeros(COPIES, assets, dtype=torch.bool)
    first = 1 + int(rng.integers(0, 15))
    for _ in range(1, first):
        env.trade(target_EN, none_EN)
    waiting_EN = env.listed_EN()
    nav_E1 = torch.full((COPIES, 1), env.params.capital, dtype=torch.float64)
    for bar in range(first, first + 10):
        last_EN, open_EN, close_EN = prices(panel, env.bar_E + 1)
        nav_E1 = nav_E1 + (shares_EN * (open_EN - last_EN)).sum(1, keepdim=True)
        record = env.trade(target_EN, waiting_EN if bar == first else none_EN)
        fills_EN = waiting_EN & torch.from_numpy(panel.traded_TN[bar])
        shares_EN = torch.where(fills_EN, target_EN * nav_E1 / open_EN, shares_EN)
        assert torch.allclose(record.value_EN, shares_EN * close_EN, rtol=1e-9)
        nav_E1, waiting_EN = record.nav_E.unsqueeze(1), waiting_EN & ~fills_EN


def a_fill_knows_nothing_of_its_bar(make: Make, seed: int) -> None:
    """5. Change high, low, close and volume of a bar: what is traded at its open, and at what cost, is the same."""
    rng = np.random.default_rng(seed)
    table = frame(seed)
    days = np.sort(table["date"].unique())
    cut = int(rng.integers(len(days) // 3, len(days)))
    at = (table["date"] == days[cut]).to_numpy()
    factor = np.where(at, rng.lognormal(0, 0.5, len(table)), 1.0)
    other = table.assign(close=table["close"] * factor, volume=table["volume"] * factor)
    other["high"], other["low"] = (getattr(other[["open", "close"]], side)(axis=1) for side in ("max", "min"))
    one, two = (_told(make, seed, told, cut)[-1] for told in (table, other))
    for name in ("traded_EN", "cost_EN", "carry_EN", "interest_E"):
        assert torch.equal(one[name], two[name]), name


def _told(make: Make, seed: int, table: pd.DataFrame, steps: int) -> list[dict[str, Tensor]]:
    """Everything seen of one long episode on the table's prices."""
    panel = panel_of(table)
    env = make(panel, COPIES, **params(seed, panel.classes) | {"horizon": None})
    return [env.reset(seed=1), *(outcome(env, random_actions(env, seed + i)) for i in range(steps))]


def the_state_decides(make: Make, seed: int) -> None:
    """10. What happens is a function of state, action and data: another object, with another past, goes the same way.

    The other one has played another game, draws from another seed and is in another episode: all it shares is the
    state. Neither its past nor its number of calls may act, before or after an episode's end but for where it begins.
    """
    env, other = (world(make, seed, horizon=None) for _ in range(2))
    _wander(env, seed, 12)
    _wander(other, seed + 99, 7)
    state = env.get_state()
    state["state"]["episode_E"] = state["state"]["episode_E"] + 1000
    other.set_state({**state, "seed": seed + 5})
    for i in range(8):
        actions = random_actions(env, seed - i)
        assert_same([outcome(env, actions)], [outcome(other, actions)])


def nothing_hidden_acts(make: Make, seed: int) -> None:
    """10. Copies that observe the same get the same, although all that they do not observe is another.

    Not observed, and harmless: how rich the portfolio is (short of ruin), the number and the beginning of the episode,
    when it will be cut off (a time limit, which learners bootstrap over).

    Not observed, and so left out by configuration: under square-root impact wealth acts (who is large pays more); where
    several traders share a class their scores decide who is heard; with a drawdown penalty each sleeve's own peak acts,
    of which only the portfolio's is shown. And left alone here: the sleeve a position was last sized on, which acts
    until its asset's next bar, and how far a position is beyond its sleeve (what is held is shown clipped to a signal's
    range). All of these are of the State: see ``the_state_decides``.
    """
    rng = np.random.default_rng(seed)
    panel = panel_of(frame(seed))
    given = params(seed, panel.classes)
    given["traders"] = {name: given["traders"][name] for name in panel.classes}
    given["fusion"] = {}
    given["costs"] = {name: {"spread_bps": 30, "commission_bps": 9, "impact": 0} for name in panel.classes}
    given |= {"horizon": None, "reward": {**given["reward"], "drawdown": 0}}
    env, other = (make(panel, COPIES, **given) for _ in range(2))
    _wander(env, seed, int(rng.integers(1, 20)))
    every = env.params.budgets_every
    other.reset(seed=seed + 1)
    other.set_state(_with_another_past(env.get_state(), every, rng))
    for i in range(6):
        assert_same([observe(env._world, env._running())], [observe(other._world, other._running())])
        actions = random_actions(env, seed + i)
        one, two = (_in_shares(outcome(world, actions)) for world in (env, other))
        if (one["done"] | two["done"]).any():  # one at its time limit or ruined, the other not: nothing more is shared
            assert_same([_but_ends(one)], [_but_ends(two)])
            return
        assert_same([one], [two])


def _but_ends(seen: dict[str, Tensor]) -> dict[str, Tensor]:
    return {name: value for name, value in seen.items() if not name.startswith(ENDS)}


def _with_another_past(saved: Mapping[str, Any], every: int, rng: np.random.Generator) -> dict[str, Any]:
    """The same observation: richer by a power of 2 (exact in floating point), later in the run, with other scores."""
    state, book = saved["state"], saved["state"]["book"]
    richer = 2.0 ** int(rng.integers(1, 6))
    changes = {
        "book": book | {name: book[name] * richer for name in ("cash_E", "shares_EN", "value_EN")},
        "nav_E": state["nav_E"] * richer,
        "inventory_EN": state["inventory_EN"] * richer,
        "step_E": state["step_E"] + every * 17,
        "episode_E": state["episode_E"] + 1000,
        "end_E": torch.maximum(state["end_E"] - int(rng.integers(0, 30)), state["bar_E"] + 1),
        "score_EJ": state["score_EJ"] + torch.from_numpy(rng.normal(size=tuple(state["score_EJ"].shape))),
        "drawdown_EM": torch.cat([state["drawdown_EM"][:, :-1] + 1, state["drawdown_EM"][:, -1:]], dim=1),
    }
    return {"seed": saved["seed"] + 1, "state": {**state, **changes}}


def _in_shares(seen: dict[str, Tensor]) -> dict[str, Tensor]:
    """Money as shares of the portfolio's value."""
    nav_E = seen["nav_E"]
    money = {name: value for name, value in seen.items() if name in MONEY}
    return {**seen, **{name: value / nav_E.view(-1, *[1] * (value.dim() - 1)) for name, value in money.items()}}


def _wander(env: MarketEnv, seed: int, steps: int) -> None:
    env.reset(seed=seed)
    for i in range(steps):
        env.step(random_actions(env, seed + 31 * i))


def outcome(env: MarketEnv, actions: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Everything a step shows: the transition and the record, flat."""
    transition = env.step(actions)
    parts = {name: getattr(transition, name) for name in ("obs", "final_obs", "reward", "terminated", "truncated")}
    flat = {f"{part} of {group}": value for part, columns in parts.items() for group, value in columns.items()}
    return {**flat, "done": transition.done, **vars(env.record)}


def assert_same(ones: list[dict[str, Tensor]], others: list[dict[str, Tensor]]) -> None:
    for step, (one, other) in enumerate(zip(ones, others, strict=True)):
        for name, value in one.items():
            assert torch.equal(value, other[name]), f"{name} differs at step {step}"
