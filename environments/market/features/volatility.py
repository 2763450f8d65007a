"""Realised volatility, how restless it is itself, and what it is made of."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from environments.market.alignment import Floats
from environments.market.features.base import CLIP, DEVIATIONS, POWERS, AssetBars, Feature
from environments.market.features.standard import TYPICAL_VOLATILITY
from environments.market.series import FLOOR, deviation, lagged, mean, score


def _realised(bars: int) -> Feature[AssetBars]:
    return Feature(
        f"log(v{bars} / {TYPICAL_VOLATILITY})",
        POWERS,
        -CLIP,
        CLIP,
        lambda own: np.log(own.volatility(bars) / TYPICAL_VOLATILITY),
    )


def _share(part_BS: Floats, own: AssetBars) -> Floats:
    """Of the sum of squared returns, 20 bars."""
    return mean(part_BS, 20) / np.maximum(mean(own.return_BS**2, 20), FLOOR**2)


def _range_volatility(own: AssetBars) -> Floats:
    """Parkinson (1980), The Extreme Value Method for Estimating the Variance of the Rate of Return."""
    variance_BS = mean((own.high_BS - own.low_BS) ** 2, 20) / (4 * np.log(2))
    return np.log(np.sqrt(np.maximum(variance_BS, FLOOR**2)) / own.volatility_BS)


def _jump_share(own: AssetBars) -> Floats:
    """Barndorff-Nielsen and Shephard (2004), Power and Bipower Variation with Stochastic Volatility and Jumps."""
    size_BS = np.abs(own.return_BS)
    return 1.0 - _share(np.pi / 2 * size_BS * lagged(size_BS, 1), own)


REALISED_VOLATILITY: Mapping[str, Feature[AssetBars]] = {
    "realised_volatility_5": _realised(5),
    "realised_volatility_60": _realised(60),
    "volatility_score_60": Feature(
        "(log v5 - mean of 60 bars) / standard deviation of 60 bars, of log v5",
        DEVIATIONS,
        -CLIP,
        CLIP,
        lambda own: score(np.log(own.volatility(5)), 60),
    ),
    "volatility_of_volatility_60": Feature(
        "standard deviation of log v5, 60 bars",
        POWERS,
        0.0,
        CLIP,
        lambda own: deviation(np.log(own.volatility(5)), 60),
    ),
    "range_volatility_20": Feature(
        "log(p20 / v20), p20^2 = mean of log(high / low)^2 of 20 bars / (4 log 2)",
        POWERS,
        -CLIP,
        CLIP,
        _range_volatility,
    ),
    "downside_share_20": Feature(
        "sum of r^2 where r < 0 / sum of r^2, 20 bars, r the return",
        "share",
        0.0,
        1.0,
        lambda own: _share(np.minimum(own.return_BS, 0.0) ** 2, own),
    ),
    "jump_share_20": Feature(
        "1 - (pi / 2) x sum of |r| x |r one bar before| / sum of r^2, 20 bars", "share", 0.0, 1.0, _jump_share
    ),
}
