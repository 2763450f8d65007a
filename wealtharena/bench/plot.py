"""The curves as a page: share of the optimum against environment steps, a panel for each case."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import plotly.graph_objects as go
from plotly.subplots import make_subplots

from wealtharena.bench.share import student_quantile
from wealtharena.evidence.figures import CLASS_COLOURS, INK, PALE
from wealtharena.evidence.files import write_whole
from wealtharena.evidence.track import FloatArray

_COLUMNS, _PANEL_HEIGHT = 3, 320
_LOWEST_SHOWN = -0.25


def write_plot(path: Path, content: Mapping[str, Any]) -> Path:
    """Writes one page that needs no network.

    Args:
        path: Of the page.
        content: What ``optimum.document`` gives.
    """
    page = figure(content).to_html(include_plotlyjs=True, full_html=True)
    return write_whole(path, lambda temporary: _write(temporary, page))


def figure(content: Mapping[str, Any]) -> go.Figure:
    """A panel for each case, a line with its band for each algorithm."""
    cases = list(dict.fromkeys(row["case"] for row in content["rows"]))
    algorithms = list(dict.fromkeys(row["algorithm"] for row in content["rows"]))
    columns = min(_COLUMNS, len(cases))
    rows = -(-len(cases) // columns)
    panels = make_subplots(rows=rows, cols=columns, subplot_titles=cases)
    for row in content["rows"]:
        place, panel = algorithms.index(row["algorithm"]), cases.index(row["case"])
        where = {"row": panel // columns + 1, "col": panel % columns + 1}
        first = row is next(one for one in content["rows"] if one["algorithm"] == row["algorithm"])
        panels.add_traces(_traces(row, CLASS_COLOURS[place], named=first), rows=where["row"], cols=where["col"])
        panels.add_hline(y=row["required"], line={"color": PALE, "dash": "dot", "width": 1}, **where)
    panels.update_yaxes(range=[_LOWEST_SHOWN, 1.05], tickformat=".0%")
    panels.update_xaxes(title="environment steps", rangemode="tozero")
    panels.update_layout(
        height=_PANEL_HEIGHT * rows + 80, font={"color": INK}, title="Share of the optimum while training"
    )
    return panels


def _traces(row: Mapping[str, Any], colour: str, *, named: bool) -> Sequence[go.Scatter]:
    points_RPF = np.array(row["curves"])
    steps, share_RP = points_RPF[0, :, 0].tolist(), points_RPF[:, :, 2]
    name, middle = row["algorithm"], share_RP.mean(0)
    line = go.Scatter(x=steps, y=middle, name=name, legendgroup=name, showlegend=named, line={"color": colour})
    if len(share_RP) < 2:
        return [line]
    half = _half_width(share_RP)
    outline = np.concatenate([middle + half, (middle - half)[::-1]])
    style = {"fill": "toself", "fillcolor": colour, "opacity": 0.2, "line": {"width": 0}, "hoverinfo": "skip"}
    return [go.Scatter(x=steps + steps[::-1], y=outline, legendgroup=name, showlegend=False, **style), line]


def _half_width(share_RP: FloatArray) -> FloatArray:
    """Of Student's 95% interval of the mean over R seeds, at each of P points."""
    seeds = len(share_RP)
    half: FloatArray = student_quantile(seeds - 1) * share_RP.std(axis=0, ddof=1) / math.sqrt(seeds)
    return half


def _write(path: Path, page: str) -> None:
    path.write_text(page, encoding="utf-8")
