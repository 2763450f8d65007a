"""What interest rates mean to an asset: its sensitivity to a bond's yield, its own yield beside it, its drawdown."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import talib

from environments.market.alignment import Floats
from environments.market.features.base import CLIP, DEVIATIONS, AssetBars, Feature
from environments.market.features.technical import of_each
from environments.market.series import FLOOR, change, expanding_score, highest, mean

YEARS = 10.0


def _together(one_BS: Floats, other_BS: Floats) -> Floats:
    """Covariance over 60 bars."""
    return mean(one_BS * other_BS, 60) - mean(one_BS, 60) * mean(other_BS, 60)


def _beta(own: AssetBars) -> Floats:
    yield_BS = change(own.columns["bond_yield"], 1)
    return _together(own.return_BS, yield_BS) / np.maximum(_together(yield_BS, yield_BS), FLOOR**2) / YEARS


def _correlation(own: AssetBars) -> Floats:
    yield_BS = change(own.columns["bond_yield"], 1)
    sizes = (np.sqrt(np.maximum(_together(x_BS, x_BS), FLOOR**2)) for x_BS in (own.return_BS, yield_BS))
    return _together(own.return_BS, yield_BS) / np.prod([*sizes], axis=0)


def _spread(own: AssetBars) -> Floats:
    return own.columns["dividend_yield"] - own.columns["bond_yield"]


RATE_SENSITIVITY: Mapping[str, Feature[AssetBars]] = {
    "rate_beta_60": Feature(
        "cov(r, y) / var(y) / 10, 60 bars, r the return, y the change of bond_yield",
        "10 years of duration, with the sign of the return as yields rise",
        -CLIP,
        CLIP,
        _beta,
        ("bond_yield",),
    ),
    "rate_correlation_60": Feature(
        "correlation of r and y, 60 bars", "1 rises as yields rise", -1.0, 1.0, _correlation, ("bond_yield",)
    ),
    "rate_change_20": Feature(
        "(bond_yield - bond_yield 20 bars ago) / 1%",
        "1% a year",
        -CLIP,
        CLIP,
        lambda own: change(own.columns["bond_yield"], 20) / 0.01,
        ("bond_yield",),
    ),
}

YIELD_SPREAD: Mapping[str, Feature[AssetBars]] = {
    "yield_spread": Feature(
        "(dividend_yield - bond_yield) / 5%",
        "5% a year",
        -CLIP,
        CLIP,
        lambda own: _spread(own) / 0.05,
        ("dividend_yield", "bond_yield"),
    ),
    "yield_spread_score": Feature(
        "(x - mean so far) / standard deviation so far, x = dividend_yield - bond_yield",
        DEVIATIONS,
        -CLIP,
        CLIP,
        lambda own: expanding_score(_spread(own)),
        ("dividend_yield", "bond_yield"),
    ),
}

DRAWDOWNS: Mapping[str, Feature[AssetBars]] = {
    "drawdown_250": Feature(
        "log(close / highest high of 250 bars) / (v20 sqrt(250))",
        DEVIATIONS,
        -CLIP,
        0.0,
        lambda own: own.scaled(own.close_BS - highest(own.high_BS, 250), 250),
    ),
    "drawdown_length_250": Feature(
        "bars since the highest high of 251 bars / 250",
        "250 bars",
        0.0,
        1.0,
        lambda own: of_each(own, lambda high_B, low_B, _: 1.0 - talib.AROON(high_B, low_B, 250)[1] / 100),
    ),
}
