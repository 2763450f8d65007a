"""Almgren and Chriss's problem as a market: a block to sell in a few trades under impact."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from environments.market.config import MarketParams
from environments.market.env import MarketEnv
from environments.market.planted import almgren_chriss
from environments.market.planted.almgren_chriss import Array, Problem
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

START_PRICE = 50.0  # the problem does not depend on it
PAPER = Problem()


@dataclass(frozen=True)
class AlmgrenChriss(PlantedMarket):
    """The score is minus the cost of a sale, risk included: -U.

    Attributes:
        problem: What is sold.
        scale: Of the rewards, per unit of money.
    """

    name = "almgren-chriss"
    unit = "money, costs below 0"
    base = "equal"

    problem: Problem = PAPER
    scale: float = 1e-6

    @property
    def optimum(self) -> float:
        """Minus the least E + lambda V; Almgren, Chriss (2001), equation (20)."""
        return -almgren_chriss.best_objective(self.problem)

    def params(self, *, expected: bool = True) -> MarketParams:
        """See ``PlantedMarket``. A year is a day here."""
        problem = self.problem
        return one_trader(
            {
                "action": "continuous",
                "size": problem.shares,
                "start": 1.0,
                "risk_aversion": 2 * problem.aversion,
                "observe": ["signal_held", "time_left"],
            },
            data=simulated(
                "brownian:Brownian", 1 / problem.tau, price=START_PRICE, mu=0.0, sigma=problem.sigma, geometric=False
            ),
            horizon=problem.trades,
            finite=True,
            close_out=True,
            sizing="shares",
            capital=CAPITAL,
            risk={"shorting": ()},
            costs=free_of_charge(per_share=problem.fixed),
            linear_impact={"temporary": 2 * problem.temporary / problem.tau, "permanent": problem.permanent},
            reward={"unit": "money", "expected": expected, "scale": self.scale},
        )

    def references(self, env: MarketEnv) -> Mapping[str, Reference]:
        """See ``PlantedMarket``: the best schedule, the block at once, and equal slices."""
        problem = self.problem
        return {
            "optimal": self.schedule(env, almgren_chriss.best_trades(problem)),
            "at_once": self.schedule(env, almgren_chriss.all_at_once(problem)),
            "equal": self.schedule(env, almgren_chriss.equal_trades(problem)),
        }

    def schedule(self, env: MarketEnv, trades_N: Array) -> Reference:
        """Sells a list of shares, one after the other."""
        read = Reader.of(env)
        left_N = 1 - np.cumsum(trades_N) / self.problem.shares
        signal_N = torch.as_tensor(2 * left_N - 1, device=env.device)

        def act(obs: Mapping[str, Tensor]) -> dict[str, Tensor]:
            trades = self.problem.trades
            trade_E1 = trades - (read(obs, "time_left") * trades).round().long()
            return boxed(signal_N[trade_E1])

        return act

    def score(self, reward_TE: Tensor) -> Tensor:
        """Minus the cost: the sum of the rewards."""
        return reward_TE.sum(0) / self.scale
