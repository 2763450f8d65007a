"""Actions as rows of bars and months as a table: what the report shows without a script."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np
import pandas as pd

from wealtharena.evidence.wording import MINUS, number, signed

GAIN, LOSS = (46, 125, 91), (200, 80, 10)
FULL_SHADE = 0.10
"""A month's return at which its cell has the full colour."""


@dataclass(frozen=True)
class Bar:
    """One labelled bar: ``width`` in [0, 1] of the whole, ``text`` the number beside it."""

    label: str
    width: float
    text: str


def action_bars(actions: Mapping[str, Any]) -> list[Bar]:
    """How often a group took each action; for continuous ones, how often each range, or the mean of each dimension."""
    labels = actions.get("labels")
    if actions["kind"] == "discrete":
        names = labels or [f"action {index}" for index in range(len(actions["shares"]))]
        return [_share(name, share) for name, share in zip(names, actions["shares"], strict=True)]
    edges = actions["edges"]
    if len(actions["shares"]) == 1:
        ranges = [f"{low:.2f} to {high:.2f}".replace("-", MINUS) for low, high in pairwise(edges)]
        return [_share(name, share) for name, share in zip(ranges, actions["shares"][0], strict=True)]
    names = labels or [f"dimension {index}" for index in range(len(actions["mean"]))]
    return [
        Bar(
            name,
            (mean - edges[0]) / (edges[-1] - edges[0]),
            f"{signed(mean, 'ratio')} \u00b1 {number(spread, 'ratio')}",
        )
        for name, mean, spread in zip(names, actions["mean"], actions["std"], strict=True)
    ]


def budget_bars(team: pd.DataFrame, owners: Sequence[str]) -> list[Bar]:
    """The mean capital share of each class and cash, with its range."""
    shares = {owner: team[f"budget/{owner}"].dropna() for owner in owners}
    return [
        Bar(owner, float(share.mean()), f"{share.mean():.0%} ({share.min():.0%} to {share.max():.0%})")
        for owner, share in shares.items()
    ]


def _share(label: str, share: float) -> Bar:
    return Bar(label, share, number(share, "percent"))


@dataclass(frozen=True)
class Month:
    """One cell of the table of months: empty where the test does not reach."""

    text: str
    style: str


@dataclass(frozen=True)
class Year:
    """One row of the table of months."""

    year: int
    months: tuple[Month, ...]
    total: str


def month_table(track: pd.DataFrame) -> list[Year]:
    """Returns by month, compounded by year: each month from the last bar of the one before."""
    nav, month_S = track["nav"].to_numpy(), track["date"].to_numpy().astype("datetime64[M]")
    ends = np.flatnonzero(np.append(month_S[1:] != month_S[:-1], True))
    before = np.concatenate([[0], ends[:-1]])
    found = {month_S[end].item(): float(nav[end] / nav[start] - 1.0) for start, end in zip(before, ends, strict=True)}
    years = sorted({month.year for month in found})
    return [_year(year, {month.month: gain for month, gain in found.items() if month.year == year}) for year in years]


def _year(year: int, gains: Mapping[int, float]) -> Year:
    total = float(np.prod([1.0 + gain for gain in gains.values()])) - 1.0
    return Year(year, tuple(_month(gains.get(month)) for month in range(1, 13)), signed(total, "percent"))


def _month(value: float | None) -> Month:
    if value is None:
        return Month("", "")
    red, green, blue = GAIN if value > 0 else LOSS
    shade = 0.55 * min(abs(value) / FULL_SHADE, 1.0)
    return Month(signed(value, "percent"), f"background:rgba({red},{green},{blue},{shade:.2f})")
