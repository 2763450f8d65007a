"""Small markets for tests: made by hand, or drawn with gaps, late starts, delistings and gaps at the open."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any
from unittest import mock

import gymnasium as gym
import numpy as np
import pandas as pd
import torch
from torch import Tensor

from environments.base import ArrayEnv
from environments.market import roster
from environments.market.config import MarketParams
from environments.market.env import MarketEnv
from environments.market.panel import Panel, panel_from_frame

FREE = {"spread_bps": 0, "commission_bps": 0, "impact": 0, "borrow_rate": 0}
CLASSES = ("stocks", "crypto", "currencies", "timber")


def market(panel: Panel, num_envs: int = 1, **params: Any) -> MarketEnv:
    """A market on a panel that is at hand."""
    with mock.patch.object(roster, "prices", return_value=panel):
        return MarketEnv(MarketParams.model_validate({"data": {"synthetic": {}}, **params}), num_envs=num_envs)


def bars(symbol: str, asset_class: str, dates: pd.DatetimeIndex, open_: Any, close: Any, volume: Any) -> pd.DataFrame:
    """One asset's rows; high and low are the extremes of open and close."""
    high, low = np.maximum(open_, close), np.minimum(open_, close)
    return pd.DataFrame(
        {
            "date": dates,
            "symbol": symbol,
            "asset_class": asset_class,
            "open": open_,
            "high": high,
            "low": low,
            "close": close,
            "volume": volume,
        }
    )


def by_hand(prices: Mapping[str, tuple[list[float], list[float]]], start: str = "2021-03-01") -> Panel:
    """``class/symbol`` -> opens and closes of daily bars, without volumes."""
    frames = []
    for name, (open_, close) in prices.items():
        asset_class, symbol = name.split("/")
        dates = pd.date_range(start, periods=len(close))
        frames.append(bars(symbol, asset_class, dates, np.array(open_), np.array(close), np.zeros(len(close))))
    return panel_from_frame(pd.concat(frames), origin="by hand")


def random_frame(seed: int) -> pd.DataFrame:
    """Two to seven assets over 45 to 60 bars: wild prices, ragged calendars, some late, some gone before the end."""
    rng = np.random.default_rng(seed)
    days = pd.date_range("2020-01-01", periods=int(rng.integers(45, 60)), freq=str(rng.choice(["D", "B", "36h"])))
    classes = rng.choice(CLASSES, size=int(rng.integers(1, len(CLASSES) + 1)), replace=False)
    frames = []
    for asset_class in classes:
        for number in range(int(rng.integers(1, 3))):
            first = int(rng.integers(0, 15)) if rng.random() < 0.4 else 0
            last = int(rng.integers(20, 30)) if frames and rng.random() < 0.2 else len(days)
            at = np.arange(len(days))
            kept = (at >= first) & (at < last) & (rng.random(len(days)) < rng.choice([0.6, 0.9, 1.0]))
            kept[first] = True
            count = int(kept.sum())
            scale = float(rng.choice([0.005, 0.03, 0.08]))
            gap, move = scale * rng.standard_normal((2, count))
            path = np.cumsum(gap + move)
            level = float(np.exp(rng.uniform(-3, 8)))
            volume = rng.lognormal(14, 2, count) / level * rng.choice([0.0, 1.0])
            frames.append(
                bars(
                    f"{asset_class[:2].upper()}{number}",
                    str(asset_class),
                    days[kept],
                    level * np.exp(path - move),
                    level * np.exp(path),
                    volume,
                )
            )
    return pd.concat(frames, ignore_index=True)


def random_params(seed: int, classes: tuple[str, ...]) -> dict[str, Any]:
    """A configuration for ``random_frame``: every part of it drawn."""
    rng = np.random.default_rng(seed)
    actions = ["trade", "levels", "continuous"]
    traders = {name: {"asset_class": name, "action": str(rng.choice(actions))} for name in classes}
    if rng.random() < 0.3:
        traders["second"] = {"asset_class": classes[0], "action": str(rng.choice(actions))}
    return {
        "horizon": None if rng.random() < 0.3 else int(rng.integers(5, 15)),
        "warmup": int(rng.integers(1, 8)),
        "capital": float(rng.choice([1e3, 1e6, 1e8])),
        "traders": traders,
        "allocator": None
        if rng.random() < 0.2
        else {"every": int(rng.integers(1, 5)), "sharpness": float(rng.uniform(0.5, 6))},
        "risk": {
            "max_position": float(rng.uniform(0.1, 1.0)),
            "max_class": float(rng.uniform(0.2, 1.5)),
            "max_gross": float(rng.uniform(0.3, 2.0)),
            "shorting": [name for name in classes if rng.random() < 0.7],
        },
        "costs": {
            name: {
                "spread_bps": float(rng.uniform(0, 100)),
                "commission_bps": float(rng.uniform(0, 50)),
                "impact": float(rng.uniform(0, 3)),
                "borrow_rate": float(rng.uniform(0, 0.3)),
            }
            for name in classes
            if rng.random() < 0.8
        },
        "cash_rate": float(rng.uniform(-0.05, 0.1)),
        "reward": {"cost": float(rng.uniform(0, 1)), "drawdown": float(rng.uniform(0, 1))},
    }


def random_market(seed: int, num_envs: int = 3, **params: Any) -> MarketEnv:
    """A random configuration on a random panel."""
    panel = panel_from_frame(random_frame(seed), origin="random")
    return market(panel, num_envs, **{**random_params(seed, panel.classes), **params})


def random_actions(env: ArrayEnv, seed: int, num_envs: int | None = None) -> dict[str, Tensor]:
    """Uniform in each group's action space."""
    generator = torch.Generator().manual_seed(seed)
    actions = {}
    for name, group in env.groups.items():
        shape = (num_envs or env.num_envs, len(group.agent_ids))
        if isinstance(group.action_space, gym.spaces.Discrete):
            actions[name] = torch.randint(int(group.action_space.n), shape, generator=generator)
        else:
            actions[name] = torch.rand((*shape, *group.action_space.shape), generator=generator) * 2 - 1
    return actions
