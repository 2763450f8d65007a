"""The features of all assets at all bars, as numbers."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from itertools import groupby

import numpy as np
import numpy.typing as npt

from environments.errors import DataError
from environments.market.alignment import Bools, Floats
from environments.market.config_features import ALIKE, Choice
from environments.market.features.base import AssetBars, Feature, asset_bars
from environments.market.features.chosen import alike, chosen
from environments.market.features.sets import Features
from environments.market.history import age_TN, listed_TN
from environments.market.panel import Panel
from environments.market.panel_checks import PRICES

Stacked = tuple[tuple[str, ...], npt.NDArray[np.float32]]
"""F names, and float32 (T, S, F)."""


@dataclass(frozen=True)
class AssetFeatures:
    """The features of classes that see the same ones, and lie side by side.

    Attributes:
        classes: Their names.
        names: F names.
        value_TNF: float32, of their assets.
    """

    classes: tuple[str, ...]
    names: tuple[str, ...]
    value_TNF: npt.NDArray[np.float32]


def features_by_class(panel: Panel, warmup: int, choice: Choice) -> tuple[tuple[AssetFeatures, ...], tuple[str, ...]]:
    """What traders see of their assets at the close of bar t.

    Args:
        panel: T bars of N assets.
        warmup: Own bars an asset needs; its features are 0 before.
        choice: As in ``MarketParams.features``.

    Returns:
        A table for each run of classes with the same features, and notes on what nobody sees, a line each.

    Raises:
        DataError: A class or a column is lacking, or a feature of the user's fails or looks ahead.
    """
    if choice == ALIKE:
        return (AssetFeatures(panel.classes, *asset_features(panel, warmup)),), ()
    found = chosen(choice, panel)
    each = {name: asset_features(members(panel, name), warmup, found.by_class[name]) for name in panel.classes}
    tables = []
    for names, run in groupby(panel.classes, lambda name: each[name][0]):
        classes = tuple(run)
        tables.append(AssetFeatures(classes, names, np.concatenate([each[name][1] for name in classes], axis=1)))
    return tuple(tables), found.notes


def asset_features(panel: Panel, warmup: int, features: Features | None = None) -> Stacked:
    """The features of all assets of a panel, 0 before they have had ``warmup`` own bars; None: see ``chosen.alike``.

    Raises:
        DataError: A feature of the user's fails or looks ahead.
    """
    age, listed = age_TN(panel), listed_TN(panel, warmup)
    own = asset_bars(panel, listed)
    columns = {}
    for name, feature in (alike(panel) if features is None else features).items():
        if ":" in name:
            _check_own(name, feature, panel, own)
        columns[name] = feature.on_calendar(own, age)
    return stacked(columns, age >= warmup)


def stacked(columns: Mapping[str, Floats], shown_TS: Bools) -> Stacked:
    """Columns side by side, 0 where nothing is to be shown."""
    stacked_TSF = np.stack(list(columns.values()), axis=-1) * shown_TS[..., None]
    return tuple(columns), stacked_TSF.astype(np.float32)


def members(panel: Panel, asset_class: str) -> Panel:
    """The panel of one class, on the calendar of all."""
    kept_N: Bools = panel.class_N == panel.classes.index(asset_class)
    return _part(panel, slice(None), kept_N, (asset_class,))


def _part(panel: Panel, bars: slice, kept_N: Bools, classes: tuple[str, ...]) -> Panel:
    return replace(
        panel,
        dates_T=panel.dates_T[bars],
        symbols=tuple(symbol for symbol, kept in zip(panel.symbols, kept_N, strict=True) if kept),
        classes=classes,
        class_N=panel.class_N[kept_N] - panel.class_N[kept_N].min(),
        **{f"{name}_TN": getattr(panel, f"{name}_TN")[bars, kept_N] for name in (*PRICES, "volume", "traded")},
        extras={name: value_TN[bars, kept_N] for name, value_TN in panel.extras.items()},
    )


def _check_own(name: str, feature: Feature[AssetBars], panel: Panel, own: AssetBars) -> None:
    """Refuses a feature of the user's that is not one: another shape, or other values when less of the future is there.

    Raises:
        DataError: With what it is.
    """
    half = slice(1 + len(panel.dates_T) // 2)
    past = asset_bars(_part(panel, half, np.ones_like(panel.class_N, dtype=bool), panel.classes), own.listed_TS[half])
    try:
        whole_BS, known_BS = feature.compute(own), feature.compute(past)
    except Exception as error:  # a function of the user's may raise anything
        raise DataError(f"features: {name} raised {type(error).__name__}: {error}") from error
    if np.shape(whole_BS) != own.close_BS.shape:
        shapes = f"{np.shape(whole_BS)}; it must be {own.close_BS.shape}, as closes are"
        raise DataError(f"features: {name} gave numbers of shape {shapes}")
    unknown_BS = np.isnan(past.close_BS)
    seen, seen_before = (np.where(unknown_BS, np.nan, value_BS[: len(unknown_BS)]) for value_BS in (whole_BS, known_BS))
    if not np.allclose(seen, seen_before, equal_nan=True):
        raise DataError(
            f"features: {name} looks ahead: with half of the bars it gives other values for them than with all; use "
            "what was known at the close of each bar, as the statistics of environments.market.series do"
        )
