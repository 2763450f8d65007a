"""Price series on their own bars, and the rolling statistics that features are made of.

Everything here is causal: row b of a result depends on rows up to b alone. Rows whose window is not full are NaN.
Dimensions: B own bars, S series (assets or classes).
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
import pandas as pd

from environments.market.alignment import Floats

FLOOR = 1e-6  # what a division by a volatility, a range or a spread takes for zero


@dataclass(frozen=True)
class Series:
    """Logarithms of S price series on their own bars, each float64 (B, S), NaN after a series' last bar.

    Attributes:
        close_BS: At the close.
        high_BS: At the highest.
        low_BS: At the lowest.
    """

    close_BS: Floats
    high_BS: Floats
    low_BS: Floats

    def change(self, bars: int) -> Floats:
        """Log return over some bars."""
        return change(self.close_BS, bars)

    @cached_property
    def return_BS(self) -> Floats:
        """Log return over one bar."""
        return self.change(1)

    def volatility(self, window: int) -> Floats:
        """Standard deviation of the last ``window`` returns, at least ``FLOOR``."""
        return np.maximum(deviation(self.return_BS, window), FLOOR)

    @cached_property
    def volatility_BS(self) -> Floats:
        """v20, the unit of most features."""
        return self.volatility(20)

    def scaled(self, distance_BS: Floats, bars: int) -> Floats:
        """A log distance in standard deviations of a walk over some bars."""
        scaled_BS: Floats = distance_BS / (self.volatility_BS * np.sqrt(bars))
        return scaled_BS


def change(value_BS: Floats, bars: int) -> Floats:
    """A row less the one some bars before."""
    return value_BS - lagged(value_BS, bars)


def lagged(value_BS: Floats, bars: int) -> Floats:
    """The row some bars before."""
    lagged_BS = np.full_like(value_BS, np.nan)
    lagged_BS[bars:] = value_BS[:-bars]
    return lagged_BS


def mean(value_BS: Floats, window: int) -> Floats:
    """Mean of the last ``window`` rows."""
    return pd.DataFrame(value_BS).rolling(window).mean().to_numpy()


def deviation(value_BS: Floats, window: int) -> Floats:
    """Standard deviation of the last ``window`` rows."""
    return pd.DataFrame(value_BS).rolling(window).std().to_numpy()


def highest(value_BS: Floats, window: int) -> Floats:
    """Maximum of the last ``window`` rows."""
    return pd.DataFrame(value_BS).rolling(window).max().to_numpy()


def score(value_BS: Floats, window: int) -> Floats:
    """How many standard deviations a row lies above the mean of the last ``window``, itself among them."""
    return (value_BS - mean(value_BS, window)) / np.maximum(deviation(value_BS, window), FLOOR)


def expanding_score(value_BS: Floats) -> Floats:
    """How many standard deviations a row lies above the mean of all rows so far; 0 while they are all alike."""
    past = pd.DataFrame(value_BS).expanding(min_periods=2)
    deviation_BS = past.std().to_numpy()
    distance_BS = value_BS - past.mean().to_numpy()
    return np.divide(distance_BS, deviation_BS, out=np.zeros_like(distance_BS), where=deviation_BS > 0)
