"""The returns of a made-up market whose predictable part is known, so that a score can be held against it.

On its own bar t, asset n of class c has the log return (everything but the parameters is per asset and own bar)

    r_t   = v_t (sqrt(R) g_t + sqrt(1 - R) u_t) - v_t^2 (1 - R) / 2     R = predictability
    g_t   = sqrt(1 - w) s_t + sqrt(w) d(regime_t)                       w = regime_share
    s_t+1 = p s_t + sqrt(1 - p^2) u_t                                   p = persistence
    u_t   = (z_t + k b_t j_t) / sqrt(1 + l k^2)                         l, k = jump_rate, jump_size
    z_t   = sqrt(a) M_t + sqrt(1 - a) (sqrt(q) S_ct + sqrt(1 - q) e_t)  a, q = market, sector
    log v_t = log(base_n x VOLATILITY_R[regime_t]) + h_t                h an AR(1) of its own

M, S, e and j are standard normal and b is 1 with probability l. The regime is a Markov chain that all share; in bear
and crisis volatility is higher (VOLATILITY_R) and the market's part a larger (MARKET_R). u does not depend on the past;
u, s and g have unit variance (d, and so g, weighted by v^2, as it enters r). So g explains the share R of the variance
of r. The last term, of second order, makes the price a fair game where R is 0, and not its logarithm.

s is a weighted sum of the asset's own past surprises: whoever sees past prices can work it out. The drift d of the
hidden regime can only be guessed.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from environments.market.alignment import Bools, Floats, Ints
from environments.market.synthetic_params import SyntheticParams

REGIMES = ("calm", "bull", "bear", "crisis")
TRANSITION_RR = np.array(
    [
        [0.980, 0.012, 0.006, 0.002],
        [0.012, 0.980, 0.006, 0.002],
        [0.012, 0.006, 0.970, 0.012],
        [0.020, 0.010, 0.040, 0.930],
    ]
)
VOLATILITY_R = np.array([0.8, 0.9, 1.3, 2.5])
MARKET_R = np.array([1.0, 1.0, 1.3, 1.8])
DRIFT_R = np.array([0.0, 1.0, -1.0, -1.5])
MAX_MARKET = 0.9
VOLATILITY_PERSISTENCE = 0.97
VOLATILITY_SPREAD = 0.3  # standard deviation of h
ASSET_SPREAD = 0.25  # standard deviation of log(base_n) around its class
HOLIDAYS = ("01-01", "12-25")
STREAMS = ("asset", "regime", "market", "sector", "own", "jump", "size", "volatility", "signal")


@dataclass(frozen=True)
class Paths:
    """What happened, and what the panel hides. N assets in the order of ``SyntheticParams.assets``.

    Attributes:
        dates_T: datetime64[D].
        class_N: int64, index into the classes of ``SyntheticParams.assets``.
        own_TN: bool, the asset trades at this date.
        return_TN: float64, r, close to close since the last own bar; 0 where it does not trade.
        expected_TN: float64, the predictable part of it, v sqrt(R) g; 0 where it does not trade.
        volatility_TN: float64, v.
        regime_T: int64, index into ``REGIMES``.
    """

    dates_T: npt.NDArray[np.datetime64]
    class_N: Ints
    own_TN: Bools
    return_TN: Floats
    expected_TN: Floats
    volatility_TN: Floats
    regime_T: Ints


def simulate(params: SyntheticParams) -> Paths:
    """Draws the paths. Every kind of draw has a generator of its own, so more bars leave the earlier ones alone."""
    seeds = np.random.SeedSequence(params.seed).spawn(len(STREAMS))
    rng = {name: np.random.default_rng(seed) for name, seed in zip(STREAMS, seeds, strict=True)}
    class_N = np.repeat(np.arange(len(params.assets)), list(params.assets.values()))
    dates_T, own_TN = _calendar(params, class_N)
    regime_T = _regimes(params.bars, rng["regime"])
    volatility_TN = _volatility(params, class_N, own_TN, regime_T, rng)
    surprise_TN = _surprises(params, class_N, regime_T, rng)
    signal_TN = ar1(surprise_TN, params.persistence, own_TN, rng["signal"].standard_normal(len(class_N)))
    drift_T1 = _drift()[regime_T][:, None]
    known_TN = np.sqrt(1 - params.regime_share) * signal_TN + np.sqrt(params.regime_share) * drift_T1
    expected_TN = own_TN * volatility_TN * np.sqrt(params.predictability) * known_TN
    spread_TN = volatility_TN * np.sqrt(1 - params.predictability)
    return Paths(
        dates_T=dates_T,
        class_N=class_N,
        own_TN=own_TN,
        return_TN=expected_TN + own_TN * (spread_TN * surprise_TN - spread_TN**2 / 2),
        expected_TN=expected_TN,
        volatility_TN=volatility_TN,
        regime_T=regime_T,
    )


def ar1(shock_TN: Floats, persistence: float, own_TN: Bools, start_N: Floats) -> Floats:
    """A unit-variance AR(1) per asset that moves on its own bars: float64 (T, N), the state *before* bar t's shock."""
    state_TN = np.empty_like(shock_TN)
    state_N = start_N
    gain = np.sqrt(1 - persistence**2)
    for t, shock_N in enumerate(shock_TN):
        state_TN[t] = state_N
        state_N = np.where(own_TN[t], persistence * state_N + gain * shock_N, state_N)
    return state_TN


def per_asset(params: SyntheticParams, class_N: Ints, trait: str) -> Floats:
    """A trait of ``ClassParams`` for each asset: float64 (N,)."""
    trait_C = np.array([getattr(params.character(name), trait) for name in params.assets], dtype=np.float64)
    return trait_C[class_N]


def _calendar(params: SyntheticParams, class_N: Ints) -> tuple[npt.NDArray[np.datetime64], Bools]:
    """The first T days on which a class trades, and who trades on them: (T,), (T, N)."""
    # Two closed days in seven and two a year: twice the days, and a week, is always enough.
    day_D = np.datetime64(params.start, "D") + np.arange(2 * params.bars + 7)
    open_D = np.is_busday(day_D)
    if params.holidays:
        month_day_D = np.array([str(day)[5:] for day in day_D])
        open_D &= ~np.isin(month_day_D, HOLIDAYS)
    weekends_N = per_asset(params, class_N, "weekends") > 0
    own_DN = open_D[:, None] | weekends_N
    used_T = np.flatnonzero(own_DN.any(axis=1))[: params.bars]
    return day_D[used_T], own_DN[used_T]


def _stationary() -> Floats:
    """The long-run share of each regime: the left eigenvector of the transition matrix."""
    equations = np.vstack([TRANSITION_RR.T - np.eye(len(REGIMES)), np.ones(len(REGIMES))])
    share_R: Floats = np.linalg.lstsq(equations, np.append(np.zeros(len(REGIMES)), 1.0))[0]
    return share_R


def _drift() -> Floats:
    """d: mean 0 and unit variance in the long run, both weighted as they enter returns (times v)."""
    share_R = _stationary()
    drift_R = DRIFT_R - (share_R * VOLATILITY_R) @ DRIFT_R / (share_R @ VOLATILITY_R)
    variance_R = share_R * VOLATILITY_R**2
    scaled_R: Floats = drift_R * np.sqrt(variance_R.sum() / (variance_R @ drift_R**2))
    return scaled_R


def _regimes(bars: int, rng: np.random.Generator) -> Ints:
    cumulative_RR = TRANSITION_RR.cumsum(axis=1)
    regime_T = np.zeros(bars, dtype=np.int64)
    for t, uniform in enumerate(rng.random(bars - 1)):
        regime_T[t + 1] = min(np.searchsorted(cumulative_RR[regime_T[t]], uniform), len(REGIMES) - 1)
    return regime_T


def _volatility(
    params: SyntheticParams, class_N: Ints, own_TN: Bools, regime_T: Ints, rng: dict[str, np.random.Generator]
) -> Floats:
    assets = len(class_N)
    base_N = per_asset(params, class_N, "volatility") * np.exp(ASSET_SPREAD * rng["asset"].standard_normal(assets))
    start_N = rng["asset"].standard_normal(assets)
    shock_TN = rng["volatility"].standard_normal(own_TN.shape)
    swing_TN = ar1(shock_TN, VOLATILITY_PERSISTENCE, own_TN, start_N)
    volatility_TN: Floats = base_N * VOLATILITY_R[regime_T][:, None] * np.exp(VOLATILITY_SPREAD * swing_TN)
    return volatility_TN


def _surprises(params: SyntheticParams, class_N: Ints, regime_T: Ints, rng: dict[str, np.random.Generator]) -> Floats:
    """u: unit variance, independent of everything before."""
    shape = (params.bars, len(class_N))
    market_N, sector_N, rate_N, size_N = (
        per_asset(params, class_N, trait) for trait in ("market", "sector", "jump_rate", "jump_size")
    )
    market_TN = np.minimum(market_N * MARKET_R[regime_T][:, None], np.maximum(market_N, MAX_MARKET))
    class_TN = rng["sector"].standard_normal((params.bars, len(params.assets)))[:, class_N]
    rest_TN = np.sqrt(sector_N) * class_TN + np.sqrt(1 - sector_N) * rng["own"].standard_normal(shape)
    smooth_TN = np.sqrt(market_TN) * rng["market"].standard_normal((params.bars, 1)) + np.sqrt(1 - market_TN) * rest_TN
    jump_TN = (rng["jump"].random(shape) < rate_N) * size_N * rng["size"].standard_normal(shape)
    surprise_TN: Floats = (smooth_TN + jump_TN) / np.sqrt(1 + rate_N * size_N**2)
    return surprise_TN
