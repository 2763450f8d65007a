"""Everything a step needs of the data, computed once: a step gathers one row per copy, however long the data is."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from environments.market.config import MarketParams
from environments.market.execution import impact_slope
from environments.market.features.overview import class_features
from environments.market.features.table import features_by_class
from environments.market.feed import Rows
from environments.market.history import adv_TN, listed_TN, settle_TN, vol_TN, year_fraction_T
from environments.market.panel import Panel

SURPRISE_CLIP = 10.0  # standard deviations


@dataclass(frozen=True)
class AssetTable:
    """What is seen of the assets of some classes that lie side by side.

    Attributes:
        classes: Their names.
        names: Of the features.
        value_TNF: float32, the features.
    """

    classes: tuple[str, ...]
    names: tuple[str, ...]
    value_TNF: Tensor


@dataclass(frozen=True)
class Tables:
    """Tensors over all T bars.

    Attributes:
        value_TXN: float64, the first four of ``Rows``.
        flag_TXN: bool, ``active``, ``listed``, ``trades`` and ``settles`` of ``Rows``.
        close_TN: float64.
        surprise_TN: float64, the log return from the close of t to that of t + 1, in volatilities as known at t.
        years_T: float64, calendar time from t to t + 1.
        assets: A table for each run of classes that see the same features: one, if all do.
        class_TF: float32, features of all classes, one class after the other.
        class_names: Of the features of ``class_TF``.
        notes: What traders do not get to see, a line each.
        quoted_TXN: float64, ``low``, ``high`` and ``volatility`` of ``Rows``; None where nobody makes a market.
    """

    value_TXN: Tensor
    flag_TXN: Tensor
    close_TN: Tensor
    surprise_TN: Tensor
    years_T: Tensor
    assets: tuple[AssetTable, ...]
    class_TF: Tensor
    class_names: tuple[str, ...]
    notes: tuple[str, ...]
    quoted_TXN: Tensor | None = None

    def rows(self, bar_E: Tensor, *, settling: bool) -> Rows:
        """Gathers the rows of the step that begins at each copy's bar; without ``settling`` nothing is closed out."""
        open_EN, close_EN, slope_EN, per_asset_EN = self.value_TXN.index_select(0, bar_E).unbind(1)
        active_EN, listed_EN, trades_EN, settles_EN = self.flag_TXN.index_select(0, bar_E).unbind(1)
        quoted = () if self.quoted_TXN is None else self.quoted_TXN.index_select(0, bar_E).unbind(1)
        return Rows(
            open_EN=open_EN,
            close_EN=close_EN,
            slope_EN=slope_EN,
            per_asset_EN=per_asset_EN,
            years_E=self.years_T.index_select(0, bar_E),
            active_EN=active_EN,
            listed_EN=listed_EN,
            trades_EN=trades_EN,
            settles_EN=settles_EN if settling else None,
            **dict(zip(("low_EN", "high_EN", "volatility_EN"), quoted, strict=False)),
        )

    @property
    def per_asset_TN(self) -> Tensor:
        """1 / listed assets of each asset's class, float64."""
        return self.value_TXN[:, 3]

    @property
    def active_TN(self) -> Tensor:
        """Whose agents decide, bool."""
        return self.flag_TXN[:, 0]

    @property
    def settles_TN(self) -> Tensor:
        """What is closed out at the next bar, bool."""
        return self.flag_TXN[:, 3]


def build(panel: Panel, params: MarketParams, device: str) -> Tables:
    """Computes the tables of a panel.

    Raises:
        DataError: The features that are asked for do not go with the data.
    """
    listed = listed_TN(panel, params.warmup)
    flags = (listed & panel.traded_TN, listed, _next(panel.traded_TN), _next(settle_TN(panel)))
    values = (_next(panel.open_TN), _next(panel.close_TN), _slope_TN(panel, params), _per_asset_TN(panel, listed))
    assets, notes = features_by_class(panel, params.warmup, params.features)
    class_names, class_TCF = class_features(panel, params.warmup)

    def tensor(value: npt.NDArray[np.generic]) -> Tensor:
        return torch.from_numpy(np.ascontiguousarray(value)).to(device)

    return Tables(
        value_TXN=tensor(np.stack(values, axis=1)),
        flag_TXN=tensor(np.stack(flags, axis=1)),
        close_TN=tensor(panel.close_TN),
        surprise_TN=tensor(_surprise_TN(panel)),
        years_T=tensor(year_fraction_T(panel)),
        assets=tuple(AssetTable(seen.classes, seen.names, tensor(seen.value_TNF)) for seen in assets),
        class_TF=tensor(class_TCF.reshape(len(class_TCF), -1)),
        class_names=tuple(f"{name}/{feature}" for name in panel.classes for feature in class_names),
        notes=notes,
        quoted_TXN=tensor(_quoted_TXN(panel)) if params.makes_markets else None,
    )


def _quoted_TXN(panel: Panel) -> npt.NDArray[np.float64]:
    return np.stack([_next(panel.low_TN), _next(panel.high_TN), vol_TN(panel)], axis=1)


def _next(value_TN: npt.NDArray[Any]) -> npt.NDArray[Any]:
    """Row t holds bar t + 1; no step begins at the last bar."""
    return np.concatenate([value_TN[1:], value_TN[-1:]])


def _slope_TN(panel: Panel, params: MarketParams) -> npt.NDArray[np.float64]:
    impact_N = np.array([params.cost(name).impact for name in panel.classes])[panel.class_N]
    columns = (torch.from_numpy(value) for value in (impact_N, vol_TN(panel), adv_TN(panel)))
    slope_TN: npt.NDArray[np.float64] = impact_slope(*columns).numpy()
    return slope_TN


def _per_asset_TN(panel: Panel, listed: npt.NDArray[np.bool_]) -> npt.NDArray[np.float64]:
    member_NC = panel.class_N[:, None] == np.arange(len(panel.classes))
    listed_TC = np.maximum(listed.astype(np.int64) @ member_NC.astype(np.int64), 1)
    per_asset_TN: npt.NDArray[np.float64] = (1.0 / listed_TC)[:, panel.class_N]
    return per_asset_TN


def _surprise_TN(panel: Panel) -> npt.NDArray[np.float64]:
    return_TN = np.diff(np.log(panel.close_TN), axis=0, append=np.log(panel.close_TN[-1:]))
    score_TN = return_TN / np.maximum(vol_TN(panel), 1e-6)
    clipped_TN: npt.NDArray[np.float64] = np.clip(score_TN, -SURPRISE_CLIP, SURPRISE_CLIP)
    return clipped_TN
