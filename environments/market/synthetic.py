"""A made-up market as a data vendor would show it: bars of open, high, low, close and volume."""

from __future__ import annotations

import numpy as np
import pandas as pd

from environments.market.alignment import Floats, Ints
from environments.market.panel import Panel, panel_from_frame
from environments.market.synthetic_extras import extra_columns
from environments.market.synthetic_params import SyntheticParams
from environments.market.synthetic_paths import Paths, per_asset, simulate

__all__ = ["SyntheticParams", "generate"]

PRICE_SPREAD = 0.5  # standard deviation of the logarithm of an asset's first price, and of its turnover
VOLUME_NOISE = 0.3
STREAMS = ("asset", "gap", "high", "low", "volume", "start")


def generate(params: SyntheticParams) -> Panel:
    """Draws the paths of ``simulate(params)`` and bars around them.

    The asset ``STOCKS01`` is the first of class stocks, and so on. A bar's close follows from the path. Its open lies
    on a Brownian bridge from the last close to this one; high and low are the extremes of a Brownian bridge from open
    to close (each exact in law, drawn apart). Volume grows with volatility and with the size of the return. With
    ``extras`` there are the columns of ``synthetic_extras`` too.
    """
    paths = simulate(params)
    # Apart from the streams of the paths, so that bars are dressed without touching returns.
    seeds = np.random.SeedSequence(params.seed, spawn_key=(1,)).spawn(len(STREAMS))
    rng = {name: np.random.default_rng(seed) for name, seed in zip(STREAMS, seeds, strict=True)}
    columns = _bars(params, paths, rng)
    if params.extras:
        columns |= extra_columns(params, paths, np.random.SeedSequence(params.seed, spawn_key=(2,)))
    first_N = _first_bars(params, len(paths.class_N), rng["start"])
    bar, asset = np.nonzero(paths.own_TN & (np.arange(params.bars)[:, None] >= first_N))
    symbols = [f"{name.upper()}{i + 1:02d}" for name, count in params.assets.items() for i in range(count)]
    frame = pd.DataFrame(
        {
            "date": paths.dates_T[bar].astype("datetime64[s]"),
            "symbol": np.array(symbols)[asset],
            "asset_class": np.array(list(params.assets))[paths.class_N[asset]],
            **{name: value_TN[bar, asset] for name, value_TN in columns.items()},
        }
    )
    return panel_from_frame(frame, origin="synthetic data")


def _bars(params: SyntheticParams, paths: Paths, rng: dict[str, np.random.Generator]) -> dict[str, Floats]:
    """The five columns of a bar, each float64 (T, N); rows of bars that an asset does not have mean nothing."""
    shape = paths.return_TN.shape
    price_N, turnover_N, overnight_N = (
        per_asset(params, paths.class_N, trait) for trait in ("price", "turnover", "overnight")
    )
    spread_N = np.exp(PRICE_SPREAD * rng["asset"].standard_normal((2, shape[1])))
    log_close_TN = np.log(price_N * spread_N[0]) + paths.return_TN.cumsum(axis=0)
    bridge_TN = paths.volatility_TN * np.sqrt(overnight_N * (1 - overnight_N)) * rng["gap"].standard_normal(shape)
    log_open_TN = log_close_TN - (1 - overnight_N) * paths.return_TN + bridge_TN
    reach_TN = 2 * paths.volatility_TN**2 * (1 - overnight_N)
    return {
        "open": np.exp(log_open_TN),
        "high": np.exp(_extreme(log_open_TN, log_close_TN, reach_TN, rng["high"])),
        "low": np.exp(-_extreme(-log_open_TN, -log_close_TN, reach_TN, rng["low"])),
        "close": np.exp(log_close_TN),
        "volume": turnover_N * spread_N[1] / np.exp(log_close_TN[0]) * _bustle(params, paths, rng["volume"]),
    }


def _extreme(start_TN: Floats, end_TN: Floats, reach_TN: Floats, rng: np.random.Generator) -> Floats:
    """The highest point of a Brownian bridge of variance ``reach_TN`` / 2, by inversion of its distribution.

    P(max > m) = exp(-4 (m - start)(m - end) / reach) (Karatzas and Shreve, Brownian Motion, section 4.3).
    """
    uniform_TN = 1.0 - rng.random(start_TN.shape)
    root_TN = np.sqrt((end_TN - start_TN) ** 2 - reach_TN * np.log(uniform_TN))
    extreme_TN: Floats = (start_TN + end_TN + root_TN) / 2
    return extreme_TN


def _bustle(params: SyntheticParams, paths: Paths, rng: np.random.Generator) -> Floats:
    """How much more than usual is traded: 1 in a typical bar."""
    usual_N = per_asset(params, paths.class_N, "volatility")
    surprise_TN = np.minimum(np.abs(paths.return_TN) / paths.volatility_TN, 4.0)
    noise_TN = VOLUME_NOISE * rng.standard_normal(surprise_TN.shape)
    bustle_TN: Floats = paths.volatility_TN / usual_N * np.exp(0.3 * (surprise_TN - 1.0) + noise_TN)
    return bustle_TN


def _first_bars(params: SyntheticParams, assets: int, rng: np.random.Generator) -> Ints:
    """The bar from which each asset is shown: 0, or for those that list late one in the first half: int64 (N,)."""
    late_N = rng.permutation(assets) < round(params.late_start * assets)
    return np.where(late_N, rng.integers(1, params.bars // 2 + 1, size=assets), 0)
