"""Carry, and what the two economies of a currency pair differ in: from extra columns of the panel."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from environments.market.features.base import CLIP, AssetBars, Feature
from environments.market.features.relative import rank
from environments.market.series import change

USUAL = 0.05  # a year
BARS_PER_YEAR = 252


def _level(column: str) -> Feature[AssetBars]:
    return Feature(f"{column} / 5%", "5% a year", -CLIP, CLIP, lambda own: own.columns[column] / USUAL, (column,))


def _change(column: str) -> Feature[AssetBars]:
    return Feature(
        f"({column} - {column} 60 bars ago) / 1%",
        "1% a year",
        -CLIP,
        CLIP,
        lambda own: change(own.columns[column], 60) / 0.01,
        (column,),
    )


CARRY: Mapping[str, Feature[AssetBars]] = {
    "carry_level": _level("carry"),
    "carry_change_60": _change("carry"),
    "carry_to_risk": Feature(
        f"carry / (v20 sqrt({BARS_PER_YEAR}))",
        "yearly standard deviations",
        -CLIP,
        CLIP,
        lambda own: own.columns["carry"] / (own.volatility_BS * np.sqrt(BARS_PER_YEAR)),
        ("carry",),
    ),
    "carry_rank": Feature(
        "rank of carry among the listed assets of the class",
        "1 the highest, -1 the lowest",
        -1.0,
        1.0,
        lambda own: own.among_listed(own.columns["carry"], rank),
        ("carry",),
    ),
}

ECONOMIC: Mapping[str, Feature[AssetBars]] = {
    "rate_differential_level": _level("rate_differential"),
    "rate_differential_change_60": _change("rate_differential"),
    "real_rate_differential": Feature(
        "(rate_differential - inflation_differential) / 5%",
        "5% a year",
        -CLIP,
        CLIP,
        lambda own: (own.columns["rate_differential"] - own.columns["inflation_differential"]) / USUAL,
        ("rate_differential", "inflation_differential"),
    ),
    "growth_differential_level": _level("growth_differential"),
}
