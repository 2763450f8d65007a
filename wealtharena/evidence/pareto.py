"""The Pareto view: return against each risk, and who is on the frontier."""

from __future__ import annotations

from collections.abc import Mapping

from wealtharena.evidence.figures import INK, PALE, TRACK_LINES, Figure, layout
from wealtharena.evidence.wording import METRICS, name_of

GAIN = "annual_return"
RISKS = ("volatility", "max_drawdown", "cvar_95", "costs")

Point = tuple[float, float]
"""A risk, less is better, and a gain."""


def frontier(points: Mapping[str, Point]) -> list[str]:
    """Who is not dominated: nobody else is as good in both and better in one (Markowitz 1952, "efficient")."""
    return [name for name, point in points.items() if not any(_beats(other, point) for other in points.values())]


def _beats(one: Point, other: Point) -> bool:
    return one[0] <= other[0] and one[1] >= other[1] and one != other


def pareto(tracks: Mapping[str, Mapping[str, float | None]]) -> Figure:
    """Four panels, a point for the team and each baseline, full where it is on the frontier.

    Args:
        tracks: Name -> its metrics; one with an undefined metric is left out of that panel.
    """
    styles, axes, data = layout(0), {}, []
    for place, risk in enumerate(RISKS):
        axis = "" if place == 0 else str(place + 1)
        left = place / len(RISKS)
        axes[f"xaxis{axis}"] = styles["xaxis"] | {
            "domain": [left, left + 0.85 / len(RISKS)],
            "anchor": f"y{axis}",
            "title": {"text": METRICS[risk][0]},
            "tickformat": ".0%",
            "nticks": 4,
        }
        axes[f"yaxis{axis}"] = styles["yaxis"] | {"anchor": f"x{axis}", "tickformat": ".0%"}
        data += _panel(_points(tracks, risk), axis, risk)
    axes["yaxis"]["title"] = {"text": METRICS[GAIN][0]}
    return {"data": data, "layout": layout(360, **axes, hovermode="closest")}


def frontiers(tracks: Mapping[str, Mapping[str, float | None]]) -> dict[str, list[str]]:
    """Risk -> who is on its frontier, by the names that people read."""
    return {METRICS[risk][0]: [name_of(name) for name in frontier(_points(tracks, risk))] for risk in RISKS}


def _points(tracks: Mapping[str, Mapping[str, float | None]], risk: str) -> dict[str, Point]:
    pairs = {name: (found[risk], found[GAIN]) for name, found in tracks.items()}
    return {name: (x, y) for name, (x, y) in pairs.items() if x is not None and y is not None}


def _panel(points: Mapping[str, Point], axis: str, risk: str) -> list[Figure]:
    best = frontier(points)
    return [
        {
            "type": "scatter",
            "mode": "markers",
            "name": name_of(name),
            "legendgroup": name,
            "showlegend": axis == "",
            "x": [x],
            "y": [y],
            "xaxis": f"x{axis}",
            "yaxis": f"y{axis}",
            "marker": _marker(name, on_frontier=name in best),
            "hovertemplate": f"{METRICS[risk][0]} %{{x:.1%}}, {METRICS[GAIN][0].lower()} %{{y:.1%}}"
            + (", on the frontier" if name in best else ""),
        }
        for name, (x, y) in points.items()
    ]


def _marker(name: str, *, on_frontier: bool) -> Figure:
    colour = TRACK_LINES.get(name, {"color": PALE})["color"]
    edge = {"width": 2, "color": INK if on_frontier else colour}
    symbol = "circle" if on_frontier else "circle-open"
    return {"symbol": symbol, "size": 15 if name == "team" else 11, "color": colour, "line": edge}
