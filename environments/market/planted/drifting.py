"""Holding one of a few positions, as shares of a sleeve, in a geometric spread that reverts, with a cost of trading.

The log price deviates by x' = phi x + N(0, innovation^2). A position is a weight w of the sleeve, and a weight drifts
with its price, so that the state is (x, w): dynamic programming on a grid, by relative value iteration

    gain + h(x, w) = max over t of  t m(x) - aversion/2 t^2 v(x) - cost |t - w| + E h(x', t (1 + R) / (1 + share t R))

(Puterman 1994, Markov decision processes, 8.5.4), with R the return of the bar, m and v its mean and variance, and
``share`` the sleeve's part of the portfolio, whose growth shrinks every weight. h is interpolated between the points of
the grid, and the expectation is a Gauss-Hermite sum.
"""

from __future__ import annotations

import functools
import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.floating[Any]]

REACH = 4.5  # stationary deviations on each side
SPREADS, WEIGHTS = 181, 33
NODES, CHANCES = np.polynomial.hermite_e.hermegauss(13)
ROUNDS = 2000
CONVERGED = 1e-7  # of the cost of a full turn: the bounds of the gain are closer than that


@dataclass(frozen=True)
class Problem:
    """Per bar.

    Attributes:
        phi: In [0, 1).
        innovation: Standard deviation of a bar's log return, its shock.
        cost: Per unit of weight traded.
        aversion: To the variance of the return on the sleeve; 1 is log utility.
        levels: Weights to choose from at every bar, or to hold what is held is one of the choices (``holds``).
        holds: Sell, hold or buy by a full weight, as far as [-1, 1] goes, in place of choosing from ``levels``.
        share: The sleeve's part of the portfolio.
    """

    phi: float = 0.95
    innovation: float = 0.05
    cost: float = 0.02
    aversion: float = 1.0
    levels: tuple[float, ...] = (-1.0, 0.0, 1.0)
    holds: bool = False
    share: float = 0.0

    @property
    def deviation(self) -> float:
        """The stationary standard deviation of x."""
        return self.innovation / math.sqrt(1 - self.phi**2)

    def targets(self, weight_W: Array) -> Array:
        """What can be held next, for each weight: (W, choices)."""
        if self.holds:
            moved_W3 = weight_W[:, None] + np.array([-1.0, 0.0, 1.0])
            moved_W3[:, [0, 2]] = moved_W3[:, [0, 2]].clip(-1.0, 1.0)
            return moved_W3
        return np.broadcast_to(np.array(self.levels), (len(weight_W), len(self.levels)))

    def mean(self, spread_X: Array) -> Array:
        """m: the expected return of the coming bar."""
        return np.expm1((self.phi - 1) * spread_X + self.innovation**2 / 2)

    def variance(self, spread_X: Array) -> Array:
        """v: of the return of the coming bar."""
        return (1 + self.mean(spread_X)) ** 2 * math.expm1(self.innovation**2)


@dataclass(frozen=True)
class Solution:
    """What is best, on a grid of spreads and weights.

    Attributes:
        gain: Expected reward per bar in the long run.
        spread_X: Rising.
        weight_W: Rising.
        value_XWC: Of each choice, relative.
    """

    gain: float
    spread_X: Array
    weight_W: Array
    value_XWC: Array

    def values(self, spread_B: Array, weight_B: Array) -> Array:
        """Of each choice at any states, (B, choices), interpolated."""
        return np.stack(
            [
                _interpolated(self.spread_X, self.weight_W, self.value_XWC[..., choice], spread_B, weight_B)
                for choice in range(self.value_XWC.shape[-1])
            ],
            axis=-1,
        )


@functools.cache
def solve(problem: Problem) -> Solution:
    """The best policy and its gain; a problem is solved once.

    Raises:
        RuntimeError: The iteration has not converged.
    """
    spread_X = np.linspace(-REACH, REACH, SPREADS) * problem.deviation
    weight_W = np.linspace(-1.6, 1.6, WEIGHTS)
    target_WC = problem.targets(weight_W)
    now_XWC = _now(problem, spread_X, weight_W, target_WC)
    next_XQ = problem.phi * spread_X[:, None] + problem.innovation * NODES
    return_XQ = np.expm1(next_XQ - spread_X[:, None])
    relative_XW = np.zeros((SPREADS, WEIGHTS))
    span = problem.cost if problem.cost else problem.innovation
    for _ in range(ROUNDS):
        value_XWC = now_XWC + _ahead(problem, spread_X, weight_W, target_WC, next_XQ, return_XQ, relative_XW)
        best_XW = value_XWC.max(axis=-1)
        step_XW = best_XW - relative_XW
        relative_XW = best_XW - best_XW[SPREADS // 2, WEIGHTS // 2]
        if np.ptp(step_XW) < CONVERGED * span:
            return Solution(float((step_XW.max() + step_XW.min()) / 2), spread_X, weight_W, value_XWC)
    raise RuntimeError(f"no convergence in {ROUNDS} rounds for {problem}")


def _now(problem: Problem, spread_X: Array, weight_W: Array, target_WC: Array) -> Array:
    mean_X, variance_X = problem.mean(spread_X), problem.variance(spread_X)
    earned_XWC = target_WC * mean_X[:, None, None] - problem.aversion / 2 * target_WC**2 * variance_X[:, None, None]
    return earned_XWC - problem.cost * np.abs(target_WC - weight_W[:, None])


def _ahead(
    problem: Problem,
    spread_X: Array,
    weight_W: Array,
    target_WC: Array,
    next_XQ: Array,
    return_XQ: Array,
    relative_XW: Array,
) -> Array:
    """What is expected of h one bar later, (X, W, C): choices that lead to the same target share their value."""
    distinct_D, where_Z = np.unique(target_WC, return_inverse=True)
    gross_XDQ = 1 + problem.share * distinct_D[:, None] * return_XQ[:, None, :]
    later_XDQ = distinct_D[:, None] * (1 + return_XQ[:, None, :]) / gross_XDQ
    spread_XDQ = np.broadcast_to(next_XQ[:, None, :], later_XDQ.shape)
    h_XDQ = _interpolated(spread_X, weight_W, relative_XW, spread_XDQ, later_XDQ)
    expected_XD = h_XDQ @ (CHANCES / CHANCES.sum())
    expected_XWC: Array = expected_XD[:, where_Z.reshape(target_WC.shape)]
    return expected_XWC


def _interpolated(x_X: Array, w_W: Array, value_XW: Array, x: Array, w: Array) -> Array:
    """Bilinear, constant beyond the grid."""
    column, row = _place(x_X, x), _place(w_W, w)
    i, j = column.astype(np.int64).clip(max=len(x_X) - 2), row.astype(np.int64).clip(max=len(w_W) - 2)
    a, b = column - i, row - j
    low = value_XW[i, j] * (1 - b) + value_XW[i, j + 1] * b
    high = value_XW[i + 1, j] * (1 - b) + value_XW[i + 1, j + 1] * b
    found: Array = low * (1 - a) + high * a
    return found


def _place(grid: Array, at: Array) -> Array:
    """Where on an even grid, in steps from its first point."""
    steps: Array = ((at - grid[0]) / (grid[1] - grid[0])).clip(0, len(grid) - 1)
    return steps
