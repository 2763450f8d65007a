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
