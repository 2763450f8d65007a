"""Whether a training had converged: the trend of the episode return over its second half, with an interval."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd

from wealtharena.evidence.learning import RETURN, clock_of, groups_in
from wealtharena.evidence.track import FloatArray

BLOCKS = 5
LEAST = 2 * BLOCKS
_T_975 = 3.182446  # of Student's t with BLOCKS - 2 degrees of freedom


@dataclass(frozen=True)
class Trend:
    """The line through the second half of a learning curve.

    Attributes:
        level: Mean return in the last tenth of the training.
        change: By how much the line rises over the second half, in units of the return.
        low: Lower end of the 95% interval of ``change``.
        high: Its upper end.
    """

    level: float
    change: float
    low: float
    high: float

    @property
    def reading(self) -> str:
        """What it says; that no trend shows is no proof that there is none, nor that the return is the best one."""
        if self.low > 0:
            return "still rising"
        return "falling" if self.high < 0 else "no trend shows"


def trend(step_T: FloatArray, return_T: FloatArray) -> Trend | None:
    """Fits a line to the means of ``BLOCKS`` blocks of iterations.

    Returns of neighbouring iterations are alike, each being a mean over the last episodes; means of blocks are nearly
    independent, and Student's t with ``BLOCKS`` - 2 degrees of freedom allows for how few there are (batch means,
    Schmeiser 1982, of a regression). Where one episode's return stays in the mean for longer than a block, the interval
    is too narrow.

    Args:
        step_T: Steps of the training, rising.
        return_T: Episode returns at these steps.

    Returns:
        None for fewer than ``LEAST`` points.
    """
    if len(return_T) < LEAST:
        return None
    x_B, y_B = (np.array([block.mean() for block in np.array_split(row, BLOCKS)]) for row in (step_T, return_T))
    distance_B = x_B - x_B.mean()
    square = float(distance_B @ distance_B)
    slope = float(distance_B @ y_B) / square
    residual_B = y_B - y_B.mean() - slope * distance_B
    half = _T_975 * float(np.sqrt(residual_B @ residual_B / (BLOCKS - 2) / square))
    span = float(step_T[-1] - step_T[0])
    return Trend(float(y_B[-1]), slope * span, (slope - half) * span, (slope + half) * span)


def trends(table: pd.DataFrame) -> dict[str, Trend]:
    """The trend of each group's episode return; groups with too few points are left out.

    Args:
        table: As ``learning.read_progress`` gives it.
    """
    clock = clock_of(table)
    found = {}
    for group, metrics in groups_in(table).items():
        if RETURN in metrics:
            known = table[[clock, f"{group}/{RETURN}"]].replace([np.inf, -np.inf], np.nan).dropna()
            later = known[known[clock] > table[clock].iloc[-1] / 2].to_numpy(dtype=np.float64)
            found[group] = trend(later[:, 0], later[:, 1])
    return {group: fitted for group, fitted in found.items() if fitted is not None}
