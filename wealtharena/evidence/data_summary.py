"""What a market's data holds, class by class."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from environments.market.panel import Panel


@dataclass(frozen=True)
class ClassSummary:
    """The bars of one asset class.

    Attributes:
        name: The class.
        symbols: Its assets.
        first: Date of its earliest bar.
        last: Date of its latest bar.
        bars: Bars of its assets together.
        late: Assets whose history begins later than the class's, with the date of their first bar.
    """

    name: str
    symbols: tuple[str, ...]
    first: str
    last: str
    bars: int
    late: tuple[tuple[str, str], ...]


def summarise(panel: Panel) -> tuple[ClassSummary, ...]:
    """Summarises the bars of each class."""
    return tuple(_summary(panel, index) for index in range(len(panel.classes)))


def _summary(panel: Panel, index: int) -> ClassSummary:
    asset_M = np.flatnonzero(panel.class_N == index)
    traded_TM = panel.traded_TN[:, asset_M]
    days_T = panel.dates_T.astype("datetime64[D]")
    first_M = days_T[traded_TM.argmax(axis=0)]
    symbols = tuple(panel.symbols[n] for n in asset_M)
    begins = first_M.min()
    late = tuple((name, str(day)) for name, day in zip(symbols, first_M, strict=True) if day > begins)
    last = days_T[np.flatnonzero(traded_TM.any(axis=1))[-1]]
    return ClassSummary(panel.classes[index], symbols, str(begins), str(last), int(traded_TM.sum()), late)
