"""Avellaneda and Stoikov's problem as a market: a bid and an ask, hit at random, and an inventory to be kept small."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor

from environments.market.config import MarketParams
from environments.market.env import MarketEnv
from environments.market.planted import market_making
from environments.market.planted.base import (
    CAPITAL,
    PlantedMarket,
    Reader,
    Reference,
    boxed,
    free_of_charge,
    one_trader,
    simulated,
)
from environments.market.planted.market_making import Problem, Quotes

STANDARD = Problem()


@dataclass(frozen=True)
class MarketMaking(PlantedMarket):
    """The score is the profit of an episode less the penalties for inventory, in bars: see ``Problem``.

    Attributes:
        problem: What is quoted.
        price: At the start.
        sigma: Of the price, per square root of a unit of time.
        scale: Of the rewards.
    """

    name = "market-making"
    unit = "money per episode"
    base = "constant"

    problem: Problem = STANDARD
    price: float = 100.0
    sigma: float = 2.0
    scale: float = 1.0

    @cached_property
    def best(self) -> tuple[Quotes, float]:
        """The best quotes of each bar and inventory, and their value: dynamic programming over the same bars."""
        return market_making.solve(self.problem)

    @property
    def optimum(self) -> float:
        """See ``best``."""
        return self.best[1]

    def params(self, *, expected: bool = True) -> MarketParams:
        """See ``PlantedMarket``. The running penalty phi q^2 dt is half an aversion times sigma^2 q^2 dt."""
        problem = self.problem
        return one_trader(
            {
                "action": "quotes",
                "size": problem.limit,
                "risk_aversion": 2 * problem.running / self.sigma**2,
                "observe": ["signal_held", "time_left"],
            },
            data=simulated(
                "brownian:Brownian", 1 / problem.bar, price=self.price, mu=0.0, sigma=self.sigma, geometric=False
            ),
            horizon=problem.bars,
            finite=True,
            sizing="shares",
            capital=CAPITAL,
            costs=free_of_charge(),
            limit_orders={"rate": problem.rate, "decay": problem.decay, "width": problem.width},
            reward={"unit": "money", "expected": expected, "final_position": problem.final, "scale": self.scale},
        )

    def references(self, env: MarketEnv) -> Mapping[str, Reference]:
        """See ``PlantedMarket``: the best in bars, the best of continuous time, and 1/k on both sides."""
        constant = market_making.constant_quotes(self.problem, 1 / self.problem.decay)
        return {
            "optimal": self.quoting(env, self.best[0]),
            "continuous": self.quoting(env, market_making.continuous_quotes(self.problem)),
            "constant": self.quoting(env, constant),
        }

    def quoting(self, env: MarketEnv, quotes: Quotes) -> Reference:
        """Quotes of each bar and inventory, as an agent."""
        problem, read = self.problem, Reader.of(env)
        distance_TQ2 = torch.stack([torch.tensor(side.copy()) for side in (quotes.bid_TQ, quotes.ask_TQ)], dim=-1)
        action_TQ2 = (distance_TQ2 * 2 / problem.width - 1).to(env.device)

        def act(obs: Mapping[str, Tensor]) -> dict[str, Tensor]:
            bar_E = problem.bars - (read(obs, "time_left")[:, 0] * problem.bars).round().long()
            held_E = (read(obs, "signal_held")[:, 0] * problem.limit).round().long()
            return boxed(action_TQ2[bar_E, held_E + problem.limit])

        return act

    def score(self, reward_TE: Tensor) -> Tensor:
        """Profit less penalties: the sum of the rewards."""
        return reward_TE.sum(0) / self.scale
