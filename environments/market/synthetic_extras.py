"""The extra columns of a made-up market: interest rates, and what follows from them and from prices.

Of currencies, each an AR(1) of its own that knows nothing of prices: ``carry``, ``rate_differential``,
``inflation_differential``, ``growth_differential``. Of REITs: a ``bond_yield`` y that all of them share and that falls
in the bars in which they rise, and the ``dividend_yield`` of a dividend that stays what it was,

    y_t = MEAN + x_t,  x_t = PULL x_t-1 + STEP (e_t - mean of r_nt / v_nt over those that trade),  e standard normal
    d_nt = DIVIDEND / exp(sum of returns so far)

What is written at bar t is known at its close. None of it foretells returns beyond what past prices do.
"""

from __future__ import annotations

import numpy as np

from environments.market.alignment import Bools, Floats
from environments.market.synthetic_params import SyntheticParams
from environments.market.synthetic_paths import Paths, ar1

DIFFERENTIALS = ("carry", "rate_differential", "inflation_differential", "growth_differential")
SPREAD, PERSISTENCE = 0.02, 0.995  # of a differential: standard deviation, and what is left of it after a bar
MEAN, PULL, STEP, DIVIDEND = 0.03, 0.998, 0.0004, 0.04
STREAMS = (*DIFFERENTIALS, "bond_yield")


def extra_columns(params: SyntheticParams, paths: Paths, seed: np.random.SeedSequence) -> dict[str, Floats]:
    """Column -> float64 (T, N), NaN for assets of other classes; no column of a class that is not there."""
    rng = {name: np.random.default_rng(part) for name, part in zip(STREAMS, seed.spawn(len(STREAMS)), strict=True)}
    columns: dict[str, Floats] = {}
    currencies_N, reits_N = (_members(params, paths, name) for name in ("currencies", "reits"))
    if currencies_N.any():
        columns |= {name: np.where(currencies_N, _differential(paths, rng[name]), np.nan) for name in DIFFERENTIALS}
    if reits_N.any():
        columns["bond_yield"] = np.where(reits_N, _bond_yield_T1(paths, reits_N, rng["bond_yield"]), np.nan)
        columns["dividend_yield"] = np.where(reits_N, DIVIDEND / np.exp(paths.return_TN.cumsum(axis=0)), np.nan)
    return columns


def _members(params: SyntheticParams, paths: Paths, asset_class: str) -> Bools:
    names_C = np.array(list(params.assets))
    mine_N: Bools = names_C[paths.class_N] == asset_class
    return mine_N


def _differential(paths: Paths, rng: np.random.Generator) -> Floats:
    start_N = rng.standard_normal(len(paths.class_N))
    return SPREAD * ar1(rng.standard_normal(paths.return_TN.shape), PERSISTENCE, paths.own_TN, start_N)


def _bond_yield_T1(paths: Paths, reits_N: Bools, rng: np.random.Generator) -> Floats:
    trading_T1 = np.maximum((paths.own_TN & reits_N).sum(axis=1, keepdims=True), 1)
    risen_T1 = np.where(reits_N, paths.return_TN / paths.volatility_TN, 0.0).sum(axis=1, keepdims=True) / trading_T1
    step_T1 = STEP * (rng.standard_normal(risen_T1.shape) - risen_T1)
    away_T1 = np.empty_like(step_T1)
    away = np.zeros(1)
    for t, step in enumerate(step_T1):
        away_T1[t] = away = PULL * away + step
    return MEAN + away_T1
