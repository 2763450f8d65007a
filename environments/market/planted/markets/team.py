"""Five planted markets in one: a class for each member of a mixed team, under an allocator.

Every trader is paid the log return on its own sleeve (profit less half the variance), so its best position is known
whatever capital it is given; the allocator is paid the portfolio's log return, so its best budgets are Kelly's over
the classes (Kelly 1956; Thorp 2006, "The Kelly criterion in blackjack, sports betting and the stock market", 7).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from torch import Tensor

from environments.market.config import MarketParams
from environments.market.env import MarketEnv
from environments.market.planted import drifting
from environments.market.planted.drifting import Array

PROCESSES = "environments.market.processes"
HALVINGS = 100
GAUSS, WEIGHT = np.polynomial.hermite_e.hermegauss(60)

MemberReference = Callable[[Tensor], Tensor]
"""Observations (E, A, F) of one group -> actions, from the observation alone."""


@dataclass(frozen=True)
class Drift:
    """A geometric Brownian price: hold the Kelly fraction, mean / variance of a bar's return.

    Attributes:
        mean: Log drift per bar that compounds to the expected return exp(mean) - 1.
        sigma: Per bar.
        size: The largest position, in sleeves.
    """

    mean: float
    sigma: float
    size: float = 1.0

    @property
    def optimum(self) -> float:
        """Expected reward per bar of the best position."""
        return _best(math.expm1(self.mean), math.exp(2 * self.mean) * math.expm1(self.sigma**2), self.size)[1]

    def process(self) -> dict[str, Any]:
        """Its entry in ``data.simulation.classes``."""
        params = {"mu": self.mean, "sigma": self.sigma, "geometric": True}
        return {"class": f"{PROCESSES}.brownian:Brownian", "params": params}

    def trader(self) -> dict[str, Any]:
        """Its trader."""
        return {"action": "continuous", "size": self.size, "observe": ["signal_held"]}

    def costs(self) -> float:
        """Basis points per unit traded."""
        return 0.0

    def reference(self, names: tuple[str, ...]) -> MemberReference:
        """The best position, always."""
        variance = math.exp(2 * self.mean) * math.expm1(self.sigma**2)
        signal = _best(math.expm1(self.mean), variance, self.size)[0] / self.size
        return lambda obs_EAF: torch.full_like(obs_EAF[..., :1], signal)


@dataclass(frozen=True)
class Signal:
    """A return whose mean is a signal that fades: hold the Kelly fraction of the moment.

    Attributes:
        deviation: Stationary standard deviation of the expected return.
        decay: Of the signal, per bar.
        sigma: Of what cannot be foreseen, per bar.
        size: The largest position, in sleeves.
    """

    deviation: float
    decay: float
    sigma: float
    size: float = 1.0

    @property
    def optimum(self) -> float:
        """Expected reward per bar of the best positions: an average over the stationary signal."""
        rewards = [_best(mean, self._variance(mean), self.size)[1] for mean in self.deviation * GAUSS]
        return float(np.dot(rewards, WEIGHT) / WEIGHT.sum())

    def process(self) -> dict[str, Any]:
        """Its entry in ``data.simulation.classes``."""
        innovation = self.deviation**2 * (1 - (1 - self.decay) ** 2)
        params = {"decay": self.decay, "innovation": innovation, "covariance": self.sigma**2, "geometric": True}
        return {"class": f"{PROCESSES}.signals:SignalDriven", "params": params}

    def trader(self) -> dict[str, Any]:
        """Its trader."""
        return {"action": "continuous", "size": self.size, "observe": ["signal_1"]}

    def costs(self) -> float:
        """Basis points per unit traded."""
        return 0.0

    def reference(self, names: tuple[str, ...]) -> MemberReference:
        """The best position for the signal that is seen."""
        at = names.index("signal_1")

        def act(obs_EAF: Tensor) -> Tensor:
            mean_EA = self.deviation * obs_EAF[..., at].double()
            variance_EA = (1 + mean_EA).square() * math.expm1(self.sigma**2)
            return (mean_EA / variance_EA / self.size).clamp(-1.0, 1.0).float().unsqueeze(-1)

        return act

    def _variance(self, mean: float) -> float:
        return (1 + mean) ** 2 * math.expm1(self.sigma**2)


@dataclass(frozen=True)
class Spread:
    """A spread that reverts, traded in steps of a whole sleeve at a cost: see ``drifting``."""

    problem: drifting.Problem

    @property
    def optimum(self) -> float:
        """Expected reward per bar of the best policy."""
        return drifting.solve(self.problem).gain

    def process(self) -> dict[str, Any]:
        """Its entry in ``data.simulation.classes``."""
        params = {"phi": self.problem.phi, "innovation": self.problem.innovation, "geometric": True}
        return {"class": f"{PROCESSES}.autoregressive:AutoRegressive", "params": params}

    def trader(self) -> dict[str, Any]:
        """Its trader: three levels, or Sell, Hold and Buy."""
        if self.problem.holds:
            return {"action": "trade", "notch": 1.0, "observe": ["deviation", "signal_held"]}
        return {"action": "levels", "levels": 3, "observe": ["deviation", "signal_held"]}

    def costs(self) -> float:
        """Basis points per unit traded."""
        return self.problem.cost * 1e4

    def reference(self, names: tuple[str, ...]) -> MemberReference:
        """The choice of the highest value."""
        solution = drifting.solve(self.problem)
        spread, held = names.index("deviation"), names.index("signal_held")

        def act(obs_EAF: Tensor) -> Tensor:
            spread_EA = obs_EAF[..., spread].double().cpu().numpy() * self.problem.deviation
            values_EAC = solution.values(spread_EA, obs_EAF[..., held].double().cpu().numpy())
            return torch.as_tensor(values_EAC.argmax(-1), device=obs_EAF.device)

        return act


Member = Drift | Signal | Spread


def _members() -> dict[str, Member]:
    return {
        "stocks": Signal(deviation=0.008, decay=0.1, sigma=0.1, size=2.0),
        "crypto": Signal(deviation=0.0135, decay=0.3, sigma=0.15, size=2.0),
        "etf": Drift(mean=0.004, sigma=0.08, size=1.0),
        "currencies": Spread(drifting.Problem(phi=0.95, innovation=0.05, cost=0.02, share=1 / 6)),
        "reits": Spread(drifting.Problem(phi=0.8, innovation=0.03, cost=0.015, share=1 / 6, holds=True)),
    }


@dataclass(frozen=True)
class TeamMarket:
    """The five markets and the allocator.

    Attributes:
        members: Group and class -> its planted market.
        horizon: Bars of an episode.
        every: Bars between two decisions of the allocator.
        scale: Of the rewards.
    """

    members: Mapping[str, Member] = field(default_factory=_members)
    horizon: int = 100
    every: int = 20
    scale: float = 100.0

    def params(self, *, expected: bool = True) -> MarketParams:
        """The market, in ordinary parameters; ``expected`` rewards leave out what nobody could expect."""
        free = {"spread_bps": 0.0, "impact": 0.0, "borrow_rate": 0.0}
        return MarketParams.model_validate(
            {
                "data": {
                    "simulation": {
                        "bars_per_year": 1.0,
                        "classes": {name: member.process() for name, member in self.members.items()},
                    }
                },
                "horizon": self.horizon,
                "traders": {
                    name: {"asset_class": name, "risk_aversion": 1.0, **member.trader()}
                    for name, member in self.members.items()
                },
                "allocator": {"every": self.every},
                "risk": {"max_position": 4.0, "max_class": 4.0, "max_gross": 8.0},
                "costs": {name: {**free, "commission_bps": member.costs()} for name, member in self.members.items()},
                "reward": {"expected": expected, "scale": self.scale},
            }
        )

    def references(self, env: MarketEnv) -> dict[str, MemberReference]:
        """The best policy of each group of traders."""
        return {name: member.reference(env.feature_names[name]) for name, member in self.members.items()}


def best_budgets(mean_C: Array, variance_C: Array) -> Array:
    """Kelly's budgets of independent classes and of cash (last), none below 0.

    They maximise the sum of b m - b^2 v / 2 with sum b <= 1 (Thorp 2006, eq. 8.5): b = max(0, (m - price) / v), the
    price of capital being the least at which there is enough of it.

    Args:
        mean_C: Of the returns on each class's sleeve.
        variance_C: Of these, above 0.
    """

    def budgets(price: float) -> Array:
        wanted_C: Array = np.maximum(0.0, (mean_C - price) / variance_C)
        return wanted_C

    low, high = 0.0, max(0.0, float(mean_C.max()))
    if budgets(low).sum() > 1:
        for _ in range(HALVINGS):
            middle = (low + high) / 2
            low, high = (middle, high) if budgets(middle).sum() > 1 else (low, middle)
        low = high
    budget_C = budgets(low)
    return np.append(budget_C, max(0.0, 1.0 - float(budget_C.sum())))


def _best(mean: float, variance: float, size: float) -> tuple[float, float]:
    """The best position and what it earns: t m - t^2 v / 2."""
    position = min(max(mean / variance, -size), size)
    return position, position * mean - position**2 * variance / 2
