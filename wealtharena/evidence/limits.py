"""The limits of risk: how often each of them bound the team, and when."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd

from environments.market.config_risk import RiskParams
from wealtharena.evidence.figures import CLASS_COLOURS, Figure, dates_of, layout
from wealtharena.evidence.track import BoolArray, Track

NAMES = {
    "volatility": "Volatility target",
    "drawdown": "Drawdown throttle",
    "diversification": "Diversification",
    "position": "Position",
    "class": "Class",
    "gross": "Gross exposure",
    "net": "Net exposure",
    "concentration": "Concentration",
    "var_parametric": "VaR, parametric",
    "cvar_parametric": "CVaR, parametric",
    "var_historical": "VaR, historical",
    "cvar_historical": "CVaR, historical",
}
"""Limit -> its name for people, in the order in which limits act."""

CAPS = {name: f"max_{name}" for name in ("position", "class", "gross", "net", "concentration")}
"""Limit -> its field, where that has another name."""


def limits(params: RiskParams, team: Track) -> dict[str, dict[str, Any]]:
    """Limit -> what it is set to, the share of the bars whose decision it bound, and the first and last of them."""
    given = params.model_dump()
    return {
        name: {"setting": given[CAPS.get(name, name)], **_when(team, team.bound[name])}
        for name in NAMES
        if name in team.bound
    }


def _when(team: Track, bound_T: BoolArray) -> dict[str, Any]:
    found = team.dates[1:][bound_T]
    first, last = (str(found[end].astype("datetime64[s]")) if len(found) else None for end in (0, -1))
    return {"share_of_bars": float(bound_T.mean()), "bars": int(bound_T.sum()), "first": first, "last": last}


def rows(risk: Mapping[str, Mapping[str, Any]]) -> list[dict[str, Any]]:
    """The lines of the report's table."""
    return [
        {**found, "name": NAMES[name], "setting": _setting(found["setting"]), "first": _day(found["first"])}
        | {"last": _day(found["last"])}
        for name, found in risk.items()
    ]


def _setting(value: Any) -> str:
    if isinstance(value, Mapping):
        return ", ".join(f"{key} {part:g}" for key, part in value.items())
    return f"{value:g}"


def _day(date: str | None) -> str:
    return "\u2014" if date is None else date.replace("T", " ").removesuffix(" 00:00:00")


def strip(team: pd.DataFrame) -> Figure | None:
    """A line for each limit that ever bound, dark at the bars where it did; None where none did."""
    frame = team.iloc[1:]
    bound = {name: frame[f"bound/{name}"].to_numpy() > 0 for name in NAMES if f"bound/{name}" in frame}
    found = {NAMES[name]: bound_T for name, bound_T in reversed(bound.items()) if bound_T.any()}
    if not found:
        return None
    trace = {
        "type": "heatmap",
        "x": dates_of(frame),
        "y": list(found),
        "z": np.stack([*found.values()]).astype(int).tolist(),
        "zmin": 0,
        "zmax": 1,
        "colorscale": [[0, "#f0f3f6"], [1, CLASS_COLOURS[0]]],
        "showscale": False,
        "ygap": 4,
        "hovertemplate": "%{y}, %{x}<extra></extra>",
    }
    axis = {"showgrid": False, "ticksuffix": " "}
    return {"data": [trace], "layout": layout(70 + 28 * len(found), hovermode="closest", yaxis=axis)}
