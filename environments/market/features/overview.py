"""What the allocator sees of each class: an index that holds its listed assets in equal weights."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from environments.market.alignment import Bools, Floats, own_bars
from environments.market.features.base import CLIP, DEVIATIONS, Feature
from environments.market.features.standard import DRAWDOWN, RETURNS, VOLATILITY
from environments.market.features.table import stacked
from environments.market.history import STALE_AFTER, age_TN, listed_TN
from environments.market.panel import Panel
from environments.market.series import Series, mean


@dataclass(frozen=True)
class ClassBars(Series):
    """Own bars of equal-weight class indices: the bars in which a listed member trades.

    ``dispersion_BS`` is the standard deviation of these members' returns, ``share_BS`` the share of members listed.
    """

    dispersion_BS: Floats
    share_BS: Floats


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
    return stacked(columns, listed_TC > 0)


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
