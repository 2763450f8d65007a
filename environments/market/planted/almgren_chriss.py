"""Selling a block of shares in N trades under price impact: the trade-off of expected cost and risk.

Source: Almgren, Chriss (2001), Optimal execution of portfolio transactions, Journal of Risk 3, equations (1) to (20).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.floating[Any]]


@dataclass(frozen=True)
class Problem:
    """X shares are sold in N trades, at times 0, tau, ..., (N - 1) tau; the last of them leaves nothing.

    The price moves as an arithmetic Brownian motion. A sale of n shares fetches eps + (eta / tau) n less than the price
    per share, and then takes g n off it for good.

    Attributes:
        shares: X.
        trades: N.
        days: T = N tau.
        sigma: Money per share, per square root of a day.
        fixed: eps, half the spread and fees, in money per share.
        permanent: g, money per share, per share.
        temporary: eta, money per share, per share a day.
        aversion: lambda, per unit of money.
    """

    shares: float = 1e6
    trades: int = 5
    days: float = 5.0
    sigma: float = 0.95
    fixed: float = 0.0625
    permanent: float = 2.5e-7
    temporary: float = 2.5e-6
    aversion: float = 1e-6

    def __post_init__(self) -> None:
        if self.trades < 1 or self.days <= 0 or self.aversion < 0:
            raise ValueError(f"trades {self.trades}, days {self.days}, aversion {self.aversion}: >= 1, > 0 and >= 0")
        if self.temporary_less <= 0:
            raise ValueError(
                f"temporary {self.temporary}, permanent {self.permanent}: temporary - permanent tau / 2 must be > 0 "
                f"(tau = {self.tau}), or trading faster would cost less"
            )

    @property
    def tau(self) -> float:
        """Days between two trades."""
        return self.days / self.trades

    @property
    def temporary_less(self) -> float:
        """eta~ = eta - g tau / 2."""
        return self.temporary - self.permanent * self.tau / 2

    @property
    def kappa(self) -> float:
        """The urgency, per day: 2 (cosh(kappa tau) - 1) / tau^2 = lambda sigma^2 / eta~."""
        squared = self.aversion * self.sigma**2 / self.temporary_less
        return math.acosh(1 + squared * self.tau**2 / 2) / self.tau

    @property
    def permanent_cost(self) -> float:
        """What no schedule avoids: g X^2 / 2 + eps X."""
        return self.permanent * self.shares**2 / 2 + self.fixed * self.shares


def best_trades(problem: Problem) -> Array:
    """The N sales that make ``objective`` least, (N,): what is left at t is X sinh(kappa (T - t)) / sinh(kappa T)."""
    to_go = problem.days - problem.tau * np.arange(problem.trades + 1)
    if problem.kappa == 0:
        return equal_trades(problem)
    # sinh(a) / sinh(b) by falling exponentials: nothing overflows where the urgency is great
    falling = np.exp(-problem.kappa * (problem.days - to_go)) * -np.expm1(-2 * problem.kappa * to_go)
    left = problem.shares * falling / -math.expm1(-2 * problem.kappa * problem.days)
    return -np.diff(left)


def equal_trades(problem: Problem) -> Array:
    """N equal sales, (N,): the least expected cost."""
    return np.full(problem.trades, problem.shares / problem.trades)


def all_at_once(problem: Problem) -> Array:
    """The block in the first trade, (N,): no risk."""
    return problem.shares * (np.arange(problem.trades) == 0)


def expected_cost(problem: Problem, trades_N: Sequence[float] | Array) -> float:
    """E = g X^2 / 2 + eps sum |n| + (eta~ / tau) sum n^2, in money.

    Raises:
        ValueError: The trades do not sell all shares.
    """
    sold_N = np.asarray(trades_N, dtype=np.float64)
    if sold_N.shape != (problem.trades,) or not math.isclose(sold_N.sum(), problem.shares, rel_tol=1e-9):
        raise ValueError(
            f"{sold_N.size} trades of {sold_N.sum():.6g} shares together; sell {problem.shares:.6g} in {problem.trades}"
        )
    quadratic = problem.temporary_less / problem.tau * (sold_N**2).sum()
    return float(problem.permanent * problem.shares**2 / 2 + problem.fixed * np.abs(sold_N).sum() + quadratic)


def variance(problem: Problem, trades_N: Sequence[float] | Array) -> float:
    """V = sigma^2 tau sum x^2 over what is left after each trade, in money squared."""
    left_N = problem.shares - np.cumsum(trades_N)
    return float(problem.sigma**2 * problem.tau * (left_N**2).sum())


def objective(problem: Problem, trades_N: Sequence[float] | Array) -> float:
    """U = E + lambda V, in money."""
    return expected_cost(problem, trades_N) + problem.aversion * variance(problem, trades_N)


def best_objective(problem: Problem) -> float:
    """The least U of all schedules."""
    return objective(problem, best_trades(problem))
