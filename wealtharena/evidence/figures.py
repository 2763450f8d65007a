"""The report's figures as plotly.js specifications: plain dictionaries, made from class frames (see ``files``)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd

from wealtharena.evidence.metrics import drawdown
from wealtharena.evidence.wording import name_of

Figure = dict[str, Any]

INK, PALE, RULE = "#1f2933", "#8a94a0", "#e3e7eb"
TRACK_LINES: Mapping[str, Mapping[str, Any]] = {
    "team": {"color": "#0b57a4", "width": 2.8},
    "equal_weight": {"color": "#c8500a", "width": 2.2},
    "buy_and_hold": {"color": "#8f6a00", "width": 1.3},
    "inverse_volatility": {"color": "#1d7a55", "width": 1.3, "dash": "dot"},
    "momentum": {"color": "#8a3f8f", "width": 1.3, "dash": "dashdot"},
    "minimum_variance": {"color": "#5c6773", "width": 1.3, "dash": "dash"},
    "cash": {"color": "#a9b2bc", "width": 1.3},
}
CLASS_COLOURS = ("#2f6db3", "#e0912f", "#2f9e77", "#b65a9a", "#63b4dd", "#a0522d", "#7a7fd1", "#6b8e23")
CASH_COLOUR = "#d3d9df"


def layout(height: int, **more: Any) -> Figure:
    """What all figures share."""
    axis = {"gridcolor": RULE, "linecolor": PALE, "zerolinecolor": PALE, "automargin": True, "fixedrange": True}
    return {
        "height": height,
        "margin": {"l": 56, "r": 16, "t": 8, "b": 36},
        "font": {"family": "system-ui, -apple-system, 'Segoe UI', sans-serif", "size": 13, "color": INK},
        "paper_bgcolor": "rgba(0,0,0,0)",
        "plot_bgcolor": "rgba(0,0,0,0)",
        "hovermode": "x unified",
        "legend": {"orientation": "h", "y": 1.02, "yanchor": "bottom", "x": 0, "xanchor": "left"},
        "xaxis": dict(axis) | more.pop("xaxis", {}),
        "yaxis": dict(axis) | more.pop("yaxis", {}),
        **more,
    }


def equity(tracks: Mapping[str, pd.DataFrame]) -> Figure:
    """Value of one unit of capital, team and baselines."""
    data = [_line(name, frame, frame["nav"] / frame["nav"].iloc[0], ".3f") for name, frame in tracks.items()]
    axis = {"type": "log", "title": {"text": "Value of 1 invested"}}
    return {"data": _team_on_top(data), "layout": layout(430, yaxis=axis)}


def drawdowns(tracks: Mapping[str, pd.DataFrame]) -> Figure:
    """Share lost since the peak; the baselines other than equal weight start hidden."""
    data = []
    for name, frame in tracks.items():
        line = _line(name, frame, -drawdown(frame["nav"].to_numpy()), ".1%")
        if name == "team":
            line |= {"fill": "tozeroy", "fillcolor": "rgba(11,87,164,0.10)"}
        data.append(line | ({} if name in ("team", "equal_weight") else {"visible": "legendonly"}))
    return {"data": _team_on_top(data), "layout": layout(280, yaxis={"tickformat": ".0%"})}


def with_folds(figure: Figure, starts: Sequence[str]) -> Figure:
    """The same figure with a line where each fold's test begins, and the fold's number beside it."""
    line = {"type": "line", "yref": "paper", "y0": 0, "y1": 1, "line": {"color": PALE, "width": 1, "dash": "dot"}}
    label = {"yref": "paper", "y": 0, "yanchor": "bottom", "xanchor": "left", "showarrow": False}
    marks = {
        "shapes": [line | {"x0": start, "x1": start} for start in starts],
        "annotations": [
            label | {"x": start, "text": f"fold {number}", "font": {"size": 11, "color": PALE}}
            for number, start in enumerate(starts, start=1)
        ],
    }
    return figure | {"layout": figure["layout"] | marks} if starts else figure


def budgets(team: pd.DataFrame, classes: Sequence[str]) -> Figure:
    """Capital the allocator gives to each class and to cash, stacked to one."""
    owners, frame = (*classes, "cash"), team.iloc[1:]
    data = [
        {
            "type": "scatter",
            "mode": "lines",
            "stackgroup": "capital",
            "name": owner,
            "x": dates_of(frame),
            "y": _round(frame[f"budget/{owner}"]),
            "line": {"width": 0.4, "color": class_colour(owner, classes), "shape": "hv"},
            "fillcolor": class_colour(owner, classes),
            "hovertemplate": "%{y:.1%}",
        }
        for owner in owners
    ]
    return {"data": data, "layout": layout(320, yaxis={"tickformat": ".0%", "range": [0, 1]})}


def exposures(team: pd.DataFrame, classes: Sequence[str]) -> Figure:
    """What is in fact held in each class, net of shorts, as a share of the value of the book."""
    data = [
        {
            "type": "scatter",
            "mode": "lines",
            "name": owner,
            "x": dates_of(team),
            "y": _round(team[f"value/{owner}"] / team["nav"]),
            "line": {"width": 1.6, "color": class_colour(owner, classes)},
            "hovertemplate": "%{y:.1%}",
        }
        for owner in classes
    ]
    return {"data": data, "layout": layout(300, yaxis={"tickformat": ".0%"})}


def class_results(team: pd.DataFrame, classes: Sequence[str]) -> Figure:
    """Where the result came from: price moves, costs and carry of each class, with the net result marked."""
    capital = float(team["nav"].iloc[0])
    total = {part: _per_class(team, part, classes) / capital for part in ("pnl", "cost", "carry")}
    bars = {
        "Price moves": (total["pnl"] + total["cost"] - total["carry"], "#7f9fc4"),
        "Trading costs": (-total["cost"], "#c8500a"),
        "Carry": (total["carry"], "#8f6a00"),
    }
    data: list[Figure] = [
        {"type": "bar", "name": name, "x": list(classes), "y": _round(value), "marker": {"color": colour}}
        for name, (value, colour) in bars.items()
    ]
    marker = {"symbol": "diamond", "size": 11, "color": INK}
    net = {"type": "scatter", "mode": "markers", "name": "Net result", "x": list(classes), "y": _round(total["pnl"])}
    data.append(net | {"marker": marker})
    for trace in data:
        trace["hovertemplate"] = "%{y:.2%}"
    return {"data": data, "layout": layout(300, barmode="relative", bargap=0.45, yaxis={"tickformat": ".1%"})}


def class_colour(owner: str, classes: Sequence[str]) -> str:
    """The colour of a class, the same in every figure."""
    return CASH_COLOUR if owner == "cash" else CLASS_COLOURS[classes.index(owner) % len(CLASS_COLOURS)]


def _per_class(team: pd.DataFrame, part: str, classes: Sequence[str]) -> np.ndarray[Any, np.dtype[np.float64]]:
    return np.array([float(team[f"{part}/{owner}"].sum()) for owner in classes])


def _line(name: str, frame: pd.DataFrame, values: Any, hover: str) -> Figure:
    line = TRACK_LINES.get(name, {"color": PALE, "width": 1.3})
    trace = {"type": "scatter", "mode": "lines", "name": name_of(name), "x": dates_of(frame), "y": _round(values)}
    return trace | {"line": dict(line), "hovertemplate": f"%{{y:{hover}}}"}


def _team_on_top(data: Sequence[Figure]) -> list[Figure]:
    """Draws the team last, so that no line hides it, and still names it first."""
    ranked = [trace | {"legendrank": 1000 + place} for place, trace in enumerate(data)]
    return sorted(ranked, key=lambda trace: trace["name"] == name_of("team"))


def dates_of(frame: pd.DataFrame) -> list[str]:
    """The dates of a class frame, without a time where it is midnight."""
    return frame["date"].dt.strftime("%Y-%m-%d %H:%M").str.removesuffix(" 00:00").tolist()


def _round(values: Any) -> list[float | None]:
    """Six digits are more than a screen shows; what is not a number becomes a gap."""
    return [float(f"{value:.6g}") if np.isfinite(value) else None for value in np.asarray(values, dtype=np.float64)]
