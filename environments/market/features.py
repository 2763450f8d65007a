"""What agents see of prices: small, bounded numbers that use nothing after the close of bar t.

A feature is computed over a series' own bars, and stands at its last value on bars the series lacks. It is 0 where
history is missing. Returns and distances are measured in v20, the standard deviation of the last 20 returns, so that a
quiet currency and a wild coin look alike and one policy can trade both.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Generic, TypeVar

import numpy as np
import numpy.typing as npt

from environments.market.alignment import Bools, Floats, Ints, on_calendar, own_bars
from environments.market.history import STALE_AFTER, age_TN, listed_TN
from environments.market.panel import Panel
from environments.market.series import FLOOR, Series, expanding_score, highest, mean, score

CLIP = 4.0  # a wick of many standard deviations is a large number, not a broken network
TYPICAL_VOLATILITY = 0.01
DEVIATIONS = "standard deviations"
POWERS = "powers of e"

SeriesT_contra = TypeVar("SeriesT_contra", bound=Series, contravariant=True)


@dataclass(frozen=True)
class Feature(Generic[SeriesT_contra]):
    """One feature: its formula for people, and for the machine.

    Attributes:
        formula: How it is computed, per own bar.
        unit: What 1 means.
        low: Its smallest value; what is smaller is clipped.
        high: Its largest value; what is larger is clipped.
        compute: Own bars -> float64 (B, S), NaN where history is missing.
    """

    formula: str
    unit: str
    low: float
    high: float
    compute: Callable[[SeriesT_contra], Floats]

    def on_calendar(self, own: SeriesT_contra, age_TS: Ints) -> Floats:
        """The feature at every bar of the union calendar: float64 (T, S) in [low, high], 0 where history is missing."""
        value_BS = np.nan_to_num(np.clip(self.compute(own), self.low, self.high), nan=0.0)
        return on_calendar(value_BS, age_TS, before=0.0)


@dataclass(frozen=True)
class AssetBars(Series):
    """Own bars of assets; ``volume_BS`` is log(1 + volume)."""

    volume_BS: Floats


@dataclass(frozen=True)
class ClassBars(Series):
    """Own bars of equal-weight class indices: the bars in which a listed member trades.

    ``dispersion_BS`` is the standard deviation of these members' returns, ``share_BS`` the share of members listed.
    """

    dispersion_BS: Floats
    share_BS: Floats


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

CLASS_FEATURES: Mapping[str, Feature[ClassBars]] = {
    **RETURNS,
    "volatility": VOLATILITY,
    "drawdown": DRAWDOWN,
    "dispersion": Feature(
        "mean over 20 bars of the standard deviation of the members' returns / v20",
        DEVIATIONS,
        0.0,
        CLIP,
        lambda own: mean(own.dispersion_BS, 20) / own.volatility_BS,
    ),
    "listed": Feature("listed members / members", "share", 0.0, 1.0, lambda own: own.share_BS),
}


def asset_features(panel: Panel, warmup: int) -> tuple[tuple[str, ...], npt.NDArray[np.float32]]:
    """What a trader sees of its asset at the close of bar t.

    The features of ``FEATURES``, then each extra column of the panel as ``extra_<name>``: in standard deviations from
    the mean of the asset's own bars so far, within [-CLIP, CLIP].

    Args:
        panel: T bars of N assets.
        warmup: Own bars an asset needs; its features are 0 before.

    Returns:
        F names, and float32 (T, N, F).
    """
    age = age_TN(panel)
    own = AssetBars(
        close_BS=_log_own(panel.close_TN, panel.traded_TN),
        high_BS=_log_own(panel.high_TN, panel.traded_TN),
        low_BS=_log_own(panel.low_TN, panel.traded_TN),
        volume_BS=_log_own(1.0 + panel.volume_TN, panel.traded_TN),
    )
    columns = {name: feature.on_calendar(own, age) for name, feature in FEATURES.items()}
    for name, value_TN in panel.extras.items():
        extra_BN = np.nan_to_num(np.clip(expanding_score(own_bars(value_TN, panel.traded_TN)), -CLIP, CLIP))
        columns[f"extra_{name}"] = on_calendar(extra_BN, age, before=0.0)
    return _stacked(columns, age >= warmup)


def class_features(
    panel: Panel, warmup: int, stale_after: int = STALE_AFTER
) -> tuple[tuple[str, ...], npt.NDArray[np.float32]]:
    """What the allocator sees of each class at the close of bar t: the features of ``CLASS_FEATURES``.

    A class is followed as an index that holds its listed assets in equal weights, rebalanced at each bar.

    Args:
        panel: T bars of N assets in C classes.
        warmup: Own bars an asset needs to be listed.
        stale_after: Bars and days without an own bar after which an asset is not listed.

    Returns:
        F' names, and float32 (T, C, F'); 0 where no asset of the class is listed.
    """
    listed = listed_TN(panel, warmup, stale_after)
    moving_TN = listed & panel.traded_TN
    log_close_TN = np.log(panel.close_TN)
    return_TN = np.where(moving_TN & (age_TN(panel) > 1), np.diff(log_close_TN, axis=0, prepend=log_close_TN[:1]), 0.0)
    return_TC, dispersion_TC = _moments(return_TN, moving_TN, panel)
    traded_TC = _per_class(moving_TN, panel) > 0
    listed_TC = _per_class(listed, panel)
    index_BC = own_bars(return_TC.cumsum(axis=0), traded_TC)
    own = ClassBars(
        close_BS=index_BC,
        high_BS=index_BC,
        low_BS=index_BC,
        dispersion_BS=own_bars(dispersion_TC, traded_TC),
        share_BS=own_bars(listed_TC / np.bincount(panel.class_N), traded_TC),
    )
    age_TC = traded_TC.cumsum(axis=0)
    columns = {name: feature.on_calendar(own, age_TC) for name, feature in CLASS_FEATURES.items()}
    return _stacked(columns, listed_TC > 0)


def _log_own(value_TN: Floats, traded_TN: Bools) -> Floats:
    return np.log(own_bars(value_TN, traded_TN))


def _per_class(value_TN: npt.NDArray[np.generic], panel: Panel) -> Floats:
    """Sums over the members of each class: (T, N) -> float64 (T, C).

    Class by class and not as one matrix product, whose rounding may depend on the number of rows.
    """
    members = [value_TN[:, panel.class_N == c] for c in range(len(panel.classes))]
    return np.stack([value_TM.sum(axis=1, dtype=np.float64) for value_TM in members], axis=1)


def _moments(return_TN: Floats, moving_TN: Bools, panel: Panel) -> tuple[Floats, Floats]:
    """Mean and standard deviation of the returns of the members that move: twice float64 (T, C)."""
    count_TC = np.maximum(_per_class(moving_TN, panel), 1.0)
    mean_TC = _per_class(return_TN, panel) / count_TC
    distance_TN = np.where(moving_TN, return_TN - mean_TC[:, panel.class_N], 0.0)
    return mean_TC, np.sqrt(_per_class(distance_TN**2, panel) / count_TC)


def _stacked(columns: Mapping[str, Floats], shown_TS: Bools) -> tuple[tuple[str, ...], npt.NDArray[np.float32]]:
    stacked_TSF = np.stack(list(columns.values()), axis=-1) * shown_TS[..., None]
    return tuple(columns), stacked_TSF.astype(np.float32)
