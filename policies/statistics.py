"""Running mean and variance of a stream of rows."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

_LEAST_VARIANCE = 1e-8


class RunningStatistics:
    """Mean and variance of all rows seen, merged batch by batch in float64 (Chan, Golub & LeVeque 1979).

    Attributes:
        count: Rows seen.
        mean_F: Their mean, float64.
        square_F: Their summed squared deviations from it, float64.
    """

    def __init__(self, features: int) -> None:
        self.count = 0
        self.mean_F = torch.zeros(features, dtype=torch.float64)
        self.square_F = torch.zeros(features, dtype=torch.float64)

    @property
    def scale_F(self) -> Tensor:
        """One over the standard deviation; 1 before the first row."""
        if not self.count:
            return torch.ones_like(self.mean_F)
        return torch.rsqrt(self.square_F / self.count + _LEAST_VARIANCE)

    def update(self, rows_BF: Tensor) -> None:
        """Adds B rows."""
        if not len(rows_BF):
            return
        rows_BF = rows_BF.double()
        mean_F = rows_BF.mean(dim=0)
        square_F = (rows_BF - mean_F).square().sum(dim=0)
        total = self.count + len(rows_BF)
        delta_F = mean_F - self.mean_F
        self.square_F = self.square_F + square_F + delta_F**2 * (self.count * len(rows_BF) / total)
        self.mean_F = self.mean_F + delta_F * (len(rows_BF) / total)
        self.count = total

    def get_state(self) -> dict[str, Any]:
        """The statistics, exactly."""
        return {"count": self.count, "mean_F": self.mean_F, "square_F": self.square_F}

    def set_state(self, state: Mapping[str, Any]) -> None:
        """Restores what ``get_state`` gave."""
        self.count, self.mean_F, self.square_F = state["count"], state["mean_F"], state["square_F"]
