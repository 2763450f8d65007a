"""Quoting a bid and an ask under inventory risk: the optimum in continuous time, and in bars, exactly.

Sources:
    Avellaneda, Stoikov (2008), High-frequency trading in a limit order book: the dynamics.
    Gueant, Lehalle, Fernandez-Tapia (2013), Dealing with the inventory risk; Cartea, Jaimungal, Penalva (2015),
    Algorithmic and high-frequency trading, section 10.2: the linear system behind the optimum with a running and a
    final penalty, V(t, q) = ln(v_q(t)) / k.

In bars: at the start of a bar the two distances are set; each side fills at most one unit, with probability
p = min(1, rate exp(-decay distance) dt), independently of the other. The inventory after the fills, q', is held over
the bar at a penalty of phi q'^2 dt. A side that would take the inventory beyond the limit stays shut.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.floating[Any]]

SERIES = 20  # terms of an exponential, at a norm of at most 1
STARTS = 9
ROUNDS = 200
CONVERGED = 1e-14  # of a distance


@dataclass(frozen=True)
class Problem:
    """Distances in money per unit, time in any unit.

    Attributes:
        horizon: T.
        bars: The horizon has so many, of length dt = T / bars.
        rate: A, orders per unit of time at distance 0.
        decay: k, per unit of distance.
        running: phi, per unit of time and of squared inventory.
        final: alpha, per unit of squared inventory, at the end.
        limit: Inventory stays within [-limit, limit].
        width: The largest distance that may be quoted.
    """

    horizon: float = 1.0
    bars: int = 200
    rate: float = 140.0
    decay: float = 1.5
    running: float = 0.5
    final: float = 0.01
    limit: int = 10
    width: float = 2.0

    def __post_init__(self) -> None:
        if min(self.horizon, self.rate, self.decay, self.width) <= 0 or min(self.bars, self.limit) < 1:
            raise ValueError(f"{self}: horizon, rate, decay and width must be > 0, bars and limit >= 1")

    @property
    def bar(self) -> float:
        """Its length dt."""
        return self.horizon / self.bars

    @property
    def inventory_Q(self) -> Array:
        """-limit, ..., limit."""
        return np.arange(-self.limit, self.limit + 1, dtype=np.float64)

    @property
    def nearest(self) -> float:
        """The least distance of use: nearer, a fill is no more certain."""
        return min(self.width, max(0.0, math.log(self.rate * self.bar) / self.decay))

    def chance(self, distance: Array) -> Array:
        """Of a fill in a bar: min(1, rate exp(-decay distance) dt)."""
        return np.minimum(1.0, self.rate * np.exp(-self.decay * distance) * self.bar)


@dataclass(frozen=True, eq=False)
class Quotes:
    """Distances of bid and ask from the price, for each bar and inventory: (T, Q) each."""

    bid_TQ: Array
    ask_TQ: Array


# ---- continuous time


def continuous_value(problem: Problem) -> float:
    """Value at the start without inventory, in continuous time and with any distances: ln(w_0(T)) / k."""
    return float(_log_values(problem)[0, problem.limit] / problem.decay)


def continuous_quotes(problem: Problem) -> Quotes:
    """The optimal distances of continuous time at the starts of the bars, cut to what may be quoted.

    bid = 1/k + (ln w_q - ln w_q+1) / k, ask = 1/k + (ln w_q - ln w_q-1) / k; beyond the limit w is 0.
    """
    log_TQ = _log_values(problem)[:-1]
    beyond_T1 = np.full((problem.bars, 1), -np.inf)
    above_TQ, below_TQ = np.hstack([log_TQ[:, 1:], beyond_T1]), np.hstack([beyond_T1, log_TQ[:, :-1]])
    bid_TQ, ask_TQ = ((1 + log_TQ - other_TQ) / problem.decay for other_TQ in (above_TQ, below_TQ))
    return Quotes(np.clip(bid_TQ, 0.0, problem.width), np.clip(ask_TQ, 0.0, problem.width))


def _log_values(problem: Problem) -> Array:
    """The logarithms ln w_q(t) at the start of each bar and at the end, (T + 1, Q).

    w(t) = exp(M (T - t)) exp(-alpha k q^2).
    """
    over_bar_QQ = _exponential(problem)
    log_Q = -problem.final * problem.decay * problem.inventory_Q**2
    rows = [log_Q]
    for _ in range(problem.bars):
        largest = log_Q.max()
        log_Q = np.log(over_bar_QQ @ np.exp(log_Q - largest)) + largest
        rows.append(log_Q)
    return np.array(rows[::-1])


def _exponential(problem: Problem) -> Array:
    """exp(M dt), M with -phi k q^2 on its diagonal and A / e beside it.

    M is shifted until no entry is negative and squared up from a short series, so that nothing is ever subtracted:
    every entry is right to rounding, the tiny ones too, of which logarithms are taken.
    """
    q = problem.inventory_Q
    beside_QQ = np.eye(len(q), k=1) + np.eye(len(q), k=-1)
    risk_Q = problem.running * problem.decay * q**2
    shifted_QQ = (beside_QQ * problem.rate / math.e + np.diag(risk_Q.max() - risk_Q)) * problem.bar
    squarings = max(0, math.ceil(math.log2(shifted_QQ.sum(1).max())))
    small_QQ = shifted_QQ / 2**squarings
    term_QQ = power_QQ = np.eye(len(q))
    for order in range(1, SERIES):
        term_QQ = term_QQ @ small_QQ / order
        power_QQ = power_QQ + term_QQ
    power_QQ = power_QQ * math.exp(-risk_Q.max() * problem.bar / 2**squarings)
    for _ in range(squarings):
        power_QQ = power_QQ @ power_QQ
    return power_QQ


# ---- bars


def constant_quotes(problem: Problem, distance: float) -> Quotes:
    """The same distance on both sides, always."""
    quotes_TQ = np.full((problem.bars, len(problem.inventory_Q)), distance)
    return Quotes(quotes_TQ, quotes_TQ)


def value(problem: Problem, quotes: Quotes) -> float:
    """Expected profit less penalties of a policy, from no inventory: exact."""
    worth_Q = -problem.final * problem.inventory_Q**2
    for bid_Q, ask_Q in _backwards(quotes):
        worth_Q = _earned(problem, bid_Q, ask_Q, _held(problem, worth_Q))
    return float(worth_Q[problem.limit])


def solve(problem: Problem) -> tuple[Quotes, float]:
    """The best quotes and their value, by dynamic programming over the bars."""
    worth_Q = -problem.final * problem.inventory_Q**2
    quotes = []
    for _ in range(problem.bars):
        held_Q = _held(problem, worth_Q)
        bid_Q, ask_Q = _best(problem, held_Q)
        worth_Q = _earned(problem, bid_Q, ask_Q, held_Q)
        quotes.append((bid_Q, ask_Q))
    bid_TQ, ask_TQ = (np.array(side)[::-1] for side in zip(*quotes, strict=True))
    return Quotes(bid_TQ, ask_TQ), float(worth_Q[problem.limit])


def _backwards(quotes: Quotes) -> Iterator[tuple[Array, Array]]:
    return zip(quotes.bid_TQ[::-1], quotes.ask_TQ[::-1], strict=True)


def _held(problem: Problem, worth_Q: Array) -> Array:
    """Value right after the fills: the bar's penalty, then ``worth_Q``."""
    return worth_Q - problem.running * problem.bar * problem.inventory_Q**2


def _chances(problem: Problem, bid_Q: Array, ask_Q: Array) -> tuple[Array, Array]:
    """Of a fill on each side, 0 where the side is shut."""
    q = problem.inventory_Q
    bought_Q = np.where(q < problem.limit, problem.chance(bid_Q), 0.0)
    sold_Q = np.where(q > -problem.limit, problem.chance(ask_Q), 0.0)
    return bought_Q, sold_Q


def _steps(held_Q: Array) -> tuple[Array, Array]:
    """What one unit more, and one less, adds to the value; 0 beyond the limit."""
    change = np.diff(held_Q)
    return np.append(change, 0.0), np.insert(-change, 0, 0.0)


def _earned(problem: Problem, bid_Q: Array, ask_Q: Array, held_Q: Array) -> Array:
    """Expected value before the fills of a bar."""
    bought_Q, sold_Q = _chances(problem, bid_Q, ask_Q)
    more_Q, less_Q = _steps(held_Q)
    bought_only_Q, sold_only_Q = bought_Q * (1 - sold_Q), sold_Q * (1 - bought_Q)
    return held_Q + bought_Q * bid_Q + sold_Q * ask_Q + bought_only_Q * more_Q + sold_only_Q * less_Q


def _best(problem: Problem, held_Q: Array) -> tuple[Array, Array]:
    """The best distances of one bar, each in closed form given the other, in turn until neither moves.

    A fill of the bid adds, on average, (1 - p_ask) more - p_ask less to the value. With what a fill adds, the best of
    p(d) (d + added) is at d = 1/k - added, or the nearest distance allowed. Where inventory is dear a fill on one side
    is worth more the likelier the other is, and there may be several pairs of this kind: the best of many starts.
    """
    more_Q, less_Q = _steps(held_Q)
    start_S = np.linspace(problem.nearest, problem.width, STARTS)
    bid_SQ: Array = np.repeat(start_S[:, None], len(held_Q), axis=1)
    ask_SQ: Array = bid_SQ
    for _ in range(ROUNDS):
        _, sold_SQ = _chances(problem, bid_SQ, ask_SQ)
        new_bid_SQ = _distance(problem, (1 - sold_SQ) * more_Q - sold_SQ * less_Q)
        bought_SQ, _ = _chances(problem, new_bid_SQ, ask_SQ)
        new_ask_SQ = _distance(problem, (1 - bought_SQ) * less_Q - bought_SQ * more_Q)
        moved = max(np.abs(new_bid_SQ - bid_SQ).max(), np.abs(new_ask_SQ - ask_SQ).max())
        bid_SQ, ask_SQ = new_bid_SQ, new_ask_SQ
        if moved < CONVERGED:
            break
    best_1Q = _earned(problem, bid_SQ, ask_SQ, held_Q).argmax(0)[None]
    bid_1Q, ask_1Q = (np.take_along_axis(side_SQ, best_1Q, axis=0) for side_SQ in (bid_SQ, ask_SQ))
    return bid_1Q[0], ask_1Q[0]


def _distance(problem: Problem, added_Q: Array) -> Array:
    return np.clip(1 / problem.decay - added_Q, problem.nearest, problem.width)
