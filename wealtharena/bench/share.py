"""The arithmetic of a share of the optimum: paired in each episode, with the noise of the evaluation and of the seeds.

    share = (J - J_base) / (J* - J_base)

All three are measured on the same random numbers: what luck the prices of an episode bring falls out of the ratio.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import NormalDist

import numpy as np

from wealtharena.evidence.bootstrap import LEVEL, Interval
from wealtharena.evidence.track import FloatArray

_NORMAL_QUANTILE = NormalDist().inv_cdf((1 + LEVEL) / 2)
_FARTHEST, _GRID = 400.0, 1_000_001


@dataclass(frozen=True)
class Share:
    """A share measured in E episodes.

    Attributes:
        value: The ratio of the means.
        error: Its standard error over the episodes.
        gap: By how much the optimal policy scored better, on average.
        span: By how much the optimal policy scored better than the base, on average.
    """

    value: float
    error: float
    gap: float
    span: float

    @classmethod
    def of(cls, score_E: FloatArray, best_E: FloatArray, base_E: FloatArray) -> Share:
        """Scores of the team, of the optimal policy and of the base in the same episodes, at least two.

        The error is that of a ratio of means to first order (Cochran 1977, Sampling techniques, equation 6.5).

        Raises:
            ValueError: The optimal policy does not score better than the base, so there is nothing to have a share of.
        """
        gained_E, span_E = score_E - base_E, best_E - base_E
        span = float(span_E.mean())
        if not span > 0:
            raise ValueError(
                f"the optimal policy scored {best_E.mean():.6g} and the base {base_E.mean():.6g}: evaluate in more "
                "episodes, or choose another base"
            )
        value = float(gained_E.mean()) / span
        residual_E = gained_E - value * span_E
        error = float(residual_E.std(ddof=1)) / (span * math.sqrt(len(score_E)))
        return cls(value, error, float((best_E - score_E).mean()), span)


def over_seeds(shares: Sequence[Share]) -> Interval:
    """The mean share, with an interval for other seeds and other episodes.

    Each seed was evaluated in episodes of its own, so the scatter of the shares holds both kinds of luck: Student's
    interval over the seeds, which is as wide as few seeds deserve. One seed alone has the noise of its evaluation only.
    """
    values = np.array([share.value for share in shares])
    if len(values) == 1:
        half = _NORMAL_QUANTILE * shares[0].error
    else:
        half = student_quantile(len(values) - 1) * float(values.std(ddof=1)) / math.sqrt(len(values))
    mean = float(values.mean())
    return Interval(mean, mean - half, mean + half)


@functools.cache
def student_quantile(freedom: int) -> float:
    """The quantile of Student's distribution for a two-sided 95% interval, by integration of its density.

    Examples: 12.706 for 1 degree of freedom, 2.776 for 4, 2.262 for 9.
    """
    x = np.linspace(0.0, _FARTHEST, _GRID)
    log_constant = math.lgamma((freedom + 1) / 2) - math.lgamma(freedom / 2) - 0.5 * math.log(freedom * math.pi)
    density = np.exp(log_constant - (freedom + 1) / 2 * np.log1p(x**2 / freedom))
    middle = (density[1:] + density[:-1]) * 0.5 * (x[1] - x[0])
    return float(np.interp(LEVEL / 2, np.concatenate([[0.0], middle.cumsum()]), x))


@dataclass(frozen=True)
class Point:
    """How far a run had come when its greedy policy was tried."""

    env_steps: int
    seconds: float
    share: float


def reached(curve: Sequence[Point], share: float) -> Point | None:
    """The first point of a curve at or above ``share``; None if there is none."""
    return next((point for point in curve if point.share >= share), None)


def typical(values: Sequence[float | None]) -> float | None:
    """The median over the seeds, where one that never got there counts as the last; None if that is the median."""
    ranked = sorted(math.inf if value is None else value for value in values)
    middle = ranked[len(ranked) // 2]
    return None if math.isinf(middle) else middle
