"""Learning curves: ``metrics/progress.csv`` as small multiples, one per metric, whatever metrics there are."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from wealtharena.evidence.figures import INK, RULE, Figure, layout

RETURN = "episode_return"
CURRICULUM, ENVIRONMENT = "curriculum", "environment"
"""Their figures are in columns as those of a group are."""
COLUMNS, CELL, GAP_X, TITLE = 3, 170, 0.07, 34
CURVE, SHARES = "#0b57a4", ("#7f9fc4", "#d3d9df", "#e0912f", "#2f9e77", "#b65a9a", "#63b4dd", "#a0522d")


def read_progress(path: Path) -> pd.DataFrame | None:
    """The table of a run's progress, numbers only; None where there is none or it is empty."""
    if not path.is_file() or not path.read_text(encoding="utf-8").strip():
        return None
    table = pd.read_csv(path, on_bad_lines="skip").apply(pd.to_numeric, errors="coerce").dropna(axis=1, how="all")
    return table if len(table) and "iteration" in table else None


def groups_in(table: pd.DataFrame) -> dict[str, list[str]]:
    """Each group and its metrics, in the order of the columns ``<group>/<metric>``."""
    found: dict[str, list[str]] = {}
    for column in table.columns:
        group, slash, metric = str(column).partition("/")
        if slash and group not in {CURRICULUM, ENVIRONMENT}:
            found.setdefault(group, []).append(metric)
    return found


def clock_of(table: pd.DataFrame) -> str:
    """The column that the training's progress is measured by."""
    return "env_steps" if "env_steps" in table else "iteration"


def returns(table: pd.DataFrame) -> Figure | None:
    """Episode return of every group over the steps of the training."""
    columns = {group: f"{group}/{RETURN}" for group, metrics in groups_in(table).items() if RETURN in metrics}
    return _grid(table, {group: [column] for group, column in columns.items()}) if columns else None


def details(table: pd.DataFrame, group: str) -> Figure:
    """Every other metric of one group; the shares of its actions are stacked in one cell."""
    metrics = [metric for metric in groups_in(table)[group] if metric != RETURN]
    shares = [metric for metric in metrics if re.fullmatch(r"action_\d+", metric)]
    cells = {metric: [f"{group}/{metric}"] for metric in metrics if metric not in shares}
    if shares:
        cells = {"actions": [f"{group}/{metric}" for metric in shares]} | cells
    return _grid(table, cells)


def _grid(table: pd.DataFrame, cells: Mapping[str, Sequence[str]]) -> Figure:
    """Small multiples: a cell per title, with a curve per column."""
    rows = -(-len(cells) // COLUMNS)
    height = rows * (CELL + TITLE) + 46
    figure: Figure = {"data": [], "layout": layout(height, showlegend=False, annotations=[], hovermode="x")}
    for place, (title, columns) in enumerate(cells.items()):
        _add_cell(figure, table, place, rows, title, columns)
    return figure


def _add_cell(figure: Figure, table: pd.DataFrame, place: int, rows: int, title: str, columns: Sequence[str]) -> None:
    suffix = "" if place == 0 else str(place + 1)
    left, right, bottom, top = _domain(place, rows)
    axis = {"gridcolor": RULE, "fixedrange": True, "nticks": 4, "tickfont": {"size": 11}, "zeroline": False}
    figure["layout"][f"xaxis{suffix}"] = axis | {"domain": [left, right], "anchor": f"y{suffix}", "tickformat": "~s"}
    figure["layout"][f"yaxis{suffix}"] = axis | {"domain": [bottom, top], "anchor": f"x{suffix}", "tickformat": "~g"}
    name = {"text": f"<b>{_plain(title)}</b>", "showarrow": False, "font": {"size": 12, "color": INK}}
    place_of_name = {"x": left, "y": top, "xref": "paper", "yref": "paper", "xanchor": "left", "yanchor": "bottom"}
    figure["layout"]["annotations"].append(name | place_of_name)
    for index, column in enumerate(columns):
        figure["data"].append(
            _curve(table, column, index, len(columns)) | {"xaxis": f"x{suffix}", "yaxis": f"y{suffix}"}
        )


def _domain(place: int, rows: int) -> tuple[float, float, float, float]:
    row, column = divmod(place, COLUMNS)
    width = (1 - GAP_X * (COLUMNS - 1)) / COLUMNS
    left, top = column * (width + GAP_X), 1 - row / rows
    title = TITLE / (rows * (CELL + TITLE))
    return left, left + width, top - 1 / rows + title * 0.75, top - title * 0.75


def _curve(table: pd.DataFrame, column: str, index: int, of: int) -> Figure:
    clock = clock_of(table)
    known = table[[clock, column]].replace([np.inf, -np.inf], np.nan).dropna()
    trace: dict[str, Any] = {
        "type": "scatter",
        "mode": "lines" if len(known) > 1 else "markers",
        "name": _plain(column.partition("/")[2]),
        "x": known[clock].tolist(),
        "y": [float(f"{value:.6g}") for value in known[column]],
        "line": {"width": 1.6, "color": CURVE},
    }
    if of == 1:
        return trace
    colour = SHARES[index % len(SHARES)]
    return trace | {
        "stackgroup": column.partition("/")[0],
        "line": {"width": 0.3, "color": colour},
        "fillcolor": colour,
    }


def _plain(text: str) -> str:
    """Text for a figure, which reads a few HTML tags: none of the user's."""
    return text.replace("&", "&amp;").replace("<", "&lt;").replace("_", " ")
