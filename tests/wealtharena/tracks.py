"""Tracks for tests: from returns alone, or from a few positions by hand."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from wealtharena.evidence.track import Track

DAY = np.timedelta64(86_400, "s")


def track_of(
    pnl_TN: npt.ArrayLike,
    value_TN: npt.ArrayLike,
    *,
    capital: float = 100.0,
    name: str = "team",
    days: int = 1,
    traded_TN: npt.ArrayLike | None = None,
    cost_TN: npt.ArrayLike | None = None,
    class_N: Sequence[int] | None = None,
) -> Track:
    """A track whose value is the capital and the sum of its profits; bars are ``days`` apart."""
    pnl, value = np.asarray(pnl_TN, dtype=np.float64), np.asarray(value_TN, dtype=np.float64)
    bars, assets = pnl.shape
    nothing = np.zeros_like(pnl)
    owner = np.zeros(assets, dtype=np.int64) if class_N is None else np.asarray(class_N, dtype=np.int64)
    return Track(
        name=name,
        dates=np.datetime64("2020-01-01T00:00:00") + np.arange(bars + 1) * days * DAY,
        nav=capital + np.concatenate([[0.0], pnl.sum(axis=1).cumsum()]),
        value_TN=value,
        traded_TN=nothing if traded_TN is None else np.asarray(traded_TN, dtype=np.float64),
        cost_TN=nothing if cost_TN is None else np.asarray(cost_TN, dtype=np.float64),
        carry_TN=nothing,
        pnl_TN=pnl,
        interest_T=np.zeros(bars),
        budget_TK=None,
        symbols=tuple(f"S{index}" for index in range(assets)),
        classes=tuple(f"class {index}" for index in range(int(owner.max()) + 1)),
        class_N=owner,
    )


def track_from_returns(returns_T: npt.ArrayLike, *, name: str = "team", days: int = 1) -> Track:
    """One asset that is held throughout."""
    nav = 100.0 * np.cumprod(np.concatenate([[1.0], 1.0 + np.asarray(returns_T, dtype=np.float64)]))
    return track_of(np.diff(nav)[:, None], nav[1:, None], name=name, days=days)
