"""Kelly's and Merton's problem as a market: geometric Brownian prices, log utility, cash at a rate."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import torch
from torch import Tensor

from environments.market.config import MarketParams
from environments.market.env import MarketEnv
from environments.market.planted import kelly
from environments.market.planted.base import (
    GROUP,
    PlantedMarket,
    Reader,
    Reference,
    boxed,
    free_of_charge,
    one_trader,
    simulated,
)
from environments.market.planted.kelly import Array, Band


@dataclass(frozen=True)
class Kelly(PlantedMarket):
    """The score is the growth of log wealth per year; a year is the unit of time of all rates.

    With a cost, the growth is that of the long run: the first ``settling`` bars, years in which the fraction held
    spreads out from f* over the band, do not count.

    The optimum is that of continuous time, from which that of bars of dt differs by the order of sigma^4 dt.

    Attributes:
        mu: Of each asset.
        sigma: Of each asset.
        correlation: N x N; None: independent.
        rate: r, continuously compounded.
        cost: Of a trade, as a share of its value; for one asset only.
        bars_per_year: 1 / dt.
        bars: Of an episode that count.
        settling: Bars before those.
        largest: The largest fraction of wealth in one asset, long or short.
        scale: Of the rewards.
    """

    name = "kelly"
    unit = "log growth per year"
    base = "cash"

    mu: tuple[float, ...] = (0.08,)
    sigma: tuple[float, ...] = (0.25,)
    correlation: tuple[tuple[float, ...], ...] | None = None
    rate: float = 0.03
    cost: float = 0.0
    bars_per_year: float = 252.0
    bars: int = 252
    settling: int = 0
    largest: float = 2.0
    scale: float = 100.0

    def __post_init__(self) -> None:
        if self.cost and len(self.mu) > 1:
            raise ValueError(f"cost {self.cost} with {len(self.mu)} assets: the best band is known for one asset only")
        if self.rate and (self.fraction_N < 0).any():
            raise ValueError(
                f"best fractions {self.fraction_N.round(4).tolist()}: one is short, and short sales bring in cash that "
                "earns no interest in MarketEnv; set rate to 0 or raise its mu"
            )
        reached = np.append(self.fraction_N, (self.band.low, self.band.high) if self.cost else ())
        if np.abs(reached).max() > self.largest:
            raise ValueError(f"the best policy holds up to {np.abs(reached).max():.4f}: raise largest ({self.largest})")

    @cached_property
    def covariance_NN(self) -> Array:
        """Sigma, per year."""
        correlation_NN = np.eye(len(self.sigma)) if self.correlation is None else np.array(self.correlation)
        return np.outer(self.sigma, self.sigma) * correlation_NN

    @cached_property
    def fraction_N(self) -> Array:
        """f* = Sigma^-1 (mu - r)."""
        return kelly.best_fractions(self.mu, self.rate, self.covariance_NN)

    @cached_property
    def one_asset(self) -> kelly.Market:
        """The problem with a cost."""
        return kelly.Market(mu=self.mu[0], rate=self.rate, sigma=self.sigma[0], cost=self.cost)

    @cached_property
    def band(self) -> Band:
        """With a cost, where the fraction is best left alone."""
        return kelly.best_band(self.one_asset)

    @cached_property
    def optimum(self) -> float:
        """Merton (1969); with a cost Taksar, Klass, Assaf (1988)."""
        if self.cost:
            return kelly.best_growth(self.one_asset)
        return kelly.growth(self.fraction_N, self.mu, self.rate, self.covariance_NN)

    def params(self, *, expected: bool = True) -> MarketParams:
        """See ``PlantedMarket``."""
        assets, bar = len(self.mu), 1 / self.bars_per_year
        return one_trader(
            {
                "action": "continuous",
                "joint": True,
                "size": self.largest * assets,
                "start": self.fraction_N[0] / self.largest if self.cost else 0.0,
                "observe": ["signal_held"],
            },
            data=simulated(
                "brownian:Brownian",
                self.bars_per_year,
                assets=assets,
                mu=self.mu,
                sigma=self.sigma,
                correlation=self.correlation,
                geometric=True,
            ),
            horizon=self.settling + self.bars,
            risk={f"max_{cap}": self.largest * assets for cap in ("position", "class", "gross")},
            costs=free_of_charge(commission_bps=self.cost * 1e4),
            cash_rate=math.expm1(self.rate * bar) / bar,
            reward={"expected": expected, "scale": self.scale},
        )

    def references(self, env: MarketEnv) -> Mapping[str, Reference]:
        """See ``PlantedMarket``: the best, f* held all the time, all wealth spread evenly, and cash."""
        even_N = np.full(len(self.mu), 1 / len(self.mu))
        rebalanced = self.constant(env, self.fraction_N)
        best = {"optimal": rebalanced}
        if self.cost:
            best = {"optimal": self.banded(env, self.band), "rebalanced": rebalanced}
        return best | {"invested": self.constant(env, even_N), "cash": self.constant(env, 0 * even_N)}

    def constant(self, env: MarketEnv, fraction_N: Array) -> Reference:
        """Goes back to the same fractions of wealth each bar."""
        signal_N = torch.as_tensor(fraction_N / self.largest, device=env.device)
        return lambda obs: boxed(signal_N.expand(len(obs[GROUP]), -1))

    def banded(self, env: MarketEnv, band: Band) -> Reference:
        """Keeps the fraction of the only asset in a band."""
        read = Reader.of(env)
        low, high = band.low / self.largest, band.high / self.largest
        return lambda obs: boxed(read(obs, "signal_held").clamp(low, high))

    def score(self, reward_TE: Tensor) -> Tensor:
        """Growth per year: the mean of the rewards that count."""
        return reward_TE[self.settling :].mean(0) * (self.bars_per_year / self.scale)
