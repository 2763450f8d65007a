"""What anyone could have done without learning: rules that turn the history up to a bar into target weights.

A rule sees a ``History``, never more, and answers with target weights (N,), NaN where an asset gets no order, or with
None: no order at all. Without an order shares stay. The weights are traded as the team's are: at the next own open,
under the same costs, calendar and ledger (``run_baselines`` in ``evaluate``). All are long-only, without leverage.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType

import numpy as np
import numpy.typing as npt

from wealtharena.evidence.covariance import minimum_variance_weights, shrunk_correlation
from wealtharena.evidence.track import DateArray, FloatArray, IntArray

BoolArray = npt.NDArray[np.bool_]

LOOKBACK = np.timedelta64(365, "D")
SKIPPED = np.timedelta64(30, "D")
SETTLED = np.timedelta64(7, "D")
FEWEST_OWN_BARS = 60
"""Own bars within the lookback that a rule needs before it estimates anything about an asset."""


@dataclass(frozen=True)
class History:
    """What is known at the close of bar t.

    Attributes:
        dates_T: datetime64[s], up to and including t.
        close_TN: Closes, carried forward over bars an asset does not have.
        own_TN: The asset has a bar of its own.
        listed_N: The asset can be traded at t.
        ordered_N: The rule gave an order for the asset before.
        due: The rule gave no order before, or t is the first bar of a calendar month.
    """

    dates_T: DateArray
    close_TN: FloatArray
    own_TN: BoolArray
    listed_N: BoolArray
    ordered_N: BoolArray
    due: bool

    def recent(self) -> tuple[FloatArray, IntArray]:
        """Log returns of the last year (R, M) of the M listed assets with enough of them, and the index of these (M,).

        The return is 0 where an asset did not trade.
        """
        begin = self.bar_at(self.dates_T[-1] - LOOKBACK)
        # The close before an asset's first bar is a placeholder: no return is taken from it.
        known_TN = np.maximum.accumulate(self.own_TN, axis=0)[begin:]
        return_RN = np.diff(np.log(self.close_TN[begin:]), axis=0) * known_TN[:-1]
        enough_N = self.listed_N & (self.own_TN[begin:].sum(axis=0) >= FEWEST_OWN_BARS)
        chosen = np.flatnonzero(enough_N & (return_RN != 0).any(axis=0))
        return return_RN[:, chosen], chosen

    def bar_at(self, date: np.datetime64) -> int:
        """The first bar at or after a date."""
        return int(np.searchsorted(self.dates_T, date))


Baseline = Callable[[History], FloatArray | None]


def cash(history: History) -> FloatArray | None:
    """Holds cash throughout."""
    del history
    return None


def equal_weight(history: History) -> FloatArray | None:
    """The same weight in every listed asset, restored each month (DeMiguel, Garlappi & Uppal 2009)."""
    return _equally(history.listed_N) if history.due else None


def buy_and_hold(history: History) -> FloatArray | None:
    """1/N in each of the N assets as soon as it is listed, never touched again; until then that part is cash."""
    fresh_N = history.listed_N & ~history.ordered_N
    return np.where(fresh_N, 1.0 / len(fresh_N), np.nan) if fresh_N.any() else None


def inverse_volatility(history: History) -> FloatArray | None:
    """Weights in proportion to 1 / volatility of last year's returns, monthly: risk parity without correlations."""
    if not history.due:
        return None
    return_RM, chosen = history.recent()
    return _normalised(_placed(1.0 / return_RM.std(axis=0), chosen, history)) if len(chosen) else None


def momentum(history: History) -> FloatArray | None:
    """The third of the assets with the highest return from twelve months to one month ago, equally, monthly.

    Jegadeesh & Titman 1993. Where the data begin later than twelve months ago, the return runs from a week after their
    beginning. Assets that began later than the return does are left out: they would be ranked on a shorter time.
    """
    if not history.due:
        return None
    now, dates_T = history.dates_T[-1], history.dates_T
    begin, end = history.bar_at(max(now - LOOKBACK, dates_T[0] + SETTLED)), history.bar_at(now - SKIPPED)
    enough_N = history.own_TN[begin : end + 1].sum(axis=0) >= FEWEST_OWN_BARS
    ranked = np.flatnonzero(history.listed_N & enough_N & history.own_TN[: begin + 1].any(axis=0))
    if len(ranked) == 0:
        return None
    gain_M = history.close_TN[end, ranked] / history.close_TN[begin, ranked]
    best = np.argsort(-gain_M, kind="stable")[: -(-len(ranked) // 3)]
    return _normalised(_placed(np.ones(len(best)), ranked[best], history))


def minimum_variance(history: History) -> FloatArray | None:
    """The long-only portfolio of least variance under last year's shrunk covariance, monthly (see ``covariance``)."""
    if not history.due:
        return None
    return_RM, chosen = history.recent()
    if len(chosen) == 0:
        return None
    return _placed(minimum_variance_weights(shrunk_correlation(return_RM), return_RM.std(axis=0)), chosen, history)


BASELINES: Mapping[str, Baseline] = MappingProxyType(
    {
        "cash": cash,
        "equal_weight": equal_weight,
        "buy_and_hold": buy_and_hold,
        "inverse_volatility": inverse_volatility,
        "momentum": momentum,
        "minimum_variance": minimum_variance,
    }
)
"""Every baseline of the report, in its order."""


def _equally(chosen_N: BoolArray) -> FloatArray | None:
    return _normalised(chosen_N.astype(np.float64))


def _placed(weight_M: FloatArray, chosen: IntArray, history: History) -> FloatArray:
    """The weights of some of the assets among all: (N,)."""
    weight_N = np.zeros(len(history.listed_N))
    weight_N[chosen] = weight_M
    return weight_N


def _normalised(weight_N: FloatArray) -> FloatArray | None:
    """Weights that sum to 1; None where there are none."""
    whole = weight_N.sum()
    return weight_N / whole if whole > 0 else None
