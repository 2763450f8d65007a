"""Mean reversion: how far prices are from where they were, and whether such distances have closed."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from environments.market.alignment import Floats
from environments.market.features.base import CLIP, DEVIATIONS, POWERS, AssetBars, Feature
from environments.market.series import FLOOR, lagged, mean, score


def _price_score(bars: int) -> Feature[AssetBars]:
    formula = f"(log close - mean of {bars} bars) / standard deviation of {bars} bars, of log close"
    return Feature(formula, DEVIATIONS, -CLIP, CLIP, lambda own: score(own.close_BS, bars))


def _size(change_BS: Floats) -> Floats:
    """Mean square over 60 bars."""
    return np.maximum(mean(change_BS**2, 60), FLOOR**2)


MEAN_REVERSION: Mapping[str, Feature[AssetBars]] = {
    "price_score_20": _price_score(20),
    "price_score_60": _price_score(60),
    "autocorrelation_60": Feature(
        "sum of r x (r one bar before) / sum of r^2, 60 bars, r the return",
        "1 returns go on, -1 they turn",
        -1.0,
        1.0,
        lambda own: mean(own.return_BS * lagged(own.return_BS, 1), 60) / _size(own.return_BS),
    ),
    # Lo and MacKinlay (1988), Stock Market Prices Do Not Follow Random Walks, without the mean.
    "variance_ratio_60": Feature(
        "log(mean square of 5-bar returns / (5 x mean square of returns)), 60 bars",
        POWERS,
        -CLIP,
        CLIP,
        lambda own: np.log(_size(own.change(5)) / (5 * _size(own.return_BS))),
    ),
}
