"""How sure a result is: intervals by the stationary block bootstrap (Politis & Romano 1994, JASA 89, 1303-1313).

Bars are drawn in blocks of geometric length that wrap around the end, so that resamples keep short-run dependence
(momentum, volatility clustering) and are stationary. The expected block is T^(1/3) bars, the rate that minimises the
error of the variance estimate (Hall, Horowitz & Jing 1995). Intervals are percentile intervals. Two tracks are
resampled with the same bars (paired), so what moves both of them cancels.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass

import numpy as np

from wealtharena.evidence.metrics import SPREADLESS, annual_return, excess_returns, sharpe, volatility
from wealtharena.evidence.track import FloatArray, IntArray, Track

LEVEL = 0.95
RESAMPLES = 2000
SEED = 20_240_607
FEWEST_BARS = 20
"""Below this no interval is given: there is too little to resample."""

NO_DRAWS = np.empty(0)

ABOVE, BELOW, SAME = "above", "below", "not distinguishable"


@dataclass(frozen=True)
class Interval:
    """A value with its 95% interval; None where undefined, or where there are too few bars for an interval."""

    value: float | None
    low: float | None = None
    high: float | None = None

    @property
    def verdict(self) -> str:
        """Whether zero lies outside: ``above`` zero, ``below`` zero, or ``not distinguishable`` from it."""
        if self.low is not None and self.low > 0:
            return ABOVE
        return BELOW if self.high is not None and self.high < 0 else SAME

    def as_dict(self, *, verdict: bool = False) -> dict[str, float | str | None]:
        """As it is written to ``evaluation.json``."""
        return asdict(self) | ({"verdict": self.verdict} if verdict else {})


def block_length(bars: int) -> int:
    """Expected length of a block: T^(1/3), rounded, at least 1."""
    return max(1, round(bars ** (1 / 3)))


def resample(bars: int, *, block: int, resamples: int = RESAMPLES, seed: int = SEED) -> IntArray:
    """Draws indices of bars: (resamples, T).

    Each next index is the one after the last (around the end), or with probability 1 / ``block`` a fresh uniform one.
    """
    random = np.random.default_rng(seed)
    starts = random.random((resamples, bars)) < 1.0 / block
    starts[:, 0] = True
    fresh = random.integers(bars, size=(resamples, bars))
    place = np.arange(bars)
    latest_start = np.maximum.accumulate(np.where(starts, place, 0), axis=1)
    return (np.take_along_axis(fresh, latest_start, axis=1) + place - latest_start) % bars


def interval(value: float | None, draws: FloatArray) -> Interval:
    """The percentile interval around the ``value`` of the sample itself; undefined draws are left out."""
    known = draws[np.isfinite(draws)]
    if value is None or len(known) == 0:
        return Interval(value)
    low, high = np.quantile(known, [(1 - LEVEL) / 2, (1 + LEVEL) / 2])
    return Interval(value, float(low), float(high))


def mean_interval(values: FloatArray, seed: int = SEED) -> Interval:
    """Mean of independent values (episodes, seeds) with its bootstrap interval; none for fewer than two values."""
    if len(values) < 2:
        return Interval(float(values.mean()) if len(values) else None)
    drawn = values[resample(len(values), block=1, seed=seed)]
    return interval(float(values.mean()), drawn.mean(axis=1))


def intervals(track: Track, cash_rate: float = 0.0) -> dict[str, Interval]:
    """Annual return, Sharpe and volatility of one track, each with its interval."""
    draws = _draws(track, cash_rate)
    return {name: interval(value, draws.get(name, NO_DRAWS)) for name, value in _values(track, cash_rate).items()}


def difference(team: Track, other: Track, cash_rate: float = 0.0) -> dict[str, Interval]:
    """``annual_return`` and ``sharpe`` of the team minus another track over the same bars, paired.

    Raises:
        ValueError: The two tracks do not cover the same dates.
    """
    if not np.array_equal(team.dates, other.dates):
        raise ValueError(
            f"tracks {team.name!r} and {other.name!r} cover different dates: compare tracks of one evaluation"
        )
    ours, theirs = _values(team, cash_rate), _values(other, cash_rate)
    our_draws, their_draws = _draws(team, cash_rate), _draws(other, cash_rate)
    return {
        name: interval(
            _minus(ours[name], theirs[name]), our_draws.get(name, NO_DRAWS) - their_draws.get(name, NO_DRAWS)
        )
        for name in ("annual_return", "sharpe")
    }


def _minus(left: float | None, right: float | None) -> float | None:
    return None if left is None or right is None else left - right


def _values(track: Track, cash_rate: float) -> dict[str, float | None]:
    return {
        "annual_return": annual_return(float(track.nav[-1] / track.nav[0]), track.years),
        "sharpe": sharpe(excess_returns(track, cash_rate), track.years),
        "volatility": volatility(track.returns_T, track.years),
    }


def _draws(track: Track, cash_rate: float) -> dict[str, FloatArray]:
    """The same of every resample; nothing for a short track. Tracks of one length are drawn alike: paired."""
    bars, years = len(track.returns_T), track.years
    if bars < FEWEST_BARS or years <= 0:
        return {}
    index = resample(bars, block=block_length(bars))
    excess, deviation = excess_returns(track, cash_rate)[index], track.returns_T[index].std(axis=1, ddof=1)
    scatter = excess.std(axis=1, ddof=1)
    log_growth = np.log1p(np.maximum(track.returns_T, -1.0 + 1e-12))[index].sum(axis=1)
    return {
        "annual_return": np.expm1(np.minimum(log_growth / years, 700.0)),
        "sharpe": excess.mean(axis=1) / np.where(scatter > SPREADLESS, scatter, np.nan) * np.sqrt(bars / years),
        "volatility": deviation * np.sqrt(bars / years),
    }
