"""How sure a result is: intervals by the stationary block bootstrap (Politis & Romano 1994, JASA 89, 1303-1313).

Bars are drawn in blocks of geometric length that wrap around the end, so that resamples keep short-run dependence
(momentum, volatility clustering) and are stationary. The expected block is T^(1/3) bars, the rate that minimises the
error of the variance estimate (Hall, Horowitz & Jing 1995). Intervals are percentile intervals. Two tracks are
resampled with the same bars (paired), so what moves both of them cancels.

Measured on 200 simulated series each, the 95% interval of a Sharpe ratio covers the true one in 92 to 97% of them for
independent bars and for volatility clusters (GARCH), from 120 bars on. Where returns have an autocorrelation of 0.4 it
does in 88% at 120 and at 250 bars, and in 94% at 750.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass

import numpy as np

from wealtharena.evidence.metrics import SPREADLESS, annual_return, excess_returns, sharpe, volatility
from wealtharena.evidence.track import DateArray, FloatArray, IntArray, Track

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


@dataclass(frozen=True)
class Resampled:
    """``annual_return``, ``sharpe`` and ``volatility`` of a track, and of each resample of its bars.

    Attributes:
        name: The track's.
        dates: The track's.
        values: Of the track itself; None where undefined.
        draws: (resamples,) of each; nothing for a track that is too short.
    """

    name: str
    dates: DateArray
    values: Mapping[str, float | None]
    draws: Mapping[str, FloatArray]

    @classmethod
    def of(cls, track: Track, cash_rate: float = 0.0) -> Resampled:
        """Resamples a track. Tracks of one length are all resampled alike, and so are paired."""
        values = {
            "annual_return": annual_return(float(track.nav[-1] / track.nav[0]), track.years),
            "sharpe": sharpe(excess_returns(track, cash_rate), track.years),
            "volatility": volatility(track.returns_T, track.years),
        }
        return cls(track.name, track.dates, values, _draws(track, cash_rate))

    def intervals(self) -> dict[str, Interval]:
        """Each of the values with its interval."""
        return {name: interval(value, self.draws.get(name, NO_DRAWS)) for name, value in self.values.items()}

    def minus(self, other: Resampled) -> dict[str, Interval]:
        """Differences of ``annual_return`` and ``sharpe`` from another track over the same bars, draw by draw.

        Raises:
            ValueError: The two tracks do not cover the same dates.
        """
        if not np.array_equal(self.dates, other.dates):
            raise ValueError(
                f"tracks {self.name!r} and {other.name!r} cover different dates: compare tracks of one evaluation"
            )
        return {
            name: interval(
                _minus(self.values[name], other.values[name]),
                self.draws.get(name, NO_DRAWS) - other.draws.get(name, NO_DRAWS),
            )
            for name in ("annual_return", "sharpe")
        }


def _minus(left: float | None, right: float | None) -> float | None:
    return None if left is None or right is None else left - right


def _draws(track: Track, cash_rate: float) -> dict[str, FloatArray]:
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
