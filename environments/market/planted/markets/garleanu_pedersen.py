"""Garleanu and Pedersen's problem as a market: fading signals, quadratic costs, a finite horizon."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import torch
from torch import Tensor

from environments.market.config import MarketParams
from environments.market.env import MarketEnv
from environments.market.planted import garleanu_pedersen, linear_policies
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
from environments.market.planted.garleanu_pedersen import Linear, Problem
from environments.market.processes.matrices import applied

ONE_ASSET = Problem.of(loading=1, decay=0.1, innovation=0.0019, covariance=1, impact=0.5, aversion=0.05)
"""One asset, one signal with a stationary deviation of .1."""

THREE_ASSETS = Problem.of(
    loading=[[1, 0.3], [0.2, 0.8], [-0.5, 0.4]],
    decay=[[0.1, 0.02], [0.0, 0.3]],
    innovation=[[0.002, 0.0005], [0.0005, 0.004]],
    covariance=[[1, 0.5, 0.2], [0.5, 1.5, 0.3], [0.2, 0.3, 0.8]],
    impact=[[0.5, 0.1, 0.0], [0.1, 0.9, 0.2], [0.0, 0.2, 0.4]],
    aversion=0.05,
)
"""Three correlated assets, two signals that feed on each other, and costs that are no multiple of the risk."""


@dataclass(frozen=True)
class GarleanuPedersen(PlantedMarket):
    """The score is the utility of an episode, which begins without positions.

    Attributes:
        problem: Without discount: an episode's rewards are added up as they are.
        bars: T.
        reach: Stationary deviations of the best positions that can be held, and of the first trade that can be made.
        scale: Of the rewards.
    """

    name = "garleanu-pedersen"
    unit = "utility per episode"
    base = "idle"

    problem: Problem = ONE_ASSET
    bars: int = 50
    reach: float = 5.0
    scale: float = 1.0

    def __post_init__(self) -> None:
        if self.problem.discount != 0:
            raise ValueError(f"discount {self.problem.discount}: it must be 0; an episode's rewards are added up")

    @cached_property
    def best(self) -> tuple[list[Linear], float]:
        """The best policy of each bar, and its expected utility; Garleanu, Pedersen (2013), by recursion."""
        policies, value = garleanu_pedersen.finite(self.problem, self.bars)
        return policies, value.from_flat(self.problem.signals_KK)

    @property
    def optimum(self) -> float:
        """See ``best``."""
        return self.best[1]

    @cached_property
    def size(self) -> float:
        """The largest position, in shares."""
        held_N, _ = linear_policies.position_deviations(self.problem, garleanu_pedersen.infinite(self.problem))
        return self.reach * float(held_N.max())

    @cached_property
    def notch(self) -> float:
        """The largest trade, as a share of the largest position; the first trade, from nothing, is the largest."""
        follow_NK = garleanu_pedersen.infinite(self.problem).follow_NK
        first_NN = follow_NK @ self.problem.signals_KK @ follow_NK.T
        return min(2.0, self.reach * float(np.sqrt(first_NN.diagonal().max())) / self.size)

    def params(self, *, expected: bool = True) -> MarketParams:
        """See ``PlantedMarket``."""
        problem = self.problem
        signals = [f"signal_{k + 1}" for k in range(len(problem.decay_KK))]
        return one_trader(
            {
                "action": "adjust",
                "joint": True,
                "size": self.size,
                "notch": self.notch,
                "risk_aversion": problem.aversion,
                "observe": ["signal_held", *signals, "time_left"],
            },
            data=simulated(
                "signals:SignalDriven",
                bars_per_year=1.0,
                loading=problem.loading_NK.tolist(),
                decay=problem.decay_KK.tolist(),
                innovation=problem.innovation_KK.tolist(),
                covariance=problem.covariance_NN.tolist(),
            ),
            horizon=self.bars,
            finite=True,
            sizing="shares",
            capital=CAPITAL,
            costs=free_of_charge(),
            linear_impact={"temporary": problem.impact_NN.tolist()},
            reward={"unit": "money", "expected": expected, "scale": self.scale},
        )

    def references(self, env: MarketEnv) -> Mapping[str, Reference]:
        """See ``PlantedMarket``: the best policies of a finite and of an infinite horizon, and simpler ones."""
        problem = self.problem
        constant = {
            "infinite": garleanu_pedersen.infinite(problem),
            "rate": linear_policies.towards_markowitz(problem, linear_policies.best_rate(problem)),
            "myopic": linear_policies.myopic(problem),
            "scaled": linear_policies.markowitz(problem, linear_policies.best_scale(problem)),
            "markowitz": linear_policies.markowitz(problem),
            "idle": linear_policies.idle(problem),
        }
        policies = {"optimal": self.best[0], **{name: [policy] * self.bars for name, policy in constant.items()}}
        return {name: self.trading(env, policy) for name, policy in policies.items()}

    def trading(self, env: MarketEnv, policies: Sequence[Linear]) -> Reference:
        """A linear policy for each bar, as an agent."""
        read = Reader.of(env)
        keep_TNN, follow_TNK = (
            torch.tensor(np.array(gains), device=env.device)
            for gains in zip(*((policy.keep_NN, policy.follow_NK) for policy in policies), strict=True)
        )
        deviation_K = torch.tensor(np.sqrt(self.problem.signals_KK.diagonal()).copy(), device=env.device)
        signals = [f"signal_{k + 1}" for k in range(len(deviation_K))]

        def act(obs: Mapping[str, Tensor]) -> dict[str, Tensor]:
            held_EN = read(obs, "signal_held") * self.size
            signal_EK = torch.cat([read(obs, name) for name in signals], dim=1) * deviation_K
            bar_E = self.bars - (read(obs, "time_left")[:, 0] * self.bars).round().long()
            wanted_EN = applied(keep_TNN[bar_E], held_EN) + applied(follow_TNK[bar_E], signal_EK)
            return boxed((wanted_EN - held_EN) / (self.size * self.notch))

        return act

    def score(self, reward_TE: Tensor) -> Tensor:
        """Utility of the episode: the sum of its rewards."""
        return reward_TE.sum(0) / self.scale
