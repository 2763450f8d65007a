"""The figures of a sweep's report, as plotly.js specifications."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import pandas as pd

from wealtharena.evidence.figures import INK, PALE, Figure, layout
from wealtharena.tuning.view import short, value_text

BEST, OTHER, MARKED = "#0b57a4", "#a9b7c6", "#c8500a"
NONE = "none"


def curves(tables: Mapping[str, pd.DataFrame], summary: Mapping[str, Any]) -> Figure:
    """The score of every trial over its training; rungs as lines, changes of values as diamonds."""
    data = [_curve(name, table, summary) for name, table in tables.items()]
    data += [_changes(trial, tables, summary) for trial in summary["trials"] if trial["changes"]]
    data.sort(key=lambda trace: trace["name"] == summary["best"])
    words = {"iteration": "Iteration", "env_steps": "Steps of the environment"}[summary["clock"]]
    figure = layout(
        420,
        showlegend=False,
        hovermode="closest",
        xaxis={"title": {"text": words}, "tickformat": "~s"},
        yaxis={"title": {"text": summary["metric"].replace("_", " ")}},
    )
    line = {"type": "line", "yref": "paper", "y0": 0, "y1": 1, "line": {"color": MARKED, "width": 1, "dash": "dot"}}
    label = {"yref": "paper", "y": 1, "yanchor": "bottom", "showarrow": False, "font": {"size": 11, "color": MARKED}}
    figure["shapes"] = [line | {"x0": rung, "x1": rung} for rung in summary["rungs"]]
    figure["annotations"] = [label | {"x": rung, "text": f"rung {rung:g}"} for rung in summary["rungs"]]
    return {"data": data, "layout": figure | {"margin": {"l": 56, "r": 16, "t": 24, "b": 36}}}


def _curve(name: str, table: pd.DataFrame, summary: Mapping[str, Any]) -> Figure:
    known = table[[summary["clock"], "score"]].dropna() if "score" in table else table.iloc[:0]
    best = name == summary["best"]
    return {
        "type": "scatter",
        "mode": "lines+markers" if len(known) < 2 else "lines",
        "name": name,
        "x": known[summary["clock"]].tolist() if len(known) else [],
        "y": [float(f"{value:.6g}") for value in known["score"]] if len(known) else [],
        "line": {"width": 2.8 if best else 1.2, "color": BEST if best else OTHER},
        "hovertemplate": f"{name}: %{{y:.4g}}<extra></extra>",
    }


def _changes(trial: Mapping[str, Any], tables: Mapping[str, pd.DataFrame], summary: Mapping[str, Any]) -> Figure:
    table = tables[trial["name"]]
    at = table[table["iteration"].isin([change["iteration"] for change in trial["changes"]])].dropna(subset=["score"])
    origins = {change["iteration"]: change["from"] for change in trial["changes"]}
    return {
        "type": "scatter",
        "mode": "markers",
        "name": trial["name"],
        "x": at[summary["clock"]].tolist(),
        "y": at["score"].tolist(),
        "text": [f"{trial['name']} goes on from {origins[int(iteration)]}" for iteration in at["iteration"]],
        "marker": {"symbol": "diamond", "size": 9, "color": MARKED},
        "hovertemplate": "%{text}<extra></extra>",
    }


def parallel(summary: Mapping[str, Any]) -> Figure | None:
    """Values and score of every trial that has one, a line each; None where there are none to compare."""
    trials = [trial for trial in summary["trials"] if trial["score"] is not None]
    if len(trials) < 2:
        return None
    axes = [_axis(key, rule, [trial["values"].get(key) for trial in trials]) for key, rule in summary["space"].items()]
    scores = [trial["score"] for trial in trials]
    axes.append({"label": summary["metric"].replace("_", " "), "values": scores})
    line = {"color": scores, "colorscale": [[0, OTHER], [1, BEST]], "reversescale": summary["mode"] == "min"}
    data = {"type": "parcoords", "line": line, "dimensions": axes, "labelfont": {"size": 12}, "tickfont": {"size": 11}}
    figure = layout(380) | {"margin": {"l": 90, "r": 70, "t": 56, "b": 24}}
    return {"data": [data | {"labelangle": -8}], "layout": {k: v for k, v in figure.items() if "axis" not in k}}


def _axis(key: str, rule: Mapping[str, Any], values: Sequence[Any]) -> dict[str, Any]:
    numbers = rule["kind"] in ("uniform", "loguniform", "integer")
    scale = math.log10 if rule["kind"] == "loguniform" else float
    if not numbers:
        words = [value_text(value) if value is not None else NONE for value in [*rule["values"], None]]
        shown = [value_text(value) if value is not None else NONE for value in values]
        words = [word for word in dict.fromkeys(words) if word != NONE or NONE in shown]
        return {
            "label": short(key),
            "values": [words.index(word) for word in shown],
            "tickvals": list(range(len(words))),
            "ticktext": words,
            "range": [-0.2, len(words) - 0.8],
        }
    low, high = scale(rule["values"][0]), scale(rule["values"][1])
    nowhere = low - 0.15 * (high - low)
    ticks = [low + (high - low) * part / 4 for part in range(5)]
    names = [f"{10**tick:.2g}" if rule["kind"] == "loguniform" else f"{tick:.3g}" for tick in ticks]
    some_lack_it = any(value is None for value in values)
    return {
        "label": short(key),
        "values": [nowhere if value is None else scale(value) for value in values],
        "tickvals": [nowhere, *ticks] if some_lack_it else ticks,
        "ticktext": [NONE, *names] if some_lack_it else names,
        "range": [nowhere if some_lack_it else low, high],
    }


def forest(setting: Mapping[str, Any]) -> Figure | None:
    """Differences of all levels from the first of their dimension, with their intervals."""
    rows = [
        (f"{short(dimension['dimension'])}: {level['level']}", level["difference"])
        for dimension in setting["dimensions"]
        for level in dimension["levels"]
        if level["difference"]
    ]
    if not rows:
        return None
    rows.reverse()
    error = {"type": "data", "symmetric": False, "color": INK, "thickness": 1.4, "width": 5}
    error["array"] = [gap["high"] - gap["value"] if gap["high"] is not None else 0 for _, gap in rows]
    error["arrayminus"] = [gap["value"] - gap["low"] if gap["low"] is not None else 0 for _, gap in rows]
    trace = {
        "type": "scatter",
        "mode": "markers",
        "x": [gap["value"] for _, gap in rows],
        "y": [name for name, _ in rows],
        "error_x": error,
        "marker": {"size": 9, "color": BEST},
        "hovertemplate": "%{y}: %{x:.3f}<extra></extra>",
    }
    zero = {"type": "line", "yref": "paper", "x0": 0, "x1": 0, "y0": 0, "y1": 1, "line": {"color": PALE, "width": 1}}
    return {"data": [trace], "layout": layout(70 + 34 * len(rows), hovermode="closest", shapes=[zero])}
