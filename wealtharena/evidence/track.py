"""Track: what one way of trading did, bar by bar, over one window of one market.

Dimensions: T bars stepped through, N assets, C classes, K = C + 1 (the classes and cash).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property

import numpy as np
import numpy.typing as npt

FloatArray = npt.NDArray[np.float64]
BoolArray = npt.NDArray[np.bool_]
IntArray = npt.NDArray[np.int64]
DateArray = npt.NDArray[np.datetime64]

YEAR = np.timedelta64(31_557_600, "s")
"""The Julian year of 365.25 days: the one measure of a year in everything annual."""


@dataclass(frozen=True)
class Track:
    """The books of one trader, team or rule over one window. Money in the currency of the capital.

    Attributes:
        name: Who traded: ``team`` or the name of a baseline.
        dates: datetime64[s] (T + 1,): the bar at which it began, then every bar it stepped to.
        nav: (T + 1,) net asset value at each of ``dates``.
        value_TN: Position value at the close, signed.
        traded_TN: Notional bought or sold, absolute.
        cost_TN: Costs of trading (spread, commission, impact), positive.
        carry_TN: What holding the position brought (positive) or cost (negative), such as borrow on a short.
        pnl_TN: Profit or loss, net of costs and carry.
        interest_T: Interest on cash. ``nav`` rises by the sum of ``pnl_TN`` over assets and this, on every bar.
        budget_TK: Share of capital decided for each class and, last, cash; None where nobody decides it.
        symbols: N names.
        classes: C names.
        class_N: (N,) index of each asset's class in ``classes``.
        restarts: Step at which the track begins anew, all in cash -> the bar at which that step began, which is not the
            one before it: time between the two passed outside of the track. Several tests that are chained have them.
        bound: Limit of risk -> (T,) whether it bound at the decision before the bar; empty of baselines.
        behaviour: Group and name of what ``MarketEnv.behaviour`` tells of it -> its sum over the bars.
        voices: Trader that shares its class -> how much it was heard, mean over its assets, its sum over the bars.
        objectives: Objective of the reward -> its sum over the bars, (N + 1,): each asset on its sleeve, the portfolio.
    """

    name: str
    dates: DateArray
    nav: FloatArray
    value_TN: FloatArray
    traded_TN: FloatArray
    cost_TN: FloatArray
    carry_TN: FloatArray
    pnl_TN: FloatArray
    interest_T: FloatArray
    budget_TK: FloatArray | None
    symbols: tuple[str, ...]
    classes: tuple[str, ...]
    class_N: IntArray
    restarts: Mapping[int, np.datetime64] = field(default_factory=dict)
    objectives: Mapping[str, FloatArray] = field(default_factory=dict)
    voices: Mapping[str, float] = field(default_factory=dict)
    behaviour: Mapping[tuple[str, str], float] = field(default_factory=dict)
    bound: Mapping[str, BoolArray] = field(default_factory=dict)

    @cached_property
    def returns_T(self) -> FloatArray:
        """Simple return of each bar."""
        return self.nav[1:] / self.nav[:-1] - 1.0

    @cached_property
    def elapsed_T(self) -> FloatArray:
        """Calendar time of each bar, in years."""
        began_T = self.dates[:-1].copy()
        for step, date in self.restarts.items():
            began_T[step] = date
        return (self.dates[1:] - began_T) / YEAR

    @property
    def years(self) -> float:
        """Calendar time of the whole window, in years; without the time between chained ones."""
        between = sum((date - self.dates[step] for step, date in self.restarts.items()), np.timedelta64(0, "s"))
        return float((self.dates[-1] - self.dates[0] - between) / YEAR)

    def by_class(self, amount_TN: FloatArray) -> FloatArray:
        """Sums a (T, N) amount over the assets of each class: (T, C)."""
        member_NC = np.equal.outer(self.class_N, np.arange(len(self.classes)))
        return amount_TN @ member_NC.astype(np.float64)
