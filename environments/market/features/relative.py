"""Sector rotation: an asset's strength among the listed assets of its class."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import pandas as pd

from environments.market.alignment import Floats
from environments.market.features.base import CLIP, AssetBars, Feature
from environments.market.series import FLOOR

SPANS = (20, 60, 120)


def rank(value_TS: Floats) -> Floats:
    """From -1, the smallest of a row, to 1, the largest; ties share their mean, one alone is 0."""
    table = pd.DataFrame(value_TS)
    place_TS, count_T1 = table.rank(axis=1).to_numpy(), table.notna().sum(axis=1).to_numpy()[:, None]
    return (2 * place_TS - count_T1 - 1) / np.maximum(count_T1 - 1, 1)


def deviations(value_TS: Floats) -> Floats:
    """How many standard deviations of a row lie between a number and the row's mean; 0 while all are alike."""
    known_TS = ~np.isnan(value_TS)
    count_T1 = np.maximum(known_TS.sum(axis=1, keepdims=True), 1)
    distance_TS = value_TS - np.where(known_TS, value_TS, 0.0).sum(axis=1, keepdims=True) / count_T1
    variance_T1 = (np.where(known_TS, distance_TS, 0.0) ** 2).sum(axis=1, keepdims=True) / count_T1
    scored_TS: Floats = distance_TS / np.maximum(np.sqrt(variance_T1), FLOOR)
    return scored_TS


def _relative_rank(bars: int) -> Feature[AssetBars]:
    return Feature(
        f"rank of log(close / close {bars} bars ago) among the listed assets of the class",
        "1 the strongest, -1 the weakest",
        -1.0,
        1.0,
        lambda own: own.among_listed(own.change(bars), rank),
    )


def _relative_score(bars: int) -> Feature[AssetBars]:
    return Feature(
        f"(x - mean) / standard deviation among the listed assets of the class, x = log(close / close {bars} bars ago)",
        "standard deviations of the class",
        -CLIP,
        CLIP,
        lambda own: own.among_listed(own.change(bars), deviations),
    )


SECTOR_ROTATION: Mapping[str, Feature[AssetBars]] = {
    **{f"relative_rank_{bars}": _relative_rank(bars) for bars in SPANS},
    **{f"relative_score_{bars}": _relative_score(bars) for bars in SPANS},
}
