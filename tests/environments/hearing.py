"""A planted market of signals: one trader knows them, two do not."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from pydantic import BaseModel
from torch import Tensor

from environments.base import ArrayEnv, Transition
from environments.market.config import MarketParams
from environments.market.env import MarketEnv
from environments.random import uniform
from tests.environments.markets import FREE

SIGMA = 0.01
EDGE = 0.4  # standard deviation of the expected return, in SIGMA
DECAY = 0.1
TRADERS = ("informed", "noise1", "noise2")


def params(fusion: Mapping[str, Any], **changes: Any) -> dict[str, Any]:
    """Two assets, each with a signal of its own, at no cost; the traders share their class."""
    process = {
        "loading": [[EDGE * SIGMA, 0.0], [0.0, EDGE * SIGMA]],
        "decay": DECAY,
        "innovation": [1 - (1 - DECAY) ** 2] * 2,
        "covariance": SIGMA**2,
        "geometric": True,
    }
    kind = {"class": "environments.market.processes.signals:SignalDriven", "params": process}
    return {
        "data": {"simulation": {"classes": {"stocks": kind}}},
        "horizon": 252,
        "allocator": None,
        "traders": {name: {"asset_class": "stocks", "action": "continuous"} for name in TRADERS},
        "fusion": fusion,
        "costs": {"stocks": FREE},
        "risk": {"max_position": 1, "max_class": 1, "max_gross": 1},
        **changes,
    }


def said(env: MarketEnv, *, shouting: bool = False) -> dict[str, Tensor]:
    """The informed trader says the sign of each signal; the others anything in [-1, 1], or 1 or -1 if they shout."""
    state = env.get_state()
    signal_EA, bar_E, episode_E = (state["state"][name] for name in ("hidden_EK", "bar_E", "episode_E"))
    copy_E11, asset_A1 = torch.arange(len(bar_E)).view(-1, 1, 1), torch.arange(signal_EA.shape[1]).unsqueeze(1)
    counters = (copy_E11, episode_E.view(-1, 1, 1), bar_E.view(-1, 1, 1), asset_A1)
    noise_EA2 = 2 * uniform(1234 + state["seed"], *counters, torch.arange(2)) - 1
    if shouting:
        noise_EA2 = noise_EA2.sign()
    columns = (signal_EA.sign(), *noise_EA2.unbind(2))
    return {name: column_EA.float().unsqueeze(2) for name, column_EA in zip(TRADERS, columns, strict=True)}


@dataclass(frozen=True)
class Played:
    """What each copy came to.

    Attributes:
        return_TE: Log returns.
        voice_TJ: How much each trader was heard, mean over copies and assets.
    """

    return_TE: Tensor
    voice_TJ: Tensor

    @property
    def growth_E(self) -> Tensor:
        return self.return_TE.mean(0)

    @property
    def sharpe_E(self) -> Tensor:
        """Per bar."""
        return self.return_TE.mean(0) / self.return_TE.std(0)


def play(fusion: Mapping[str, Any], *, copies: int = 256, bars: int = 250, shouting: bool = False) -> Played:
    """Lets the traders speak for a part of an episode."""
    env = MarketEnv(MarketParams.model_validate(params(fusion)), num_envs=copies)
    env.reset(seed=3)
    nav_E, returns, voices = torch.full((copies,), env.params.capital, dtype=torch.float64), [], []
    for _ in range(bars):
        env.step(said(env, shouting=shouting))
        returns.append(torch.log(env.record.nav_E / nav_E))
        voices.append(torch.stack([voice_E.mean() for voice_E in env.voices().values()]))
        nav_E = env.record.nav_E
    return Played(torch.stack(returns), torch.stack(voices))


class FuserMarket(ArrayEnv):
    """The market with scripted traders: what learns is the fuser alone."""

    Params: ClassVar[type[BaseModel]] = MarketParams

    def __init__(self, params: MarketParams, *, num_envs: int, device: str = "cpu") -> None:
        self.market = MarketEnv(params, num_envs=num_envs, device=device)
        self.num_envs, self.device = num_envs, device
        self.groups = {name: group for name, group in self.market.groups.items() if name not in TRADERS}

    def reset(self, *, seed: int | None = None) -> dict[str, Tensor]:
        return self._own(self.market.reset(seed=seed))

    def step(self, actions: Mapping[str, Tensor]) -> Transition:
        found = self.market.step({**said(self.market), **actions})
        fields = ("obs", "final_obs", "reward", "terminated", "truncated", "active")
        return Transition(done=found.done, **{name: self._own(getattr(found, name)) for name in fields})

    def get_state(self) -> dict[str, Any]:
        return self.market.get_state()

    def set_state(self, state: Mapping[str, Any]) -> None:
        self.market.set_state(state)

    def _own(self, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
        return {name: tensor for name, tensor in tensors.items() if name in self.groups}
