"""The dashboard of a run for Grafana, made of the gauges: ``cluster/grafana/wealtharena.json``.

Every process that sets a gauge is a series of its own, told apart by WorkerId; after a resume there are two of a run.
So panels show ``max by (group, run)``.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from wealtharena.monitoring.readings import MEANING, PREFIX, TAGS

_COLUMNS, _WIDTH, _HEIGHT = 24, 12, 8
_RAY = "ray_"


@dataclass(frozen=True)
class Panel:
    """A diagram of gauges over time.

    Attributes:
        title: Above it.
        gauges: What it shows, without the prefix.
        unit: Grafana's name of it.
    """

    title: str
    gauges: Sequence[str]
    unit: str = "short"


ROWS: Mapping[str, Sequence[Panel]] = {
    "Learning": (
        Panel("Return of each group", ["episode_return"]),
        Panel("Return of the team", ["team_return"]),
        Panel("Exploration", ["entropy", "epsilon", "temperature"]),
        Panel("Losses", ["policy_loss", "value_loss", "q_loss", "loss"]),
        Panel("Values of actions", ["q_min", "q_mean", "q_max"]),
        Panel("Length of episodes", ["episode_length"]),
    ),
    "Portfolio": (
        Panel("Equity of the team", ["equity"]),
        Panel("Drawdown of the team", ["drawdown"], "percentunit"),
        Panel("Capital of each class", ["capital"], "percentunit"),
    ),
    "Curriculum": (
        Panel("Stage", ["curriculum_stage", "curriculum_success"]),
        Panel("Success in each stage", ["stage_success"], "percentunit"),
        Panel("Return in each stage", ["stage_return"]),
        Panel("Copies in each stage", ["stage_share"], "percentunit"),
    ),
    "Health": (
        Panel("Steps per second", ["steps_per_s"]),
        Panel("Steps", ["env_steps"]),
        Panel("Iterations", ["iteration"]),
        Panel("Where the time goes", ["time_share"], "percentunit"),
        Panel("Runners and learners", ["healthy_runners", "restarts", "recoveries"]),
        Panel("Skipped updates", ["skipped_updates"]),
    ),
}


def dashboard() -> dict[str, Any]:
    """The dashboard in the format of those that Ray brings (schema version 27), which newer Grafanas read too."""
    return {
        "title": "WealthArena",
        "uid": "wealtharena",
        "description": "Runs of wealtharena train and tune: learning, portfolio, curriculum, health.",
        "tags": ["ray", "wealtharena"],
        "schemaVersion": 27,
        "version": 1,
        "style": "dark",
        "timezone": "",
        "editable": True,
        "graphTooltip": 1,
        "refresh": "10s",
        "time": {"from": "now-1h", "to": "now"},
        "annotations": {"list": []},
        "links": [],
        "templating": {"list": [_datasource(), _variable("run", "iteration"), _variable("group", "episode_return")]},
        "panels": _panels(),
    }


def write(path: Path) -> None:
    """Writes the dashboard as Grafana imports it."""
    path.write_text(json.dumps(dashboard(), indent=2) + "\n", encoding="utf-8")


def _datasource() -> dict[str, Any]:
    return {"name": "datasource", "type": "datasource", "query": "prometheus", "refresh": 1, "hide": 0, "options": []}


def _variable(label: str, gauge: str) -> dict[str, Any]:
    """Lets a person choose among the values that a label of a gauge has."""
    query = f"label_values({_RAY}{PREFIX}{gauge}, {label})"
    everything = {"selected": True, "text": ["All"], "value": ["$__all"]}
    return {
        "name": label,
        "type": "query",
        "datasource": "${datasource}",
        "definition": query,
        "query": {"query": query, "refId": f"{label}s"},
        "refresh": 2,
        "includeAll": True,
        "allValue": ".*",
        "multi": True,
        "current": everything,
        "sort": 1,
    }


def _panels() -> list[dict[str, Any]]:
    panels: list[dict[str, Any]] = []
    bottom = 0
    for title, row in ROWS.items():
        place = {"x": 0, "y": bottom, "w": _COLUMNS, "h": 1}
        panels.append({"id": len(panels) + 1, "type": "row", "title": title, "collapsed": False, "gridPos": place})
        bottom += 1
        for index, panel in enumerate(row):
            x, y = index * _WIDTH % _COLUMNS, bottom + index * _WIDTH // _COLUMNS * _HEIGHT
            panels.append(_panel(panel, len(panels) + 1, {"x": x, "y": y, "w": _WIDTH, "h": _HEIGHT}))
        bottom += -(-len(row) * _WIDTH // _COLUMNS) * _HEIGHT
    return panels


def _panel(panel: Panel, number: int, place: Mapping[str, int]) -> dict[str, Any]:
    return {
        "id": number,
        "type": "timeseries",
        "title": panel.title,
        "description": "; ".join(f"{gauge}: {MEANING[gauge]}" for gauge in panel.gauges),
        "datasource": "${datasource}",
        "gridPos": dict(place),
        "fieldConfig": {"defaults": {"unit": panel.unit, "custom": {"spanNulls": True}}, "overrides": []},
        "options": {"legend": {"displayMode": "list", "placement": "bottom"}, "tooltip": {"mode": "multi"}},
        "targets": [
            _target(gauge, chr(ord("A") + index), len(panel.gauges)) for index, gauge in enumerate(panel.gauges)
        ],
    }


def _target(gauge: str, letter: str, beside: int) -> dict[str, Any]:
    labels = TAGS[gauge]
    chosen = ", ".join(f'{label}=~"${label}"' for label in labels if label in {"run", "group"})
    legend = " ".join(f"{{{{{label}}}}}" for label in labels)
    return {
        "refId": letter,
        "expr": f"max by ({', '.join(labels)}) ({_RAY}{PREFIX}{gauge}{{{chosen}}})",
        "legendFormat": f"{gauge} {legend}" if beside > 1 else legend,
    }
