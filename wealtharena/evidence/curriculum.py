"""The way of a training through the stages of a curriculum, as the report's figures: see ``metrics/progress.csv``."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd

from wealtharena.evidence.figures import CLASS_COLOURS, INK, PALE, Figure, layout
from wealtharena.evidence.learning import CURRICULUM, clock_of

SHARE, STAGE = f"{CURRICULUM}/share/", f"{CURRICULUM}/stage"
BOUNDS = (f"{CURRICULUM}/lower_bound", f"{CURRICULUM}/upper_bound")


def through_stages(table: pd.DataFrame) -> dict[str, Any] | None:
    """The report's part about a curriculum; None for a training without one.

    Args:
        table: As ``learning.read_progress`` gives it.
    """
    stages = [str(column).removeprefix(SHARE) for column in table.columns if str(column).startswith(SHARE)]
    if not stages:
        return None
    success, returns = (_curves(table, stages, figure) for figure in ("success", "return"))
    bounds = [_bound(table, column) for column in BOUNDS if column in table]
    marks = _changes(table, stages)
    return {
        "shares": _figure(_shares(table, stages), marks, {"range": [0, 1], "tickformat": ".0%"}),
        "success": _figure([*success, *bounds], marks, {}) if success else None,
        "returns": _figure(returns, marks, {}) if returns else None,
        "bounded": bool(bounds),
        "changes": _told(table, stages),
    }


def _curves(table: pd.DataFrame, stages: Sequence[str], figure: str) -> list[Figure]:
    columns = {stage: f"{CURRICULUM}/{figure}/{stage}" for stage in stages}
    return [
        _curve(table, column, stage, _colour(stages.index(stage)))
        for stage, column in columns.items()
        if column in table
    ]


def _bound(table: pd.DataFrame, column: str) -> Figure:
    """Broken where the stage changes, and nothing is known of the new one yet."""
    values = [float(f"{value:.6g}") if np.isfinite(value) else None for value in table[column]]
    thin = {"showlegend": False, "line": {"width": 1, "color": INK, "dash": "dot"}, "hoverinfo": "skip"}
    return {
        "type": "scatter",
        "mode": "lines",
        "name": "bound",
        "x": table[clock_of(table)].tolist(),
        "y": values,
    } | thin


def _shares(table: pd.DataFrame, stages: Sequence[str]) -> list[Figure]:
    return [
        _curve(table, f"{SHARE}{stage}", stage, _colour(place))
        | {"stackgroup": "copies", "fillcolor": _colour(place), "line": {"width": 0.3, "shape": "hv"}}
        for place, stage in enumerate(stages)
    ]


def _curve(table: pd.DataFrame, column: str, name: str, colour: str) -> Figure:
    clock = clock_of(table)
    known = table[[clock, column]].replace([np.inf, -np.inf], np.nan).dropna()
    trace = {"type": "scatter", "mode": "lines" if len(known) > 1 else "markers", "name": name}
    values = [float(f"{value:.6g}") for value in known[column]]
    return trace | {"x": known[clock].tolist(), "y": values, "line": {"width": 1.8, "color": colour}}


def _colour(place: int) -> str:
    return CLASS_COLOURS[place % len(CLASS_COLOURS)]


def _changes(table: pd.DataFrame, stages: Sequence[str]) -> Figure:
    """A line where the stage of the moment changes, with the name of the one that begins."""
    if STAGE not in table:
        return {}
    known = table[[clock_of(table), STAGE]].dropna()
    begins = known[known[STAGE].ne(known[STAGE].shift())].iloc[1:]
    line = {"type": "line", "yref": "paper", "y0": 0, "y1": 1, "line": {"color": PALE, "width": 1, "dash": "dot"}}
    label = {"yref": "paper", "y": 1, "yanchor": "top", "xanchor": "left", "showarrow": False, "textangle": 90}
    at = list(zip(begins[clock_of(table)].tolist(), begins[STAGE].astype(int).tolist(), strict=True))
    return {
        "shapes": [line | {"x0": x, "x1": x} for x, _ in at],
        "annotations": [label | {"x": x, "text": stages[stage - 1], "font": {"size": 11}} for x, stage in at],
    }


def _told(table: pd.DataFrame, stages: Sequence[str]) -> str | None:
    """How often it went on and back, and whether to the end, in words."""
    columns = [f"{CURRICULUM}/{name}" for name in ("promotions", "regressions")]
    if any(column not in table for column in columns):
        return None
    on, back = (_times(int(table[column].dropna().iloc[-1])) for column in columns)
    *_, last = stages
    missed = "" if table[f"{SHARE}{last}"].max() > 0 else f"; {last}, on which the team is tested, was not reached"
    return f"on to the next stage {on}, back {back}{missed}"


def _times(count: int) -> str:
    return {0: "never", 1: "once"}.get(count, f"{count} times")


def _figure(data: Sequence[Figure], marks: Figure, axis: Figure) -> Figure:
    return {"data": list(data), "layout": layout(300, xaxis={"tickformat": "~s"}, yaxis=axis, **marks)}
