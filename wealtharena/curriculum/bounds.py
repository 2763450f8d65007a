"""Confidence bounds of the mean success of episodes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import sqrt
from statistics import NormalDist, fmean, variance


@dataclass(frozen=True)
class Bounds:
    """A mean, and its one-sided lower and upper confidence bounds."""

    mean: float
    low: float
    high: float


def bounds(values: Sequence[float], confidence: float, *, successes: bool) -> Bounds:
    """Of the mean of independent values.

    Successes, 0 or 1 each: Wilson's (1927) score interval, which holds for shares near 0 and 1 too,
    ``(p + z^2/2n -+ z sqrt(p (1 - p) / n + z^2/4n^2)) / (1 + z^2/n)``. Other values: ``mean -+ t s / sqrt(n)`` with
    Student's t of n - 1 degrees of freedom, by the first term of its expansion in 1/n, ``z + (z^3 + z) / 4 (n - 1)``;
    from 30 values on it is right to three digits.

    Args:
        values: n of them, two at least.
        confidence: Of each of the two bounds.
        successes: Whether the values are 0 or 1.
    """
    n, mean, z = len(values), fmean(values), NormalDist().inv_cdf(confidence)
    if successes:
        centre = (mean + z * z / (2 * n)) / (1 + z * z / n)
        half = z * sqrt(mean * (1 - mean) / n + z * z / (4 * n * n)) / (1 + z * z / n)
        return Bounds(mean, centre - half, centre + half)
    t = z + (z**3 + z) / (4 * (n - 1))
    half = t * sqrt(variance(values, mean) / n)
    return Bounds(mean, mean - half, mean + half)
