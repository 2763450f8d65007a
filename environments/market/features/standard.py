"""The features that every asset has, whatever its class."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from environments.market.features.base import CLIP, DEVIATIONS, POWERS, AssetBars, Feature
from environments.market.series import FLOOR, Series, highest, mean, score

TYPICAL_VOLATILITY = 0.01


def _return_over(bars: int) -> Feature[Series]:
    formula = f"log(close / close {bars} bars ago) / (v20 sqrt({bars}))"
    return Feature(formula, DEVIATIONS, -CLIP, CLIP, lambda own: own.scaled(own.change(bars), bars))


def _above_mean(bars: int) -> Feature[Series]:
    formula = f"(log close - mean log close of {bars} bars) / (v20 sqrt({bars}))"
    return Feature(
        formula, DEVIATIONS, -CLIP, CLIP, lambda own: own.scaled(own.close_BS - mean(own.close_BS, bars), bars)
    )


RETURNS: Mapping[str, Feature[Series]] = {f"return_{bars}": _return_over(bars) for bars in (1, 5, 20, 60)}
VOLATILITY: Feature[Series] = Feature(
    f"log(v20 / {TYPICAL_VOLATILITY})",
    POWERS,
    -CLIP,
    CLIP,
    lambda own: np.log(own.volatility_BS / TYPICAL_VOLATILITY),
)
DRAWDOWN: Feature[Series] = Feature(
    "log(close / highest high of 60 bars) / (v20 sqrt(60))",
    DEVIATIONS,
    -CLIP,
    0.0,
    lambda own: own.scaled(own.close_BS - highest(own.high_BS, 60), 60),
)

FEATURES: Mapping[str, Feature[AssetBars]] = {
    **RETURNS,
    "volatility": VOLATILITY,
    "volatility_ratio": Feature(
        "log(v5 / v60)", POWERS, -CLIP, CLIP, lambda own: np.log(own.volatility(5) / own.volatility(60))
    ),
    "above_mean_20": _above_mean(20),
    "above_mean_60": _above_mean(60),
    "drawdown": DRAWDOWN,
    "range": Feature(
        "log(high / low) / v20", DEVIATIONS, 0.0, CLIP, lambda own: own.scaled(own.high_BS - own.low_BS, 1)
    ),
    "close_in_range": Feature(
        "log(close^2 / (high low)) / log(high / low)",
        "1 closed at the high, -1 at the low",
        -1.0,
        1.0,
        lambda own: (2 * own.close_BS - own.high_BS - own.low_BS) / np.maximum(own.high_BS - own.low_BS, FLOOR),
    ),
    "volume": Feature(
        "(x - mean of 20 bars) / standard deviation of 20 bars, x = log(1 + volume)",
        DEVIATIONS,
        -CLIP,
        CLIP,
        lambda own: score(own.volume_BS, 20),
    ),
    "rsi": Feature(
        "sum of returns / sum of |returns|, 14 bars",
        "1 rose in every bar, -1 fell",
        -1.0,
        1.0,
        lambda own: mean(own.return_BS, 14) / np.maximum(mean(np.abs(own.return_BS), 14), FLOOR),
    ),
}
