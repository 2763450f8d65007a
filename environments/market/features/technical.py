"""Technical indicators, as TA-Lib computes them: bar by bar, from an asset's first own bar on."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np
import talib

from environments.market.alignment import Floats
from environments.market.features.base import CLIP, POWERS, AssetBars, Feature
from environments.market.series import FLOOR

Indicator = Callable[[Floats, Floats, Floats], Floats]
"""Highs, lows and closes of one asset, (B,) each -> (B,), NaN where history is missing."""


def of_each(own: AssetBars, indicator: Indicator) -> Floats:
    """An indicator of each asset, in units of its first close: TA-Lib takes what is below 1e-14 for nothing."""
    value_BS = np.full_like(own.close_BS, np.nan)
    bars_S = np.isfinite(own.close_BS).sum(axis=0)
    prices = [np.exp(log_BS - own.close_BS[0]).T.copy() for log_BS in (own.high_BS, own.low_BS, own.close_BS)]
    for s in np.flatnonzero(bars_S):
        high_B, low_B, close_B = (price_SB[s, : bars_S[s]] for price_SB in prices)
        value_BS[: bars_S[s], s] = indicator(high_B, low_B, close_B)
    return value_BS


def _technical(formula: str, unit: str, low: float, high: float, indicator: Indicator) -> Feature[AssetBars]:
    return Feature(formula, unit, low, high, lambda own: of_each(own, indicator))


def _over(part_B: Floats, whole_B: Floats) -> Floats:
    return part_B / np.maximum(whole_B, FLOOR)


def _macd(high_B: Floats, low_B: Floats, close_B: Floats) -> Floats:
    return _over(talib.MACD(close_B)[2], talib.ATR(high_B, low_B, close_B, 14))


def _atr(high_B: Floats, low_B: Floats, close_B: Floats) -> Floats:
    return np.log(np.maximum(_over(talib.ATR(high_B, low_B, close_B, 14), close_B), FLOOR) / 0.01)


def _directional(high_B: Floats, low_B: Floats, close_B: Floats) -> Floats:
    up_B, down_B = talib.PLUS_DI(high_B, low_B, close_B, 14), talib.MINUS_DI(high_B, low_B, close_B, 14)
    return _over(up_B - down_B, up_B + down_B)


def _stochastic(high_B: Floats, low_B: Floats, close_B: Floats) -> Floats:
    lowest_B, highest_B = talib.MIN(low_B, 14), talib.MAX(high_B, 14)
    return _over(2 * close_B - lowest_B - highest_B, highest_B - lowest_B)


def _bollinger(high_B: Floats, low_B: Floats, close_B: Floats) -> Floats:
    upper_B, middle_B, _ = talib.BBANDS(close_B, 20, 2.0, 2.0)
    return _over(close_B - middle_B, upper_B - middle_B)


TECHNICAL: Mapping[str, Feature[AssetBars]] = {
    "macd": _technical("MACD(12, 26) less its signal(9), over ATR(14)", "average true ranges", -CLIP, CLIP, _macd),
    "atr": _technical("log(ATR(14) / close / 0.01)", POWERS, -CLIP, CLIP, _atr),
    "adx": _technical(
        "ADX(14) / 100",
        "1 all bars go one way",
        0.0,
        1.0,
        lambda high_B, low_B, close_B: talib.ADX(high_B, low_B, close_B, 14) / 100,
    ),
    "directional_movement": _technical(
        "(DI+ - DI-) / (DI+ + DI-), 14 bars", "1 upwards, -1 downwards", -1.0, 1.0, _directional
    ),
    "stochastic": _technical(
        "(2 close - L - H) / (H - L), L and H lowest low and highest high of 14 bars",
        "1 at the highest, -1 at the lowest",
        -1.0,
        1.0,
        _stochastic,
    ),
    "bollinger": _technical(
        "(close - mean) / (2 x standard deviation), 20 bars", "1 at the upper band", -CLIP, CLIP, _bollinger
    ),
    "aroon": _technical(
        "(bars since the lowest low - bars since the highest high) / 25, 26 bars",
        "1 the high is now",
        -1.0,
        1.0,
        lambda high_B, low_B, _: talib.AROONOSC(high_B, low_B, 25) / 100,
    ),
}
