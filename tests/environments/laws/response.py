"""Laws 3 and 6: what a position earns."""

from __future__ import annotations

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from environments.market.env import MarketEnv
from environments.market.panel import Panel
from tests.environments.laws.worlds import COPIES, Make, frame, free, panel_of, params, prices
from tests.environments.markets import random_actions

ENTRY_BAR = 20  # by now every asset of ``frame`` has begun


def a_short_mirrors_a_long(make: Make, seed: int) -> None:
    """3. At zero cost a short on a path earns what a long earns on its mirror 2 x entry - path; and the reverse.

    Each copy holds another random mixture of longs and shorts, each asset from its own bar on, through gaps and
    delistings; together they stay far from every cap.
    """
    rng = np.random.default_rng(seed)
    paths = _mirrored(frame(seed))
    assets = len(paths[0].symbols)
    target_EN = torch.from_numpy(rng.uniform(-0.5, 0.5, (COPIES, assets)) / assets)
    values = [_held(make, panel, side * target_EN, seed) for side, panel in zip((1, -1), paths, strict=True)]
    assert torch.allclose(values[0], values[1], rtol=1e-11)
    assert (values[0][-1] != values[0][0]).any()


def _mirrored(table: pd.DataFrame) -> tuple[Panel, Panel]:
    """A panel within 1 -+ .45 of each asset's first open after ``ENTRY_BAR``, and its mirror about that price."""
    entry_day = np.sort(table["date"].unique())[ENTRY_BAR]
    columns = ["open", "high", "low", "close"]
    opens = table[table["date"] > entry_day].groupby("symbol")["open"].first()
    entry = table["symbol"].map(opens).fillna(table["open"]).to_numpy()[:, None]
    moved = 0.45 * np.tanh(np.log(table[columns].to_numpy() / entry))
    up, down = (table.copy() for _ in range(2))
    up[columns], down[columns] = entry * (1 + moved), entry * (1 - moved)
    down[["high", "low"]] = down[["low", "high"]].to_numpy()
    return panel_of(up), panel_of(down)


def _held(make: Make, panel: Panel, target_EN: Tensor, seed: int) -> Tensor:
    """Value at each close of what is bought at ``ENTRY_BAR`` and held: (T, E)."""
    given = {"horizon": None, "warmup": 1, "cash_rate": 0, "costs": free(panel), "risk": {}}
    env = make(panel, len(target_EN), **params(seed, panel.classes) | given)
    env.reset()
    order_EN = torch.ones_like(target_EN, dtype=torch.bool)
    steps = range(len(panel.dates_T) - 2)  # the last bar would begin a new episode
    return torch.stack([env.trade(target_EN, order_EN & (bar == ENTRY_BAR)).nav_E for bar in steps])


def an_action_moves_its_own_reward(make: Make, seed: int) -> None:
    """6. At zero cost, copies that differ in one agent's action alone: who holds more of what rises earns more, now.

    Caps are as wide as they can be, so that more of one asset is not less of another.
    """
    panel = panel_of(frame(seed))
    given = {"costs": free(panel), "horizon": None, "fusion": {"temperature": 1.0}}  # nobody's voice is lost
    risk = {"max_position": 2, "max_class": 2, "max_gross": 2, "shorting": None}
    reward = {"profit": 1, "drawdown": float(seed % 2)}
    env = make(panel, COPIES, **params(seed, panel.classes) | given | {"risk": risk, "reward": reward})
    env.reset()
    rng = np.random.default_rng(seed)
    for i in range(25):
        alike = {name: action[:1].expand_as(action).clone() for name, action in random_actions(env, seed + i).items()}
        _one_agent_differs(env, env.get_state(), alike, rng)
        env.step(alike)


def _one_agent_differs(env: MarketEnv, state: dict, alike: dict[str, Tensor], rng: np.random.Generator) -> None:
    """Tries one agent's actions side by side, and goes back to where it was."""
    names = [name for name, trader in env.params.traders.items() if trader.kind not in ("trade", "quotes")]
    if not names:
        return
    name = str(rng.choice(names))
    agent = int(rng.integers(len(env.groups[name].agent_ids)))
    first = env.panel.symbols.index(env.groups[name].agent_ids[0].split("/")[1])
    acts = env.active().get(name, torch.ones(COPIES, agent + 1, dtype=torch.bool))[0, agent]
    column = {**alike, name: alike[name].clone()}
    discrete = column[name].dim() == 2
    levels = torch.tensor([0, 2, 4] if discrete else [-0.9, 0.0, 0.8], dtype=column[name].dtype)
    column[name][:, agent] = levels if discrete else levels.unsqueeze(1)
    reward_E = env.step(column).reward[name][:, agent]
    record, asset = env.record, first + agent
    env.set_state(state)
    _, open_EN, close_EN = prices(env.panel, record.bar_E)
    value_E, rise = record.value_EN[:, asset], float((close_EN / open_EN - 1)[0, asset])
    if acts and env.panel.traded_TN[record.bar_E[0], asset] and record.budget_EK[0, env.panel.class_N[asset]] > 1e-2:
        assert (value_E.diff() > 0).all()
        assert abs(rise) < 1e-3 or (reward_E.diff().sign() == np.sign(rise)).all()
