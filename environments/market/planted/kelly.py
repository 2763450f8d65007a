"""Growth-optimal holding of assets that follow geometric Brownian motions, with and without proportional costs.

Sources:
    Merton (1969), Lifetime portfolio selection under uncertainty: the optimum without costs.
    Taksar, Klass, Assaf (1988), A diffusion model for optimal portfolio selection in the presence of brokerage fees;
    Davis, Norman (1990), Portfolio selection with transaction costs: it is optimal to stay inside a band.
    Gerhold, Muhle-Karbe, Schachermayer (2013), The dual optimizer for the growth-optimal portfolio under transaction
    costs: both ends of the band from one number, the gap.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

Array = NDArray[np.floating[Any]]

NODES, WEIGHTS = np.polynomial.legendre.leggauss(200)
BISECTIONS = 200  # more than a float64 has bits


def best_fractions(mu: ArrayLike, rate: float, covariance: ArrayLike) -> Array:
    """The growth-optimal fractions of wealth f* = Sigma^-1 (mu - r), (N,); Merton (1969).

    Args:
        mu: Drifts per unit of time, (N,).
        rate: Of the cash account, per unit of time, continuously compounded.
        covariance: Sigma per unit of time, (N, N).
    """
    return np.linalg.solve(_square(covariance), np.atleast_1d(mu) - rate)


def growth(fraction: ArrayLike, mu: ArrayLike, rate: float, covariance: ArrayLike) -> float:
    """Growth of log wealth per unit of time with constant fractions: r + f'(mu - r) - f' Sigma f / 2."""
    fraction_N = np.atleast_1d(np.asarray(fraction, dtype=np.float64))
    excess_N = np.atleast_1d(mu) - rate
    return float(rate + fraction_N @ excess_N - fraction_N @ _square(covariance) @ fraction_N / 2)


def rebalancing_cost(fraction: float, sigma: float, cost: float, years: float) -> float:
    """What a return to the fraction f at the end of each bar costs: c |f (1 - f)| sigma sqrt(2 / (pi dt)).

    Over a bar f drifts off by f (1 - f) sigma sqrt(dt) times a standard normal number, to leading order.

    Args:
        fraction: f.
        sigma: Volatility per unit of time.
        cost: c, a share of the traded value.
        years: dt, the length of a bar.

    Returns:
        The loss of growth per unit of time.
    """
    return cost * abs(fraction * (1 - fraction)) * sigma * math.sqrt(2 / (math.pi * years))


@dataclass(frozen=True)
class Market:
    """One asset, dS/S = mu dt + sigma dW, cash at a rate, and a proportional cost of trading.

    Attributes:
        mu: Per unit of time.
        rate: r, per unit of time.
        sigma: Per square root of a unit of time.
        cost: c, paid in cash on the value bought or sold.
    """

    mu: float = 0.08
    rate: float = 0.03
    sigma: float = 0.25
    cost: float = 0.01

    def __post_init__(self) -> None:
        if self.sigma <= 0 or not 0 <= self.cost < 1:
            raise ValueError(f"sigma {self.sigma}, cost {self.cost}: sigma must be > 0, and the cost in [0, 1)")

    @property
    def merton(self) -> float:
        """f* = (mu - r) / sigma^2."""
        return (self.mu - self.rate) / self.sigma**2

    def growth(self, fraction: Array) -> Array:
        """Of log wealth at a constant fraction: r + f (mu - r) - f^2 sigma^2 / 2."""
        return self.rate + fraction * (self.mu - self.rate) - fraction**2 * self.sigma**2 / 2


@dataclass(frozen=True)
class Band:
    """The fraction held is left alone inside [low, high] and brought back to the nearer end from outside."""

    low: float
    high: float


def band_growth(market: Market, band: Band) -> float:
    """Long-run growth of log wealth per unit of time when the fraction is kept in a band at least cost.

    y = log |f / (1 - f)| is a Brownian motion with drift nu = mu - r - sigma^2 / 2 and volatility sigma, reflected at
    both ends: its stationary density is proportional to exp(2 nu y / sigma^2), and an end is pushed at by
    sigma^2 / 2 times its density. A purchase that moves f by df costs c df / (1 + c f) of wealth, a sale
    c df / (1 - c f).

    Raises:
        ValueError: The band is empty or holds 0 or 1, which a fraction never crosses without a trade.
    """
    low, high, cost = band.low, band.high, market.cost
    if not low < high or any(low <= edge <= high for edge in (0.0, 1.0)):
        raise ValueError(f"band [{low}, {high}]: it must have low < high and hold neither 0 nor 1")
    half_variance = market.sigma**2 / 2
    tilt = (market.mu - market.rate - half_variance) / half_variance
    ends = np.log(np.abs(np.array([low, high]) / (1 - np.array([low, high]))))
    centre, radius = ends.mean(), abs(ends[1] - ends[0]) / 2
    y = centre + radius * NODES
    peak = centre + radius * np.sign(tilt)
    mass = WEIGHTS * radius * np.exp(tilt * (y - peak))
    ratio = np.exp(y) if 0 < low < 1 else -np.exp(y)  # f / (1 - f)
    earned = (mass * market.growth(ratio / (1 + ratio))).sum()
    density_low, density_high = np.exp(tilt * (ends - peak))
    bought = density_low * abs(low * (1 - low)) / (1 + cost * low)
    sold = density_high * abs(high * (1 - high)) / (1 - cost * high)
    return float((earned - cost * half_variance * (bought + sold)) / mass.sum())


def best_band(market: Market) -> Band:
    """The growth-optimal band.

    Seen at the price at which the investor trades there (the shadow price, (1 + c) S and (1 - c) S), the fractions at
    the two ends are f* - gap and f* + gap, and the growth is r + (mu - r)^2 / (2 sigma^2) - sigma^2 gap^2 / 2
    (Gerhold, Muhle-Karbe, Schachermayer 2013). The gap for which the band earns just that is the optimum: a root.

    Without costs, or with f* of 0 or 1 (no trade is ever needed), the band is a point.
    """
    target = market.merton
    widest = min(abs(target), abs(target - 1))
    if market.cost == 0 or widest == 0:
        return Band(target, target)

    def surplus(gap: float) -> float:
        band = _band(market, gap)
        if band.low >= band.high:  # a borrower's purchase costs equity: below some gap the ends cross
            return -math.inf
        promised = float(market.growth(np.array(target))) - (market.sigma * gap) ** 2 / 2
        return band_growth(market, band) - promised

    return _band(market, _root(surplus, 0.0, widest))


def best_growth(market: Market) -> float:
    """Growth of log wealth per unit of time in the growth-optimal band; without costs r + ((mu - r) / sigma)^2 / 2."""
    band = best_band(market)
    return float(market.growth(np.array(band.low))) if band.low == band.high else band_growth(market, band)


def _band(market: Market, gap: float) -> Band:
    """The ends whose fractions at the shadow price, (1 +- c) f / (1 +- c f), are f* - gap and f* + gap."""
    low, high, cost = market.merton - gap, market.merton + gap, market.cost
    return Band(low / (1 + cost - cost * low), high / (1 - cost + cost * high))


def _root(function: Callable[[float], float], low: float, high: float) -> float:
    """The root of a function that is below 0 to its left and above 0 to its right."""
    for _ in range(BISECTIONS):
        middle = (low + high) / 2
        if function(middle) < 0:
            low = middle
        else:
            high = middle
    return (low + high) / 2


def _square(covariance: ArrayLike) -> Array:
    return np.atleast_2d(np.asarray(covariance, dtype=np.float64))
