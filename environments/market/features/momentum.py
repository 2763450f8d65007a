"""Momentum: what has risen over months goes on rising."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from environments.market.features.base import CLIP, DEVIATIONS, AssetBars, Feature
from environments.market.series import FLOOR, mean

SKIPPED = 20  # the last month, in which what has risen rather falls


def _momentum(bars: int) -> Feature[AssetBars]:
    """Jegadeesh and Titman (1993), Returns to Buying Winners and Selling Losers; the last month left out."""
    return Feature(
        f"log(close {SKIPPED} bars ago / close {bars} bars ago) / (v20 sqrt({bars - SKIPPED}))",
        DEVIATIONS,
        -CLIP,
        CLIP,
        lambda own: own.scaled(own.change(bars) - own.change(SKIPPED), bars - SKIPPED),
    )


MOMENTUM: Mapping[str, Feature[AssetBars]] = {
    "momentum_120": _momentum(120),
    "momentum_250": _momentum(250),
    "trend_60": Feature(
        "sum of returns / sum of |returns|, 60 bars",
        "1 rose in every bar, -1 fell",
        -1.0,
        1.0,
        lambda own: mean(own.return_BS, 60) / np.maximum(mean(np.abs(own.return_BS), 60), FLOOR),
    ),
}
