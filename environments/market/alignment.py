"""Two clocks: an asset's own bars, one after the other, and the union calendar of all assets.

What is computed over an asset's own bars (a 20-bar volatility, say) is computed in the first,
and carried into the second from the past only. B is the largest number of own bars of any asset.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]
Bools = npt.NDArray[np.bool_]


def own_bars(value_TN: npt.NDArray[Any], traded_TN: Bools) -> Floats:
    """Moves each asset's own bars up to the top of its column.

    Returns:
        float64 (B, N), B at least 1: row b holds every asset's own bar number b, NaN after its last.
    """
    age_TN = traded_TN.cumsum(axis=0)
    own_BN = np.full((max(1, int(age_TN[-1].max())), value_TN.shape[1]), np.nan)
    bar, asset = np.nonzero(traded_TN)
    own_BN[age_TN[bar, asset] - 1, asset] = value_TN[bar, asset]
    return own_BN


def on_calendar(own_BN: Floats, age_TN: Ints, before: float) -> Floats:
    """Puts own bars back on the union calendar: at each bar the last own value known, ``before`` where there is none.

    Args:
        own_BN: As ``own_bars`` gives it.
        age_TN: Own bars each asset has had up to and including bar t.
        before: The value ahead of an asset's first own bar.

    Returns:
        float64 (T, N).
    """
    value_TN = np.take_along_axis(own_BN, np.maximum(age_TN - 1, 0), axis=0)
    return np.where(age_TN > 0, value_TN, before)
