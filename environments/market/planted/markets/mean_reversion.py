"""A spread that reverts to its mean as a market for discrete actions, with a cost of trading."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor

from environments.market.config import MarketParams
from environments.market.env import MarketEnv
from environments.market.planted import mean_reversion
from environments.market.planted.base import (
    CAPITAL,
    GROUP,
    PlantedMarket,
    Reader,
    Reference,
    free_of_charge,
    one_trader,
    simulated,
)
from environments.market.planted.mean_reversion import Policy, Problem


@dataclass(frozen=True)
class MeanReversion(PlantedMarket):
    """The score is the gain: the average per bar once the position has forgotten how it began.

    Attributes:
        phi: Of the spread.
        innovation: Of the spread.
        cost: Per unit of position.
        levels: Positions, evenly from -1 (0 without ``shorting``) to 1.
        shorting: Whether the position may be below 0.
        action: ``levels``: any position may be chosen; ``trade``: one step down, none, or one up.
        bars: Of an episode that count.
        settling: Bars before those.
        scale: Of the rewards.
    """

    name = "mean-reversion"
    unit = "gain per bar"
    base = "idle"

    phi: float = 0.95
    innovation: float = 1.0
    cost: float = 1.0
    levels: int = 3
    shorting: bool = True
    action: Literal["levels", "trade"] = "levels"
    bars: int = 300
    settling: int = 200
    scale: float = 1.0

    @cached_property
    def positions_P(self) -> tuple[float, ...]:
        """All positions, ascending."""
        return tuple(np.linspace(-1.0 if self.shorting else 0.0, 1.0, self.levels).tolist())

    @cached_property
    def problem(self) -> Problem:
        """The mathematics."""
        notch = np.inf if self.action == "levels" else 1.5 * self._step  # one step, whatever the rounding
        return Problem(self.phi, self.innovation, self.cost, self.positions_P, notch)

    @cached_property
    def best(self) -> tuple[Policy, float]:
        """The best policy and its gain."""
        return mean_reversion.solve(self.problem)

    @property
    def optimum(self) -> float:
        """By policy iteration."""
        return self.best[1]

    @property
    def _step(self) -> float:
        return self.positions_P[1] - self.positions_P[0]

    def params(self, *, expected: bool = True) -> MarketParams:
        """See ``PlantedMarket``."""
        steps: dict[str, Any] = {"levels": self.levels} if self.action == "levels" else {"notch": self._step}
        return one_trader(
            {"action": self.action, "observe": ["deviation", "signal_held"], **steps},
            data=simulated("autoregressive:AutoRegressive", 1.0, phi=self.phi, innovation=self.innovation),
            horizon=self.settling + self.bars,
            sizing="shares",
            capital=CAPITAL,
            risk={} if self.shorting else {"shorting": ()},
            costs=free_of_charge(per_share=self.cost),
            reward={"unit": "money", "expected": expected, "scale": self.scale},
        )

    def references(self, env: MarketEnv) -> Mapping[str, Reference]:
        """See ``PlantedMarket``: the best, always in the market, and never, which is best for one bar alone."""
        never = mean_reversion.switching(self.problem, np.inf)
        always = mean_reversion.switching(self.problem, 0.0)
        return {
            "optimal": self.choosing(env, self.best[0]),
            "always": self.choosing(env, always),
            "idle": self.choosing(env, never),
        }

    def choosing(self, env: MarketEnv, policy: Policy) -> Reference:
        """A policy of the mathematics, as an agent."""
        read = Reader.of(env)
        lowest, step = self.positions_P[0], self._step

        def act(obs: Mapping[str, Tensor]) -> dict[str, Tensor]:
            spread_E = read(obs, "deviation")[:, 0].cpu().numpy() * self.problem.deviation
            held_E = ((read(obs, "signal_held")[:, 0] - lowest) / step).round().long()
            choice_EP = torch.as_tensor(policy.choose(spread_E), device=env.device)
            chosen_E = choice_EP.gather(1, held_E.unsqueeze(1))[:, 0]
            return {GROUP: (chosen_E if self.action == "levels" else chosen_E - held_E + 1).unsqueeze(1)}

        return act

    def score(self, reward_TE: Tensor) -> Tensor:
        """The mean of the rewards that count."""
        return reward_TE[self.settling :].mean(0) / self.scale
