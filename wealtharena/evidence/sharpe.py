"""How far to trust a Sharpe ratio: its standard error, how sure it is above zero, and what many tries do to it.

Ratios are per bar, as in the papers, but for what ``confidence`` and ``as_best_of`` return, which is per year. The
formulas take skew and fat tails into account but suppose that bars are independent; the intervals of ``bootstrap`` do
not, and stand beside them.

- Lo (2002), The statistics of Sharpe ratios, Financial Analysts Journal 58(4): the error for normal returns.
- Mertens (2002), Comments on variance of the IID estimator in Lo (2002): the error with skew and kurtosis.
- Bailey & Lopez de Prado (2012), The Sharpe ratio efficient frontier, Journal of Risk 15(2): probability, track record.
- Bailey & Lopez de Prado (2014), The deflated Sharpe ratio, Journal of Portfolio Management 40(5): many tries.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from statistics import NormalDist

import numpy as np

from wealtharena.evidence.bootstrap import FEWEST_BARS, LEVEL
from wealtharena.evidence.metrics import SPREADLESS, defined, excess_returns
from wealtharena.evidence.track import FloatArray, Track

NORMAL = NormalDist()
EULER = 0.5772156649015329


@dataclass(frozen=True)
class Estimate:
    """A Sharpe ratio and what bears on its error.

    Attributes:
        ratio: Mean over standard deviation of the excess returns, per bar.
        skew: Third standardised moment of them; 0 for a normal distribution.
        kurtosis: Fourth standardised moment; 3 for a normal distribution.
        bars: How many there were, at least 2.
    """

    ratio: float
    skew: float
    kurtosis: float
    bars: int

    @property
    def error(self) -> float:
        """Standard error per bar: sqrt((1 - skew SR + (kurtosis - 1) / 4 SR^2) / (T - 1)) (Mertens 2002)."""
        return math.sqrt(self._spread / (self.bars - 1))

    @property
    def _spread(self) -> float:
        """Variance of sqrt(T - 1) times the ratio. Never negative, since kurtosis >= 1 + skew^2, but for rounding."""
        return max(0.0, 1.0 - self.skew * self.ratio + (self.kurtosis - 1.0) / 4.0 * self.ratio**2)

    def above(self, benchmark: float) -> float | None:
        """Probabilistic Sharpe ratio (2012): confidence that the true ratio is above ``benchmark``, per bar.

        Returns:
            From 0 to 1; None where the error is zero.
        """
        return NORMAL.cdf((self.ratio - benchmark) / self.error) if self.error > 0 else None

    def bars_needed(self, benchmark: float, level: float = LEVEL) -> float | None:
        """Minimum track record length (2012): bars after which ``above`` would reach ``level``.

        Returns:
            Bars, with a fraction; None where the ratio is not above ``benchmark``: no record would be long enough.
        """
        if self.ratio <= benchmark:
            return None
        return 1.0 + self._spread * (NORMAL.inv_cdf(level) / (self.ratio - benchmark)) ** 2


def estimate(excess_T: FloatArray) -> Estimate | None:
    """Sharpe ratio and moments of (T,) excess returns; None below ``FEWEST_BARS``, or where they are constant."""
    if len(excess_T) < FEWEST_BARS or float(np.std(excess_T, ddof=1)) <= SPREADLESS:
        return None
    standard_T = (excess_T - excess_T.mean()) / excess_T.std()
    return Estimate(
        ratio=float(excess_T.mean() / excess_T.std(ddof=1)),
        skew=float(np.mean(standard_T**3)),
        kurtosis=float(np.mean(standard_T**4)),
        bars=len(excess_T),
    )


def best_by_luck(trials: int, spread: float) -> float:
    """Sharpe ratio that the best of some independent trials is expected to show without any skill (2014).

    Args:
        trials: How many were run. One alone is expected to show 0.
        spread: Standard deviation of their Sharpe ratios.

    Raises:
        ValueError: There were no trials.
    """
    if trials < 1:
        raise ValueError(f"trials={trials}: count at least the one that was run")
    if trials == 1:
        return 0.0
    nearly, further = (NORMAL.inv_cdf(1.0 - 1.0 / count) for count in (trials, trials * math.e))
    return spread * ((1.0 - EULER) * nearly + EULER * further)


def deflated(found: Estimate, trials: int, spread: float) -> float | None:
    """Deflated Sharpe ratio (2014): confidence that the ratio is above what luck gives the best of the trials.

    Args:
        found: The best of the trials.
        trials: How many were run.
        spread: Standard deviation of their Sharpe ratios, per bar.
    """
    return found.above(best_by_luck(trials, spread))


def confidence(track: Track, cash_rate: float = 0.0) -> dict[str, float | None]:
    """What stands beside a track's Sharpe ratio.

    Returns:
        ``sharpe_error``, its standard error, a year; ``psr``, the confidence (0 to 1) that it is above zero;
        ``track_years``, how many years at this ratio make that confidence 95%. None where undefined.
    """
    found, years = estimate(excess_returns(track, cash_rate)), track.years
    if found is None or years <= 0:
        return dict.fromkeys(("sharpe_error", "psr", "track_years"))
    needed = found.bars_needed(0.0)
    return {
        "sharpe_error": defined(found.error * math.sqrt(found.bars / years)),
        "psr": found.above(0.0),
        "track_years": None if needed is None else defined(needed * years / found.bars),
    }


def as_best_of(found: Estimate | None, count: int, years: float) -> dict[str, float | None]:
    """A track's Sharpe ratio, seen as the best of so many trials.

    The Sharpe ratios of the other trials are not known here; they are taken to spread as those of independent trials
    without skill do over as many bars: 1 / sqrt(T - 1) (Lo 2002, at a ratio of 0).

    Returns:
        ``count``; ``luck``, the Sharpe ratio a year that the best is expected to show without skill; ``dsr``, the
        confidence (0 to 1) that the true one is above it. None where undefined.
    """
    if found is None or years <= 0:
        return {"count": count, "luck": None, "dsr": None}
    spread = 1.0 / math.sqrt(found.bars - 1)
    luck = best_by_luck(count, spread) * math.sqrt(found.bars / years)
    return {"count": count, "luck": defined(luck), "dsr": deflated(found, count, spread)}
